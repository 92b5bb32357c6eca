"""What parity is tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_export.parity import inputs
from fer_runtime.spec import InputSpec


def test_largest_batch_is_1024_small_images_or_17_large_ones(
    grey: InputSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LARGEST_BATCH", 1024)
    batch = inputs.largest(grey)
    assert batch.pixels.shape == (1024, 1, 48, 48) and len(set(batch.names)) == 1024
    wide = InputSpec(height=224, width=224, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert inputs.largest(wide).pixels.shape == (17, 3, 224, 224)


def test_extremes_are_black_white_and_one_pixel(colour: InputSpec) -> None:
    black, white, one = inputs.extremes(colour).pixels
    assert not black.any() and (white == 255).all()
    assert [int((plane == 255).sum()) for plane in one] == [1, 1, 1]


def test_noise_repeats_by_seed_and_varies_in_grain(grey: InputSpec) -> None:
    first, again = (list(inputs.noise(grey, seed=3)) for _ in range(2))
    assert [len(batch.names) for batch in first] == [1, 2, 3, 17]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    grains = {int((np.diff(image[0].astype(int)) != 0).sum()) for image in first[3].pixels}
    assert len(grains) > 5


def test_files_are_spread_and_filtered(dataset: Path, grey: InputSpec) -> None:
    batches = list(inputs.files(dataset / "test", grey, limit=10))
    names = [name for batch in batches for name in batch.names]
    assert len(names) == 10 and {Path(name).parent.name for name in names} > {"angry", "surprise"}
    assert all(batch.from_files for batch in batches)
    fewer = list(inputs.files(dataset / "test", grey, 10, wanted=lambda name: name != names[3]))
    assert [name for batch in fewer for name in batch.names] == [*names[:3], *names[4:]]
