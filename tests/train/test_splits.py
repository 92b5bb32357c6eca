"""Splits are made as asked, kept apart by content, saved, read again, and never replace a data
set's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec
from fer_train import data, splits
from fer_train.data import Split
from fer_train.splits import Plan


@pytest.fixture
def pool() -> Split:
    """100 images of three classes (60, 30, 10), each with different content."""
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    images = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1).expand(100, 1, 4, 4)
    names = tuple(f"{index:03}.jpg" for index in range(100))
    return Split("train", images, targets, ("a", "b", "c"), names)


@pytest.fixture
def unsplit(dataset: Path, tmp_path: Path) -> Path:
    """A data set with a training folder only."""
    root = tmp_path / "faces"
    root.mkdir()
    (root / "train").symlink_to(dataset / "train")
    return root


def sizes(parts: Sequence[Split]) -> list[tuple[str, list[int]]]:
    return [(part.name, list(part.counts().values())) for part in parts]


@pytest.mark.parametrize(
    ("text", "fractions"),
    [
        ("", ()),
        ("0.8", (0.8, 0.2)),
        ("0.75,0.25", (0.75, 0.25)),
        ("0.7,0.2,0.1", (0.7, 0.2, 0.1)),
        ("0.7/0.2/0.1", (0.7, 0.2, 0.1)),
    ],
)
def test_fractions(text: str, fractions: tuple[float, ...]) -> None:
    assert splits.parse_fractions(text) == pytest.approx(fractions)


@pytest.mark.parametrize("text", ["1", "0", "80", "0.7,0.2", "0.7,0.2,0.1,0.0", "a", "1.2,-0.2"])
def test_wrong_fractions_are_named(text: str) -> None:
    with pytest.raises(DataError, match=r"give the share of training \(0\.8\)"):
        splits.parse_fractions(text)


def test_background_b3_three_ways_by_class(pool: Split) -> None:
    parts = splits.cut(pool, (0.7, 0.2, 0.1))
    assert sizes(parts) == [
        ("train", [42, 21, 7]), ("validation", [12, 6, 2]), ("test", [6, 3, 1]),
    ]  # fmt: skip
    names = [name for part in parts for name in part.names]
    assert sorted(names) == list(pool.names)


def test_without_stratification_the_whole_is_cut(pool: Split) -> None:
    cuts = [splits.cut(pool, (0.8, 0.2), stratify=False, seed=seed) for seed in range(5)]
    assert {(len(train), len(validation)) for train, validation in cuts} == {(80, 20)}
    assert any(list(train.counts().values()) != [48, 24, 8] for train, _ in cuts)


def test_seed_determines_a_made_split(pool: Split) -> None:
    first, again = (splits.cut(pool, (0.8, 0.2), seed=1)[1].names for _ in range(2))
    assert first == again
    assert splits.cut(pool, (0.8, 0.2), seed=2)[1].names != first


def test_images_of_equal_content_stay_on_one_side(pool: Split) -> None:
    """Every content is there three times, once under another label."""
    thrice = Split(
        "train",
        pool.images.repeat(3, 1, 1, 1),
        torch.cat([pool.targets, pool.targets, (pool.targets + 1) % 3]),
        pool.labels,
        tuple(f"{copy}/{name}" for copy in range(3) for name in pool.names),
    )
    train, validation = splits.cut(thrice, (0.8, 0.2))
    assert not set(splits.contents(train)) & set(splits.contents(validation))
    assert len(validation) == pytest.approx(60, abs=6)


def test_class_too_small_for_every_part_is_named(pool: Split) -> None:
    few = pool.take(torch.arange(92), "train")
    with pytest.raises(DataError, match=r"class c has too few images \(2\) for a share in"):
        splits.cut(few, (0.7, 0.2, 0.1))


def test_saved_split_is_read_again(pool: Split, tmp_path: Path) -> None:
    parts = splits.cut(pool, (0.7, 0.2, 0.1))
    splits.write(tmp_path / "split.csv", parts)
    again = splits.assign(pool, splits.read(tmp_path / "split.csv"), tmp_path / "split.csv")
    for made, read in zip(parts, again, strict=True):
        assert made.name == read.name and set(made.names) == set(read.names)
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


def test_saved_split_of_other_images_is_refused(pool: Split, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    splits.write(path, splits.cut(pool, (0.8, 0.2)))
    with pytest.raises(DataError, match=r"005\.jpg is not among the images, but in"):
        splits.assign(pool.take(torch.arange(5), "train"), splits.read(path), path)
    rows = splits.read(path)
    del rows["007.jpg"]
    with pytest.raises(DataError, match=r"007\.jpg is not in .*split\.csv"):
        splits.assign(pool, rows, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns must be image,split"),
        ("image,split\nx.jpg,dev\n", "'dev' is not a split"),
        ("image,split\nx.jpg,train\nx.jpg,test\n", "names an image twice"),
        (None, "cannot be read as a saved split"),
    ],
)
def test_broken_saved_split_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "split.csv"
    if text:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        splits.read(path)


def test_without_validation_a_stratified_fifth_of_train(unsplit: Path, grey: InputSpec) -> None:
    """Background B3."""
    labels = data.labels_of(unsplit)
    loaded = splits.load_training_data(unsplit, grey, labels)
    assert sizes(loaded.made) == [("train", [16] * 7), ("validation", [4] * 7)]


def test_official_splits_are_respected(dataset: Path, unsplit: Path, grey: InputSpec) -> None:
    labels = data.labels_of(dataset)
    assert splits.load_training_data(dataset, grey, labels).made == ()
    with pytest.raises(DataError, match="has its own validation split"):
        splits.load_training_data(dataset, grey, labels, Plan((0.8, 0.2)))
    (unsplit / "test").symlink_to(dataset / "test")
    with pytest.raises(DataError, match="has its own test split"):
        splits.load_training_data(unsplit, grey, labels, Plan((0.7, 0.2, 0.1)))
    two_ways = splits.load_training_data(unsplit, grey, labels, Plan((0.75, 0.25)))
    assert sizes(two_ways.made) == [("train", [15] * 7), ("validation", [5] * 7)]


def test_folder_of_classes_without_splits(dataset: Path, grey: InputSpec, tmp_path: Path) -> None:
    root = tmp_path / "flat"
    root.symlink_to(dataset / "train")
    loaded = splits.load_training_data(root, grey, data.labels_of(root), Plan((0.7, 0.2, 0.1)))
    assert [len(part) for part in loaded.made] == [98, 28, 14]


@pytest.mark.parametrize("name", ["val", "valid"])
def test_validation_goes_by_its_usual_names(
    unsplit: Path, dataset: Path, grey: InputSpec, name: str
) -> None:
    (unsplit / name).symlink_to(dataset / "validation")
    loaded = splits.load_training_data(unsplit, grey, data.labels_of(unsplit))
    assert loaded.made == () and len(loaded.validation) == 70
