"""Augmentation is seeded, keeps shapes, and does what each strength says."""

from __future__ import annotations

import pytest
import torch

from fer_runtime.errors import DataError
from fer_train.augment import Augmentation
from fer_train.augment.table import PRESETS
from fer_train.recipe import Recipe


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch() -> torch.Tensor:
    """(16, 1, 12, 12) float32 noise."""
    return torch.randn(16, 1, 12, 12, generator=generator(9))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_repeatable_and_leave_the_input_alone(name: str, batch: torch.Tensor) -> None:
    before = batch.clone()
    augmentation = Recipe(augment=name).augmentation
    first = augmentation(batch, generator(1))
    assert torch.equal(first, augmentation(batch, generator(1)))
    assert torch.equal(batch, before)
    assert first.shape == batch.shape
    if name != "none":
        assert not torch.equal(first, augmentation(batch, generator(2)))


def test_none_changes_nothing(batch: torch.Tensor) -> None:
    assert torch.equal(Recipe(augment="none").augmentation(batch, generator()), batch)


def test_flip_mirrors_about_half_and_nothing_else(batch: torch.Tensor) -> None:
    flipped = Augmentation(flip=True)(batch, generator())
    same = torch.tensor(
        [torch.allclose(a, b, atol=1e-5) for a, b in zip(batch, flipped, strict=True)]
    )
    mirrored = torch.tensor(
        [torch.allclose(a.flip(2), b, atol=1e-5) for a, b in zip(batch, flipped, strict=True)]
    )
    assert (same ^ mirrored).all()
    assert 3 <= mirrored.sum() <= 13


def test_shift_moves_content_by_at_most_its_fraction() -> None:
    image = torch.zeros(64, 1, 20, 20)
    image[:, :, 10, 10] = 1.0
    moved = Augmentation(shift=0.2)(image, generator())
    rows = torch.arange(20.0)
    mass = moved.sum((1, 2, 3))
    centre = (moved.sum(3)[:, 0] * rows).sum(1) / mass
    assert (centre - 10).abs().max() <= 0.2 * 20 + 0.01
    assert (centre - 10).abs().max() > 2


def test_jitter_is_affine_in_brightness(batch: torch.Tensor) -> None:
    changed = Augmentation(jitter=0.3)(batch, generator())
    for before, after in zip(batch, changed, strict=True):
        slope, offset = _line(before.flatten(), after.flatten())
        torch.testing.assert_close(before * slope + offset, after, atol=1e-4, rtol=1e-4)
        assert 0.7 <= slope <= 1.3 and abs(offset) <= 0.3


def test_erase_fills_one_rectangle_with_the_mean() -> None:
    images = torch.ones(200, 1, 24, 24)
    erased = Augmentation(erase=0.5)(images, generator())
    holes = (erased == 0).flatten(1).float().mean(1)
    hit = holes > 0
    assert 70 <= hit.sum() <= 130
    assert holes.max() <= 0.26
    for image in erased[hit][:20, 0]:
        rows, columns = (image == 0).any(1), (image == 0).any(0)
        assert (image == 0).sum() == rows.sum() * columns.sum()


def _line(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(slope), float(y.mean() - slope * x.mean())


def test_mixup_blends_with_the_partner(batch: torch.Tensor) -> None:
    mixed = Augmentation(mixup=0.4).mix(batch, generator(3))
    assert 0 < mixed.share < 1 and mixed.partners is not None
    assert sorted(mixed.partners.tolist()) == list(range(16))
    expected = mixed.share * batch + (1 - mixed.share) * batch[mixed.partners]
    assert torch.equal(mixed.images, expected)


def test_cutmix_takes_one_rectangle_and_its_share_is_what_stays(batch: torch.Tensor) -> None:
    before = batch.clone()
    areas = set()
    for seed in range(40):
        mixed = Augmentation(cutmix=1.0).mix(batch, generator(seed))
        assert mixed.partners is not None
        other = batch[mixed.partners]
        taken = ((mixed.images != batch) & (mixed.images == other)).any(0)[0]
        kept = mixed.images == batch
        assert (kept | (mixed.images == other)).all()
        rows, columns = taken.any(1), taken.any(0)
        assert taken.sum() == rows.sum() * columns.sum()
        assert mixed.share == pytest.approx(1 - float(taken.float().mean()))
        areas.add(int(taken.sum()))
    assert torch.equal(batch, before)
    assert len(areas) > 15 and max(areas) > 60


def test_of_several_mixing_augmentations_one_is_drawn_for_each_batch(batch: torch.Tensor) -> None:
    blended = 0
    for seed in range(60):
        mixed = Augmentation(mixup=1.0, cutmix=1.0).mix(batch, generator(seed))
        assert mixed.partners is not None
        pixels = (mixed.images == batch) | (mixed.images == batch[mixed.partners])
        blended += not pixels.all()
    assert 15 <= blended <= 45


def test_without_mixing_nothing_is_drawn(batch: torch.Tensor) -> None:
    source = generator()
    mixed = Augmentation(flip=True).mix(batch, source)
    assert mixed.images is batch and mixed.share == 1 and mixed.partners is None
    assert torch.equal(source.get_state(), generator().get_state())


def test_unknown_augmentation_is_named() -> None:
    with pytest.raises(DataError, match="Unknown augmentation 'blur'; known: shift"):
        Augmentation(blur=1.0)
