"""Training on packs: the images, classes and batches of the files that they were made from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fer_runtime import pack
from fer_runtime.errors import DataError
from fer_runtime.spec import InputSpec
from fer_train import data, packs, stats
from fer_train.fit import fit
from fer_train.recipe import Recipe


@pytest.fixture(scope="module")
def packed(dataset: Path, grey: InputSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set as two packs."""
    folder = tmp_path_factory.mktemp("packed")
    pack([dataset / "train"], folder / "train.ferpack", grey)
    pack([dataset / "validation"], folder / "val.ferpack", grey)
    return folder


def test_a_split_is_that_of_the_files(dataset: Path, packed: Path, grey: InputSpec) -> None:
    labels = data.labels_of(dataset)
    assert data.labels_of(packed) == labels
    assert data.has(packed, "train") and data.has(packed, "validation")
    assert not data.has(packed, "test")
    for name in ("train", "validation"):
        files = data.load_split(dataset, name, grey, labels)
        found = data.load_split(packed, name, grey, labels)
        assert files is not None and found is not None
        assert torch.equal(found.images, files.images)
        assert torch.equal(found.targets, files.targets)
        assert [Path(n).name for n in found.names] == [Path(n).name for n in files.names]
    assert len(data.sha256(packed)) == 64


def test_training_gives_the_same_weights(dataset: Path, packed: Path, tmp_path: Path) -> None:
    weights = []
    for root in (dataset, packed):
        recipe = Recipe(architecture="compact_cnn", epochs=1, batch_size=32, seed=3)
        fit(root, tmp_path / root.name, recipe)
        loaded = torch.load(tmp_path / root.name / "best.pt", weights_only=True)
        weights.append(loaded["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), name


def test_one_pack_has_no_splits_of_its_own(packed: Path, grey: InputSpec) -> None:
    one = packed / "train.ferpack"
    labels = data.labels_of(one)
    assert data.has(one, "train") and not data.has(one, "validation")
    split = data.load_split(one, "train", grey, labels)
    assert split is not None and len(split) == 140
    assert data.load_split(one, "validation", grey, labels) is None


def test_unreadable_images_are_refused_or_omitted(
    dataset: Path, grey: InputSpec, tmp_path: Path
) -> None:
    for label in ("happy", "sad"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        image = sorted((dataset / "train" / label).iterdir())[0]
        (tmp_path / "faces" / label / "a.jpg").write_bytes(image.read_bytes())
        (tmp_path / "faces" / label / "b.jpg").write_bytes(b"no image")
    root = tmp_path / "faces.ferpack"
    pack([tmp_path / "faces"], root, grey)
    with pytest.raises(DataError, match=r"2 images cannot be read.*\n.*b\.jpg: not an image"):
        data.load_split(root, "train", grey, ("happy", "sad"))
    split = data.load_split(root, "train", grey, ("happy", "sad"), skip_unreadable=True)
    assert split is not None and split.targets.tolist() == [0, 1]
    assert [Path(name).name for name in split.names] == ["a.jpg", "a.jpg"]
    with pytest.raises(DataError, match="the class sad, which the model does not know"):
        data.load_split(root, "train", grey, ("happy", "angry"))
    with pytest.raises(DataError, match="no image of angry"):
        data.load_split(root, "train", grey, ("angry", "happy", "sad"))


def test_pixels_of_another_input_are_refused(packed: Path, colour: InputSpec) -> None:
    with pytest.raises(DataError, match="was packed with"):
        data.load_split(packed, "train", colour, data.labels_of(packed))
    assert packs.split_pack(packed, "validation") == packed / "val.ferpack"


def test_stats_need_the_files(packed: Path) -> None:
    with pytest.raises(DataError, match="looks at the files"):
        stats.measure(packed)
