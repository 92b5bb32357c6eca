"""Whether tests marked `gpu` can run here, and if not, what is missing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def skip_without_cuda(items: Iterable[pytest.Item]) -> None:
    """Skip the items marked `gpu` on a machine without CUDA, giving the cause as the reason."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    from fer_runtime import providers

    causes = providers.PROVIDERS["cuda"].diagnose()
    for item in marked if causes else ():
        item.add_marker(pytest.mark.skip(reason=f"no CUDA: {'; '.join(map(str, causes))}"))
