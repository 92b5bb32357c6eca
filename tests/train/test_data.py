"""Data sets are read as they are downloaded, and errors name what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from fer_runtime import images
from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec
from fer_train import data, splits, stats
from fer_train.batches import EpochBatches


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """FER2013's CSV with stray spaces in the header, as icml_face_data.csv has them."""
    rng = np.random.default_rng(0)
    lines = ["emotion, Usage, pixels"]
    for usage, count in (("Training", 14), ("PublicTest", 7)):
        for index in range(count):
            pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
            lines.append(f"{index % 7}, {usage},{pixels}")
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_folder_split_holds_every_image_in_label_order(dataset: Path, grey: InputSpec) -> None:
    labels = data.labels_of(dataset)
    split = data.load_split(dataset, "train", grey, labels)
    assert split is not None
    assert labels == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert split.counts() == dict.fromkeys(labels, 20)
    assert split.images.shape == (140, 1, 48, 48)
    assert split.images.dtype == torch.uint8
    for index in (0, 33, 139):
        assert split.names[index].split("/")[1] == labels[int(split.targets[index])]


def test_preprocessing_of_training_is_the_runtimes_bit_for_bit(
    dataset: Path, colour: InputSpec
) -> None:
    """Background B4: evaluation goes through exactly the runtime's preprocessing."""
    split = data.load_split(dataset, "validation", colour, data.labels_of(dataset))
    assert split is not None
    for index in range(0, len(split), 7):
        expected = images.load(dataset / split.names[index], colour)
        assert np.array_equal(split.images[index].numpy(), expected)


def test_csv_integers_are_mapped_by_name(csv_file: Path, grey: InputSpec) -> None:
    """Background D3b: 4 is sad, 5 surprise, 6 neutral, whatever the alphabet says."""
    labels = data.labels_of(csv_file)
    split = data.load_split(csv_file, "train", grey, labels)
    assert split is not None
    named = [labels[target] for target in split.targets.tolist()[:7]]
    assert named == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


def test_csv_pixels_arrive_unchanged(csv_file: Path, grey: InputSpec) -> None:
    split = data.load_split(csv_file, "validation", grey, data.labels_of(csv_file))
    assert split is not None and len(split) == 7
    text = csv_file.read_text(encoding="utf-8").splitlines()[15].split(",")[2]
    assert split.images[0].flatten().tolist() == [int(value) for value in text.split()]


def test_csv_without_a_split_is_none(csv_file: Path, grey: InputSpec) -> None:
    assert data.load_split(csv_file, "test", grey, data.labels_of(csv_file)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'pixels'"),
        ("emotion,pixels\n1,0\n", "line 2: Usage is ''.*columns of a training set are emotion"),
        ("emotion,pixels,Usage\n9,0 0 0 0,Training\n", "line 2: emotion is '9'"),
        ("emotion,pixels,Usage\n1,0 0 0,Training\n", "line 2: 3 pixels are not a square image"),
        ("emotion,pixels,Usage\n1,0,training\n", "line 2: Usage is 'training'"),
        ("emotion,pixels,Usage\n1,0,Training\n3,1 2\n", "line 3: Usage is ''"),
        ("Usage,emotion,pixels\nTraining\n", "line 2: emotion is ''"),
        ("emotion,pixels,Usage\n1,0,Training\n", "has no train image of angry"),
        ("emotion,pixels,Usage\n1,0 0 0 300,Training\n", "line 2: .*numbers from 0 to 255"),
        ("emotion,pixels,Usage\n1,a b c d,Training\n", "numbers from 0 to 255"),
        ("emotion,pixels,Usage\n\n1,a,Training\n", "line 3: "),
    ],
)
def test_broken_csv_is_named(tmp_path: Path, grey: InputSpec, text: str, message: str) -> None:
    path = tmp_path / "fer.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        data.load_split(path, "train", grey, data.labels_of(path))


def test_empty_class_is_named(tmp_path: Path, grey: InputSpec) -> None:
    for label in ("happy", "sad"):
        (tmp_path / "train" / label).mkdir(parents=True)
    with pytest.raises(DataError, match="happy contains no image"):
        data.load_split(tmp_path, "train", grey, data.labels_of(tmp_path))


def test_missing_class_folder_is_named(dataset: Path, grey: InputSpec) -> None:
    with pytest.raises(DataError, match="validation has no folder for the class bored"):
        data.load_split(dataset, "validation", grey, (*data.labels_of(dataset), "bored"))


def test_name_that_is_not_text_is_refused_before_training(tmp_path: Path, grey: InputSpec) -> None:
    for label in ("happy", "sad"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / "a.jpg").touch()
    (tmp_path / "train" / "sad" / "b\udcff.jpg").touch()
    with pytest.raises(DataError, match=r"b\\udcff\.jpg' in .* has a name that is not text"):
        data.load_split(tmp_path, "train", grey, ("happy", "sad"))


def test_unknown_class_is_named(dataset: Path, grey: InputSpec) -> None:
    with pytest.raises(DataError, match="surprise is a class that the model does not know"):
        data.load_split(dataset, "train", grey, data.labels_of(dataset)[:-1])


def test_unreadable_images_are_listed(tmp_path: Path, grey: InputSpec) -> None:
    for label in ("happy", "sad"):
        folder = tmp_path / "train" / label
        folder.mkdir(parents=True)
        (folder / "broken.jpg").write_text("not a picture")
    with pytest.raises(DataError, match=r"2 images cannot be read(.|\n)*happy/broken.jpg"):
        data.load_split(tmp_path, "train", grey, data.labels_of(tmp_path))


