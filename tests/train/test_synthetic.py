"""The synthetic faces: reproducible, evenly counted, learnable, not trivial, never half written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from fer_runtime.errors import DataError
from fer_train.drawing import EXPRESSIONS, LABELS, ActionUnits, render_face
from fer_train.synthetic import write_dataset


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def render(count: int, seed: int, *, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """(N, size * size) float64 in 0..1 and (N,) class numbers, the classes taking turns."""
    targets = np.arange(count) % len(LABELS)
    faces = [
        render_face(LABELS[k], np.random.default_rng([seed, i]), size=size)
        for i, k in enumerate(targets)
    ]
    return np.stack(faces).reshape(count, -1) / 255.0, targets


def test_labels_are_the_seven_in_order() -> None:
    assert LABELS == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("size", [16, 48, 65, 128])
def test_face_is_a_grey_picture_with_contrast(label: str, size: int) -> None:
    face = render_face(label, np.random.default_rng(3), size=size)
    assert face.shape == (size, size)
    assert face.dtype == np.uint8
    assert int(face.max()) - int(face.min()) > 60
    assert 10 < face.mean() < 245


def test_equal_seeds_give_equal_pixels_and_other_seeds_do_not() -> None:
    first, again, other = (render_face("sad", np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other.astype(int)).mean() > 5


def test_one_face_at_two_sizes_is_the_same_face() -> None:
    """Blur and noise are drawn per pixel, so the sizes agree closely and not exactly."""
    small = render_face("happy", np.random.default_rng(8), size=48).astype(float)
    large = render_face("happy", np.random.default_rng(8), size=144).astype(float)
    reduced = large.reshape(48, 3, 48, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("label", ["Happy", "", "contempt"])
def test_unknown_label_is_named_with_the_allowed_ones(label: str) -> None:
    with pytest.raises(DataError) as caught:
        render_face(label, np.random.default_rng(0))
    assert repr(label) in str(caught.value)
    assert all(allowed in str(caught.value) for allowed in LABELS)


def test_too_small_a_face_is_refused() -> None:
    with pytest.raises(DataError, match="size is 15"):
        render_face("fear", np.random.default_rng(0), size=15)


def test_intensity_zero_is_neutral_up_to_the_resting_face() -> None:
    resting = EXPRESSIONS["surprise"].at_intensity(0.0, np.random.default_rng(1))
    assert resting == ActionUnits().at_intensity(1.0, np.random.default_rng(1))


def test_intensity_moves_the_units_of_the_expression_and_no_others() -> None:
    weak = EXPRESSIONS["happy"].at_intensity(0.2, np.random.default_rng(1))
    strong = EXPRESSIONS["happy"].at_intensity(0.9, np.random.default_rng(1))
    moved = {name for name in vars(weak) if getattr(strong, name) > getattr(weak, name)}
    assert moved == {"au6", "au12", "au25"}
    assert all(getattr(strong, n) == getattr(weak, n) for n in vars(weak) if n not in moved)


@pytest.mark.slow
def test_classes_are_learnable_but_not_trivially() -> None:
    """Ridge regression on raw pixels: well above chance (0.14), far from perfect."""
    pixels, targets = render(1050, seed=0)
    centre, spread = pixels[:700].mean(axis=0), pixels[:700].std(axis=0)
    train, held_out = np.split((pixels - centre) / spread, [700])
    dual = train @ train.T + 3000.0 * np.eye(len(train))
    weights = train.T @ np.linalg.solve(dual, np.eye(len(LABELS))[targets[:700]] - 1 / 7)
    accuracy = np.mean((held_out @ weights).argmax(axis=1) == targets[700:])
    assert 0.25 < accuracy < 0.8


def test_files_are_counted_and_decode_to_the_asked_size(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    counts = write_dataset(
        tmp_path / "faces",
        train=16,
        validation=7,
        test=0,
        size=32,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert list(counts["train"].items()) == list(zip(LABELS, [3, 3, 2, 2, 2, 2, 2], strict=True))
    assert set(counts["validation"].values()) == {1}
    assert set(counts["test"].values()) == {0}
    files = contents(tmp_path / "faces")
    found = Counter(tuple(name.split("/")[:2]) for name in files)
    assert found == {(s, c): n for s, split in counts.items() for c, n in split.items() if n}
    assert not (tmp_path / "faces" / "test").exists()
    for data in files.values():
        assert simplejpeg.decode_jpeg_header(data)[:3] == (32, 32, "Gray")
    assert steps == [(done, 23) for done in range(1, 24)]
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_file_holds_the_face_of_its_seed_split_and_index(tmp_path: Path) -> None:
    write_dataset(tmp_path / "faces", train=1, validation=4, test=0, seed=9)
    jpeg = (tmp_path / "faces/validation/happy/happy_00003.jpg").read_bytes()
    decoded = simplejpeg.decode_jpeg(jpeg, "GRAY")[:, :, 0]
    face = render_face("happy", np.random.default_rng([9, 1, 3]))
    assert np.abs(decoded.astype(int) - face.astype(int)).mean() < 6  # quality 60 at worst


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_dataset(tmp_path / name, train=9, validation=3, test=2, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a)
    assert len(set(a.values())) == len(a)  # no image is in two splits


def test_a_split_does_not_depend_on_the_others_and_grows_at_its_end(tmp_path: Path) -> None:
    write_dataset(tmp_path / "small", train=8, validation=5, test=4)
    write_dataset(tmp_path / "large", train=15, validation=0, test=6)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    shared = {name for name in small if not name.startswith("validation/")}
    assert len(shared) == 12
    assert {name: large[name] for name in shared} == {name: small[name] for name in shared}


def test_folder_in_use_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not an empty folder"):
        write_dataset(tmp_path / "faces", train=1)
    assert contents(tmp_path) == {"faces/mine.txt": b"keep"}


def test_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    write_dataset(tmp_path / "faces", train=1, validation=0, test=0)
    assert list(contents(tmp_path)) == ["faces/train/angry/angry_00000.jpg"]


@pytest.mark.parametrize("root", ["file", "file/faces"])
def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(DataError, match="file"):
        write_dataset(tmp_path / root, train=1)
    assert contents(tmp_path) == {"file": b"keep"}


def test_a_full_disk_is_a_data_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(DataError, match="No space left on device"):
        write_dataset(tmp_path / "faces", train=1)
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "faces", train=10, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"train": -1}, {"validation": -1}, {"test": -2}, {"seed": -1}]
)
def test_counts_out_of_range_are_refused_with_their_value(
    tmp_path: Path, wrong: dict[str, int]
) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(DataError, match=f"{name}={value}"):
        write_dataset(tmp_path / "faces", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_every_expression_differs_from_neutral_in_its_own_way() -> None:
    assert EXPRESSIONS["neutral"] == ActionUnits()
    assert len(set(EXPRESSIONS.values())) == len(LABELS)
    assert sorted(EXPRESSIONS) == list(LABELS)
