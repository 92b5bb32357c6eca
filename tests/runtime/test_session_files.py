"""What a session refuses: files that are not ONNX models, and specs that contradict the graph."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.errors import FerError, ModelFileError, ModelSpecError
from fer_runtime.session import Session
from fer_runtime.shipped import SHIPPED
from fer_runtime.spec import METADATA_KEY, InputSpec, ModelSpec
from tests.runtime.onnx_writer import FLOAT, node

Pixels = npt.NDArray[np.uint8]
SaveGraph = Any
"""The fixture `save_graph`: (path, nodes, inputs, outputs, weights, metadata) -> path."""


def refusal(path: Path, kind: type[FerError] = ModelFileError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        Session.open(path, provider="cpu", threads=1, **options)
    return str(caught.value)


# --- files that are not models --------------------------------------------------------------


def test_missing_files_and_folders(tmp_path: Path) -> None:
    missing = refusal(tmp_path / "missing.onnx")
    assert f"{tmp_path / 'missing.onnx'} does not exist" in missing
    assert "fer-export onnx best.pt" in missing
    assert refusal(tmp_path) == f"{tmp_path} is not a file."
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "is not a file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.onnx", b"", "is empty"),
        ("page.onnx", b"<!DOCTYPE html><html>404</html>", "is a web page"),
        ("page.onnx", b"\n\n  <html>", "is a web page"),
        ("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "is a PyTorch file, not ONNX"),
        ("noise.onnx", bytes(range(255, 0, -1)) * 4, "cannot be loaded as ONNX"),
        ("text.onnx", b"version https://git-lfs.github.com/spec/v1\n", "cannot be loaded as ONNX"),
        ("zeros.onnx", bytes(1000), "cannot be loaded as ONNX"),
        ("one.onnx", b"\x08", "cannot be loaded as ONNX"),
    ],
)
def test_contents_that_are_no_model(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert said in message
    assert str(path) in message
    assert "Traceback" not in message


def zipped(path: Path) -> Path:
    """A zip as torch.save, torch.jit.save and torch.export.save write them."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return path


def test_a_checkpoint_is_refused_with_the_command_that_exports_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "best.pt")
    message = refusal(path)
    assert "is a PyTorch file, not ONNX" in message
    assert f"`fer-export onnx {path}`" in message


@pytest.mark.parametrize(
    ("ending", "runs_it"), [(".torchscript", "torch.jit.load"), (".pt2", "torch.export.load")]
)
def test_other_exports_are_refused_with_what_runs_them(
    tmp_path: Path, ending: str, runs_it: str
) -> None:
    message = refusal(zipped(tmp_path / f"best{ending}"))
    assert f"which {runs_it} runs" in message
    assert "fer-runtime runs ONNX without torch" in message