def test_missing_data_set_is_named(tmp_path: Path, grey: InputSpec) -> None:
    with pytest.raises(DataError, match="does not exist"):
        data.load_split(tmp_path / "nowhere", "train", grey, ("a", "b"))
    with pytest.raises(DataError, match="no training split"):
        data.labels_of(tmp_path)


def test_without_validation_a_stratified_fifth_is_held_out(
    csv_file: Path, dataset: Path, grey: InputSpec, tmp_path: Path
) -> None:
    """Background B3."""
    root = tmp_path / "faces"
    root.mkdir()
    (root / "train").symlink_to(dataset / "train")
    labels = data.labels_of(root)
    loaded = splits.load_training_data(root, grey, labels)
    train, validation = loaded.train, loaded.validation
    assert train.counts() == dict.fromkeys(labels, 16)
    assert validation.counts() == dict.fromkeys(labels, 4)
    assert not set(train.names) & set(validation.names)
    again = splits.load_training_data(root, grey, labels)
    assert again.train.names == train.names
    other = splits.load_training_data(root, grey, labels, splits.Plan(seed=1))
    assert other.train.names != train.names


def test_batch_larger_than_the_set_is_refused(dataset: Path, grey: InputSpec) -> None:
    split = data.load_split(dataset, "train", grey, data.labels_of(dataset))
    assert split is not None
    with pytest.raises(DataError, match="batch size 141 is larger than the 140 training images"):
        data.train_loader(split, 141, seed=0)


def test_each_epoch_is_a_new_permutation_that_the_seed_determines() -> None:
    targets = torch.arange(10) % 2
    batches = EpochBatches(targets, 3, seed=5)
    first = torch.cat(list(batches)).tolist()
    batches.set_epoch(1)
    second = torch.cat(list(batches)).tolist()
    again = EpochBatches(targets, 3, seed=5)
    again.set_epoch(1)
    assert len(batches) == 3 and len(set(first)) == 9 and set(first) <= set(range(10))
    assert first != second
    assert torch.cat(list(again)).tolist() == second


def test_mean_and_std_are_those_of_the_pixels(dataset: Path, colour: InputSpec) -> None:
    """Background E1."""
    split = data.load_split(dataset, "train", colour, data.labels_of(dataset))
    assert split is not None
    mean, std = data.mean_and_std(split)
    scaled = split.images.double() / 255
    assert mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), abs=1e-6)


def test_hash_of_a_data_set_depends_on_content_only(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    assert data.sha256(copy) == data.sha256(dataset)
    victim = next((copy / "train" / "sad").iterdir())
    victim.write_bytes(victim.read_bytes() + b"\0")
    assert data.sha256(copy) != data.sha256(dataset)


def test_background_b6_stratified_batches_have_the_sets_proportions() -> None:
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    batches = list(EpochBatches(targets, 20, seed=0, sampler="stratified"))
    assert sorted(torch.cat(batches).tolist()) == list(range(100))
    for batch in batches:
        counts = torch.bincount(targets[batch], minlength=3)
        assert (counts - torch.tensor([12, 6, 2])).abs().max() <= 2
    shuffled = list(EpochBatches(targets, 20, seed=0))
    spread = [torch.bincount(targets[batch], minlength=3)[2].item() for batch in shuffled]
    assert max(spread) - min(spread) > 2


def test_balanced_batches_show_the_classes_equally_often() -> None:
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    batches = torch.cat(list(EpochBatches(targets, 10, seed=0, sampler="balanced")))
    counts = torch.bincount(targets[batches], minlength=3)
    assert len(batches) == 100 and (counts - 100 / 3).abs().max() <= 2
    frequent = batches[targets[batches] == 0]
    assert len(frequent.unique()) == len(frequent)
    assert len(batches[targets[batches] == 2].unique()) == 10


def test_files_that_macos_leaves_beside_images_are_skipped(
    dataset: Path, tmp_path: Path, grey: InputSpec
) -> None:
    root = tmp_path / "faces"
    shutil.copytree(dataset, root)
    before = data.sha256(root)
    (root / "train" / "sad" / "._sad_00001.jpg").write_bytes(b"\0\5\x16\7")
    (root / "train" / "sad" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    split = data.load_split(root, "train", grey, data.labels_of(root))
    assert split is not None and len(split) == 140
    assert data.sha256(root) == before
    assert stats.measure(root).splits["train"].unreadable == []


def test_images_come_in_the_order_of_their_sorted_paths(tmp_path: Path, grey: InputSpec) -> None:
    """Seeds refer to this order: that of `sorted(folder.rglob("*"))`."""
    names = ["b.jpg", "a/z.jpg", "a.jpg", "a-b/1.png", "B/9.jpg", "a/b/c.jpg", "a/b.JPG", "ä.bmp"]
    pixels = np.zeros((8, 8, 1), np.uint8)
    for label in ("happy", "sad"):
        for name in names:
            path = tmp_path / "train" / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(simplejpeg.encode_jpeg(pixels, 90, "GRAY", "Gray"))
    split = data.load_split(tmp_path, "train", grey, ("happy", "sad"))
    assert split is not None
    expected = [
        str(path.relative_to(tmp_path))
        for label in ("happy", "sad")
        for path in sorted((tmp_path / "train" / label).rglob("*"))
        if path.is_file()
    ]
    assert list(split.names) == expected and len(expected) == 16
