"""The smallest spec, with changes, and what is said about one that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fer_runtime.errors import ModelSpecError
from fer_runtime.spec import ModelSpec

MINIMAL = {
    "schema_version": 3,
    "labels": ["calm", "loud"],
    "input": {"height": 4, "width": 6, "channels": 1, "mean": [0.5], "std": [0.25]},
}
"""The smallest spec that is complete."""


def with_changes(section: str | None = None, **changes: Any) -> dict[str, Any]:
    """MINIMAL with some keys of the top level, or of one section, replaced."""
    values = json.loads(json.dumps(MINIMAL))
    target = values if section is None else values.setdefault(section, {})
    target.update(changes)
    return values


def refusal(values: object) -> str:
    with pytest.raises(ModelSpecError) as caught:
        ModelSpec.from_dict(values)  # type: ignore[arg-type]
    return str(caught.value)
