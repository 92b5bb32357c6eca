"""The face detector: a real face, every kind of picture, what is refused, threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_runtime import Classifier, FaceDetector, Session
from fer_runtime.errors import ImageError, ModelFileError, ProviderError
from fer_runtime.faces import Face
from fer_runtime.faces.detector import OUTPUTS, SHIPPED, to_input
from fer_runtime.images import Pixels
from tests.runtime.onnx_writer import FLOAT, node
from tests.runtime.pictures import ORIENTATION, noise

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
BOX = (178.0567, 62.6393, 268.5087, 176.2867)
LANDMARKS = (
    *((200.1876, 101.5582), (247.1879, 102.4096), (220.2483, 124.3737)),
    *((198.5027, 142.7745), (239.4926, 143.6847)),
)
SCORE = 0.93265
"""What cv2.FaceDetectorYN of OpenCV 5.0.0 gives for the picture."""


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector.load(provider="cpu", threads=1)


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """(512, 512, 3), read-only."""
    array = np.array(Image.open(ASTRONAUT))
    array.flags.writeable = False
    return array


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def assert_her(faces: tuple[Face, ...], within: float = 0.05) -> None:
    """One face, at the astronaut's."""
    (face,) = faces
    np.testing.assert_allclose(face.box, BOX, atol=within)
    np.testing.assert_allclose(face.landmarks, LANDMARKS, atol=within)
    assert face.score == pytest.approx(SCORE, abs=max(1e-3, within / 50))


# --- a real face -----------------------------------------------------------------------------


def test_a_face_is_where_opencv_finds_it(detector: FaceDetector) -> None:
    assert_her(detector.detect(ASTRONAUT))
    (face,) = detector.detect(ASTRONAUT)
    plain = [*face.box, *(number for point in face.landmarks for number in point), face.score]
    assert {type(number) for number in plain} == {float}
    assert len(face.landmarks) == 5