def test_a_truncated_model_is_refused_at_every_cut(tmp_path: Path, tiny_model: Path) -> None:
    data = tiny_model.read_bytes()
    path = tmp_path / "cut.onnx"
    for cut in (1, 2, 10, 64, *range(100, len(data), len(data) // 25), len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(FerError):
            Session.open(path, provider="cpu", threads=1)


def test_an_unreadable_model_is_an_error(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelFileError) as caught:
        Session.open(tiny_model, provider="cpu")
    monkeypatch.undo()
    assert "cannot be read: Permission denied" in str(caught.value)


# --- specs -----------------------------------------------------------------------------------


def foreign(save_graph: SaveGraph, path: Path, layout: str = "NCHW", batch: Any = "N") -> Path:
    """float32 (N, 3, 2, 4) -> 2 scores: the sum of channel 0, and that of channels 1 and 2."""
    nchw = layout == "NCHW"
    shape = [batch, 3, 2, 4] if nchw else [batch, 2, 4, 3]
    nodes = [
        node("ReduceSum", ["pixels", "axes"], ["sums"], keepdims=0),
        node("MatMul", ["sums", "head"], ["scores"]),
    ]
    weights = {
        "axes": np.array([2, 3] if nchw else [1, 2]),
        "head": np.array([[1, 0], [0, 1], [0, 1]], np.float32),
    }
    inputs = [("pixels", FLOAT, shape)]
    outputs = [("scores", FLOAT, [batch, 2])]
    saved: Path = save_graph(path, nodes, inputs, outputs, weights)
    return saved


def foreign_spec(layout: str = "NCHW", **changes: Any) -> ModelSpec:
    values = {
        "name": "pixels",
        "height": 2,
        "width": 4,
        "channels": 3,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
        "layout": layout,
        "dtype": "float32",
        "value_range": (0, 1),
    }
    labels = changes.pop("labels", ("red", "other"))
    temperature = changes.pop("temperature", 1.0)
    return ModelSpec(
        labels=labels, input=InputSpec(**{**values, **changes}), temperature=temperature
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_foreign_float_model_runs_with_a_spec(
    tmp_path: Path, save_graph: SaveGraph, layout: str
) -> None:
    """Channel 0 is all 255, the others 51: eight pixels of 1, and 2 * 8 of 0.2."""
    path = foreign(save_graph, tmp_path / "foreign.onnx", layout)
    session = Session.open(path, provider="cpu", spec=foreign_spec(layout, temperature=4.0))
    pixels = np.full((2, 3, 2, 4), 51, np.uint8)
    pixels[0, 0] = 255
    logits, probabilities = session.run(pixels)
    np.testing.assert_allclose(logits, [[8, 3.2], [1.6, 3.2]], rtol=1e-5)
    np.testing.assert_allclose(probabilities[0, 0], 1 / (1 + np.exp((3.2 - 8) / 4)), rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_missing_spec_comes_with_a_template_that_fits(
    tmp_path: Path, save_graph: SaveGraph, layout: str
) -> None:
    path = foreign(save_graph, tmp_path / "foreign.onnx", layout)
    message = refusal(path, ModelSpecError)
    assert f"{path} contains no ModelSpec" in message
    assert "--spec spec.json" in message
    template = ModelSpec.from_json(message[message.index("{") :])
    assert template.labels == ("class 0", "class 1")
    assert template.input == foreign_spec(layout).input
    Session.open(path, provider="cpu", spec=template).warm_up(1)


def test_a_spec_that_contradicts_the_file_is_refused() -> None:
    own = ModelSpec.read(SHIPPED.with_suffix(".json"))
    turned = own.replace(labels=own.labels[::-1])
    with pytest.raises(ModelSpecError, match="the given one has another labels"):
        Session.open(SHIPPED, provider="cpu", spec=turned)
    darker = own.replace(input=dataclasses.replace(own.input, mean=(0.1,)))
    with pytest.raises(ModelSpecError, match="the given one has another input"):
        Session.open(SHIPPED, provider="cpu", spec=darker)
    assert Session.open(SHIPPED, provider="cpu", spec=own).spec == own


def test_a_template_is_made_for_any_signature(tmp_path: Path, save_graph: SaveGraph) -> None:
    nodes = [node("Identity", ["x"], ["y"])]
    for index, shape in enumerate((["N", "C", "H", "W"], ["N", 5, 8, 8], ["N", 4], [7], [])):
        path = save_graph(
            tmp_path / f"{index}.onnx",
            nodes,
            [("x", FLOAT, shape)],
            [("y", FLOAT, shape)],
        )
        message = refusal(path, ModelSpecError)
        ModelSpec.from_json(message[message.index("{") :])


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}', '{"schema_version": 9}'])
def test_a_broken_embedded_spec_names_the_file(
    tmp_path: Path, save_graph: SaveGraph, text: str
) -> None:
    nodes = [node("Identity", ["images"], ["logits"])]
    shape = ["N", 1, 2, 2]
    path = save_graph(
        tmp_path / "broken.onnx",
        nodes,
        [("images", FLOAT, shape)],
        [("logits", FLOAT, shape)],
        {},
        {METADATA_KEY: text},
    )
    assert str(path) in refusal(path, ModelSpecError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "images"}, "the spec has the input 'images', but the graph has pixels"),
        (
            {"dtype": "uint8", "value_range": (0, 255)},
            "tensor(uint8) for 'pixels'; the graph takes tensor(float)",
        ),
        ({"height": 4}, "the spec has (N, 3, 4, 4) for 'pixels', but the graph takes"),
        ({"layout": "NHWC"}, "the spec has (N, 2, 4, 3) for 'pixels', but the graph takes"),
        ({"channels": 1, "mean": (0,), "std": (1,)}, "the spec has (N, 1, 2, 4)"),
        ({"labels": ("a", "b", "c")}, "the spec has 3 labels, but the graph outputs 2"),
    ],
)
def test_a_spec_at_odds_with_the_graph_is_refused(
    tmp_path: Path, save_graph: SaveGraph, changes: dict[str, Any], said: str
) -> None:
    path = foreign(save_graph, tmp_path / "foreign.onnx")
    message = refusal(path, spec=foreign_spec(**changes))
    assert said in message
    assert str(path) in message


def test_a_graph_with_a_second_input_is_refused(tmp_path: Path, save_graph: SaveGraph) -> None:
    """It would open and then fail in its first run, with an error of onnxruntime's own."""
    nodes = [
        node("Mul", ["pixels", "gain"], ["scaled"]),
        node("ReduceMean", ["scaled"], ["scores"], axes=[1, 2], keepdims=0),
    ]
    path = save_graph(
        tmp_path / "two.onnx",
        nodes,
        [("pixels", FLOAT, ["N", 3, 2, 4]), ("gain", FLOAT, [1])],
        [("scores", FLOAT, ["N", 4])],
    )
    assert "gain" in refusal(path, spec=foreign_spec(labels=("a", "b", "c", "d")))


def test_a_fixed_batch_of_one_is_refused_or_run_one_by_one(
    tmp_path: Path, save_graph: SaveGraph
) -> None:
    """Many published models are (1, C, H, W), FER+ among them; three images must not end in an
    onnxruntime exception."""
    path = foreign(save_graph, tmp_path / "fixed.onnx", batch=1)
    try:
        session = Session.open(path, provider="cpu", spec=foreign_spec())
    except ModelFileError as error:
        assert "batch" in str(error)
        return
    logits = session.run(np.full((3, 3, 2, 4), 51, np.uint8)).logits
    np.testing.assert_allclose(logits, [[1.6, 3.2]] * 3, rtol=1e-5)


# --- threads ---------------------------------------------------------------------------------
