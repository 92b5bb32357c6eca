"""Counts, broken files and duplicates of a data set whose content is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec
from fer_train import data, stats


@pytest.fixture
def spoiled(dataset: Path, tmp_path: Path) -> Path:
    """Two broken files; one image thrice in train (once under another label), twice in test."""
    root = tmp_path / "faces"
    shutil.copytree(dataset, root)
    source = sorted((root / "train" / "happy").iterdir())[0]
    shutil.copy(source, root / "train" / "happy" / "again.jpg")
    shutil.copy(source, root / "train" / "sad" / "other label.jpg")
    shutil.copy(source, root / "test" / "happy" / "leaked.jpg")
    shutil.copy(source, root / "test" / "fear" / "leaked.jpg")
    (root / "train" / "sad" / "broken.jpg").write_bytes(source.read_bytes()[:200])
    (root / "train" / "sad" / "empty.png").touch()
    return root


def test_background_a1_class_counts_before_training(dataset: Path) -> None:
    found = stats.measure(dataset)
    assert list(found.splits) == ["train", "validation", "test"]
    assert found.splits["train"].counts == dict.fromkeys(data.labels_of(dataset), 20)
    assert found.splits["test"].sizes == {"48 x 48": 35}
    assert [(o.first, o.second, o.images) for o in found.overlaps] == [
        ("train", "validation", 0), ("train", "test", 0), ("validation", "test", 0),
    ]  # fmt: skip


def test_duplicates_within_and_across_splits(spoiled: Path) -> None:
    found = stats.measure(spoiled)
    assert (found.splits["train"].duplicates, found.splits["train"].relabelled) == (2, 1)
    assert (found.splits["test"].duplicates, found.splits["test"].relabelled) == (1, 1)
    across = {(o.first, o.second): (o.images, o.relabelled) for o in found.overlaps}
    assert across["train", "test"] == (2, 1)
    assert across["train", "validation"] == (0, 0)


def test_broken_files_are_listed(spoiled: Path) -> None:
    unreadable = stats.measure(spoiled).splits["train"].unreadable
    assert [entry.split(":")[0] for entry in unreadable] == [
        "train/sad/broken.jpg", "train/sad/empty.png",
    ]  # fmt: skip


def test_background_e1_mean_and_std_are_those_of_training(dataset: Path) -> None:
    found = stats.measure(dataset, image_size=32, channels=3)
    spec = InputSpec(height=32, width=32, channels=3, mean=(0,) * 3, std=(1,) * 3)
    split = data.load_split(dataset, "train", spec, data.labels_of(dataset))
    assert split is not None
    assert (found.mean, found.std) == data.mean_and_std(split)


def test_missing_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training split"):
        stats.measure(tmp_path)