def test_every_kind_of_picture(detector: FaceDetector, pixels: Pixels) -> None:
    image = Image.fromarray(pixels)
    opaque = np.dstack([pixels, np.full((512, 512, 1), 255, np.uint8)])
    data = ASTRONAUT.read_bytes()
    exact = detector.find(pixels)
    same: list[Any] = [str(ASTRONAUT), data, io.BytesIO(data), image, pixels, opaque]
    same += [encode(image, "PNG"), image.convert("RGBA"), encode(image, "TIFF")]
    for source in same:
        assert detector.detect(source) == exact
    grey = np.asarray(image.convert("L"))
    expected = detector.find(np.dstack([grey] * 3))
    assert_her(expected, within=5)
    for source in (grey, grey[:, :, None], encode(image.convert("L"), "PNG")):
        assert detector.detect(source) == expected
    assert_her(detector.detect(encode(image.convert("CMYK"), "JPEG", quality=95)), within=5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_those_of_the_upright_picture(
    detector: FaceDetector, pixels: Pixels, orientation: int
) -> None:
    """What EXIF turns upright is stored the other way round."""
    turns = {2: [0], 3: [1], 4: [4], 5: [5], 6: [2], 7: [6], 8: [3]}
    back = {0: "FLIP_LEFT_RIGHT", 1: "ROTATE_180", 2: "ROTATE_90", 3: "ROTATE_270"}
    back |= {4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "TRANSVERSE"}
    stored = Image.fromarray(pixels).crop((0, 0, 512, 420))  # not square, so that a mix-up fails
    for turn in turns.get(orientation, []):
        stored = stored.transpose(Image.Transpose[back[turn]])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert_her(detector.detect(encode(stored, "JPEG", quality=95, exif=exif)), within=1.5)


def test_views_and_read_only_arrays(detector: FaceDetector, pixels: Pixels) -> None:
    exact = detector.find(pixels)
    turned = np.ascontiguousarray(np.rot90(pixels))
    for view in (np.rot90(turned, -1), np.asfortranarray(pixels), np.dstack([pixels] * 2)[..., :3]):
        assert not view.flags.c_contiguous
        assert detector.find(view) == exact
    window = np.zeros((600, 900, 3), np.uint8)
    window[40:552, 300:812] = pixels
    assert_her(detector.find(window[40:552, 300:812]))


def test_pictures_of_several_sizes_in_a_row(detector: FaceDetector, pixels: Pixels) -> None:
    exact = detector.find(pixels)
    for shape in ((1, 1), (1, 700), (33, 31), (512, 512), (700, 1), (64, 96)):
        assert detector.find(np.zeros((*shape, 3), np.uint8)) == ()
    assert detector.find(pixels) == exact
    moved = np.zeros((700, 650, 3), np.uint8)
    moved[100:612, 64:576] = pixels
    (face,) = detector.find(moved)
    np.testing.assert_allclose(np.subtract(face.box, (64, 100, 64, 100)), BOX, atol=3)


def test_the_best_score_comes_first(detector: FaceDetector, pixels: Pixels) -> None:
    head = Image.fromarray(pixels).crop((130, 0, 330, 240))
    canvas = Image.new("RGB", (700, 300), (90, 120, 140))
    for left, width in ((0, 60), (100, 200), (350, 120)):
        canvas.paste(head.resize((width, width * 240 // 200)), (left, 20))
    scores = [face.score for face in detector.detect(canvas)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_the_threshold(detector: FaceDetector, pixels: Pixels) -> None:
    (face,) = detector.find(pixels)
    strict = FaceDetector.load(provider="cpu", threads=1, min_score=0.97)
    assert strict.find(pixels) == ()
    wide = FaceDetector.load(provider="cpu", threads=1, min_score=0.2)
    assert wide.find(pixels)[0] == face
    assert FaceDetector.load(provider="cpu", threads=1, min_score=0).find(noise(40, 40, 3)) != ()


def test_threads_share_a_detector(detector: FaceDetector, pixels: Pixels) -> None:
    pictures = [pixels[: 400 + 16 * index] for index in range(6)]
    alone = [detector.find(picture) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(detector.find, pictures * 3)) == alone * 3


# --- the model's input -----------------------------------------------------------------------


def test_the_input_is_bgr_padded_with_black_to_multiples_of_32() -> None:
    pixels = noise(33, 64, 3, seed=1)
    tensor = to_input(pixels)
    assert (tensor.shape, tensor.dtype) == ((1, 3, 64, 64), np.float32)
    np.testing.assert_array_equal(tensor[0, :, :33].transpose(1, 2, 0), pixels[:, :, ::-1])
    assert not tensor[0, :, 33:].any()
    one = to_input(np.full((1, 1, 3), (1, 2, 3), np.uint8))
    assert one.shape == (1, 3, 32, 32)
    assert one[0, :, 0, 0].tolist() == [3, 2, 1]
    assert one.sum() == 6


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("score", [-0.1, 1.01, float("nan")])
def test_a_threshold_outside_0_to_1(score: float) -> None:
    with pytest.raises(ValueError, match=r"min_score=.*; it must be from 0 to 1"):
        FaceDetector.load(min_score=score)


def test_threads_and_providers_that_are_not_allowed() -> None:
    with pytest.raises(ValueError, match="threads=0; it must be at least 1"):
        FaceDetector.load(threads=0)
    with pytest.raises(ProviderError, match="Unknown provider 'tpu'"):
        FaceDetector.load(provider="tpu")


def test_files_that_are_not_a_detector(tmp_path: Path, tiny_model: Path, save_graph: Any) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(ModelFileError) as caught:
            FaceDetector.load(path, provider="cpu")
        return str(caught.value)

    assert "does not exist" in refusal(tmp_path / "missing.onnx")
    (tmp_path / "page.onnx").write_text("<html>")
    assert "is a web page" in refusal(tmp_path / "page.onnx")
    assert f"{tiny_model} is not a YuNet face detector" in refusal(tiny_model)
    fixed = _yunet(save_graph, tmp_path / "fixed.onnx", [1, 3, 64, 96], OUTPUTS)
    assert "is a YuNet for pictures of 64 x 96 only" in refusal(fixed)
    fewer = {name: width for name, width in OUTPUTS.items() if name != "kps_16"}
    older = _yunet(save_graph, tmp_path / "older.onnx", [1, 3, "height", "width"], fewer)
    assert "of these kps_16 is missing" in refusal(older)


def _yunet(save_graph: Any, path: Path, shape: list[Any], outputs: dict[str, int]) -> Path:
    """A graph with a detector's input and outputs; what it computes means nothing."""
    nodes = [
        node("GlobalAveragePool", ["input"], ["means"]),
        node("Reshape", ["means", "column"], ["cells"]),
        *(node("MatMul", ["cells", f"row{width}"], [name]) for name, width in outputs.items()),
    ]
    weights = {f"row{width}": np.ones((1, width), np.float32) for width in set(outputs.values())}
    saved: Path = save_graph(
        path,
        nodes,
        [("input", FLOAT, shape)],
        [(name, FLOAT, [1, "anchors", width]) for name, width in outputs.items()],
        weights | {"column": np.array([1, 3, 1], np.int64)},
        {},
    )
    return saved


def test_a_detector_is_not_taken_for_a_classifier() -> None:
    for name in ("face_detection_yunet_2026may", SHIPPED):
        with pytest.raises(ModelFileError, match="is a face detector, not a classifier"):
            Classifier.load(name, provider="cpu")
    spec = Classifier.load("compact_cnn", provider="cpu").spec
    with pytest.raises(ModelFileError, match="is a face detector, not a classifier"):
        Session.open(SHIPPED, provider="cpu", spec=spec)


def test_what_is_not_a_picture(detector: FaceDetector, tmp_path: Path) -> None:
    text = tmp_path / "diary.txt"
    text.write_text("Dear diary")
    with pytest.raises(ImageError, match=r"diary\.txt: not an image of a known format"):
        detector.detect(text)
    with pytest.raises(ImageError):
        detector.detect(np.zeros((4, 4, 3), np.float32))  # type: ignore[arg-type]
    for array in (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))):
        with pytest.raises(ImageError, match="faces are found in uint8"):
            detector.find(array)  # type: ignore[arg-type]
