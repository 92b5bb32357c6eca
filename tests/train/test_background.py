"""The notes of five teams, row by row: each works through `fer-train`, is in its help, and has
a test that names it. Rows with a module of their own are tested there; the rest are here."""

from __future__ import annotations

import ast
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from matplotlib import image as pictures
from torch import nn
from typer.testing import CliRunner

import fer_train
from fer_runtime.classifier import Classifier
from fer_runtime.errors import DataError, ModelSpecError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import checkpoint, models, plots
from fer_train.cli import app
from fer_train.fit import FitResult, RunOptions, fit
from fer_train.module import FerModule
from fer_train.recipe import MONITORS, Recipe

ROWS = [
    *("A1", "A2", "A3", "A4"),
    *("B1", "B2", "B3", "B4", "B5", "B6", "B6b", "B7", "B8", "B9"),
    *("C1", "C2", "C3"),
    *("D1", "D2", "D3", "D3b", "D4", "D5", "D6"),
    *("E1", "E2", "E3", "E4"),
]
OPTIONS = {
    "A1": "fit --data", "A2": "fit --mean --std --channels", "A3": "fit --batch-size",
    "A4": "fit --batch-norm --no-batch-norm --depth --width --batch-size",
    "B1": "compare --vary --seeds --resume", "B2": "fit --architecture --pretrained",
    "B3": "fit --split --no-stratify --split-file", "B4": "fit --augment",
    "B5": "fit --augment --shift --scale --rotate --flip --jitter --erase --mixup",
    "B6": "fit --sampler", "B6b": "fit --epochs", "B7": "fit --dropout --freeze-until --lr",
    "B8": "fit --image-size", "B9": "evaluate --data --output", "C1": "fit --collapse-epochs",
    "C2": "fit --optimizer --scheduler --momentum --step-size --gamma --lr",
    "C3": "fit --output", "D1": "fit --monitor", "D2": "fit --activation", "D3": "compare --vary",
    "D3b": "fit --patience", "D4": "fit --output", "D5": "fit --patience --monitor --resume",
    "D6": "evaluate --output", "E1": "stats --channels", "E2": "fit --weight-decay --decay-all",
    "E3": "fit --init", "E4": "fit --devices",
}  # fmt: skip
SMALL = Recipe(architecture="simple_cnn", width=8, epochs=2, batch_size=20)


def small(**changes: object) -> Recipe:
    return Recipe(**{**SMALL.to_dict(), **changes})


def test_every_row_has_a_test_that_names_it() -> None:
    named: set[str] = set()
    for path in Path(__file__).parent.parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = f"{node.name} {ast.get_docstring(node) or ''}"
                for found in re.finditer(r"background[ _]((?:[a-e]\d+b?(?: and )?)+)", text, re.I):
                    named |= {row.lower() for row in found.group(1).split(" and ")}
    assert {row.lower() for row in ROWS} <= named


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_in_the_help(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command, *options = OPTIONS[row].split()
    outcome = CliRunner().invoke(app, [command, "--help"])
    for option in options:
        assert re.search(rf"{option}\b", outcome.stdout), option


def test_background_a2_mean_of_the_wrong_length_is_named(dataset: Path, tmp_path: Path) -> None:
    """`Normalize((0.5, 0.5))` on three channels, before anything is decoded."""
    with pytest.raises(ModelSpecError, match=r"mean.*2.*3"):
        fit(dataset, tmp_path / "run", small(channels=3, mean="0.5,0.5"))
    with pytest.raises(ModelSpecError, match=r"std.*3.*1"):
        fit(dataset, tmp_path / "run", small(std="0.5,0.5,0.5"))
    with pytest.raises(DataError, match=r"mean is 'half'; give one number per channel"):
        small(mean="half")
    assert not (tmp_path / "run").exists()


def test_given_mean_and_std_are_in_the_spec(dataset: Path, tmp_path: Path) -> None:
    result = fit(dataset, tmp_path, small(epochs=1, mean="0.4", std="0.3"), RunOptions(show=False))
    assert result is not None
    found = checkpoint.load(result.best).spec.input
    assert (found.mean, found.std) == ((0.4,), (0.3,))


class Wrong(nn.Module):
    """Gives five classes, whatever is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48 * 48, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(x.flatten(1))
        return found


def test_background_a3_wrong_class_count_or_batch_is_refused_by_name(grey: InputSpec) -> None:
    with pytest.raises(ModelSpecError, match=r"gives \(2, 5\) for 2 images; for 7 classes"):
        models.check(Wrong(), "mine:net", grey, 7)
    halved = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1)), nn.LazyLinear(7))
    with pytest.raises(ModelSpecError, match=r"mine:net gives \(1, 7\) for 2 images"):
        models.check(halved, "mine:net", grey, 7)
    with pytest.raises(ModelSpecError, match=r"does not take images of \(1, 40, 40\)"):
        models.check(Wrong(), "mine:net", replace(grey, height=40, width=40), 5)
    net = models.build("simple_cnn", grey, 7, {"width": 8})
    models.check(net, "simple_cnn", grey, 7)
    assert net.training


def test_background_b5_presets_and_single_strengths() -> None:
    chosen = Recipe(augment="none", rotate=5, jitter=0.1, erase=0.3).augmentation.strengths
    assert [chosen[name] for name in ("rotate", "jitter", "erase", "flip")] == [5, 0.1, 0.3, False]
    assert Recipe(augment="strong", erase=0.0).augmentation.strengths["erase"] == 0
    assert Recipe(augment="strong").augmentation.strengths["erase"] > 0


def test_background_b7_dropout_and_learning_rate_reach_the_net(grey: InputSpec) -> None:
    for dropout in (0.3, 0.5):
        net = models.build("simple_cnn", grey, 7, Recipe(dropout=dropout).architecture_args())
        assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [dropout]


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A short run with everything that a run leaves."""
    result = fit(dataset, tmp_path_factory.mktemp("run"), SMALL, RunOptions(show=False))
    assert result is not None
    return result


def test_background_c3_trained_model_is_saved_exported_and_asked(
    run: FitResult, dataset: Path, tmp_path: Path
) -> None:
    """From `best.pt` to a Python API, without repeating size, mean or labels."""
    from fer_export import exporter

    exporter.export(run.best, "onnx", tmp_path / "best.onnx")
    found = Classifier.load(tmp_path / "best.onnx", provider="cpu")
    image = sorted((dataset / "validation" / "happy").iterdir())[0]
    name = f"validation/happy/{image.name}"
    split = [str(p.relative_to(dataset)) for p in sorted((dataset / "validation").rglob("*.*"))]
    expected = run.evaluation.probabilities[split.index(name)]
    given = list(found.predict(image).probabilities.values())
    np.testing.assert_allclose(given, expected, atol=1e-4)


@pytest.mark.parametrize("monitor", sorted(MONITORS))
def test_background_d1_best_checkpoint_by_any_metric(
    dataset: Path, tmp_path: Path, monitor: str
) -> None:
    result = fit(dataset, tmp_path, small(monitor=monitor, lr=0.02), RunOptions(show=False))
    assert result is not None
    choose = min if MONITORS[monitor] == "min" else max
    values = [row[monitor] for row in result.history]
    assert values[result.best_epoch - 1] == choose(values)


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    return float((pictures.imread(path)[..., :3] < 0.95).any(2).mean())


def test_background_d4_curves_on_two_axes(run: FitResult, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run.best.parent
    assert ink(folder / "curves.png") > 0.02 and ink(folder / "confusion.png") > 0.05
    kept: list[Any] = []
    monkeypatch.setattr(plots.pyplot, "close", kept.append)
    plots.curves(run.history, folder / "again.png")
    losses, scores = kept[0].axes
    assert losses.get_ylabel() == "loss (nats)" and scores.get_ylabel() == "score"
    drawn = {line.get_label(): list(line.get_ydata()) for line in (*losses.lines, *scores.lines)}
    assert drawn["validation loss"] == [row["val_loss"] for row in run.history]
    assert drawn["training accuracy"] == [row["train_accuracy"] for row in run.history]


def test_background_d6_pictures_with_true_and_predicted_class(
    run: FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(plots.pyplot, "close", kept.append)
    found = run.evaluation
    faces = np.zeros((len(found.targets), 1, 8, 8), np.uint8)
    plots.predictions(faces, found, run.best.parent / "again.png")
    right, wrong = ([cell.get_xlabel() for cell in half.child_axes] for half in kept[0].axes)
    assert len(right) == min(24, int((found.probabilities.argmax(1) == found.targets).sum()))
    assert all(re.fullmatch(r"\w+ \d+%", text) for text in right)
    assert wrong and all(re.fullmatch(r"\w+ \d+%\nlabelled \w+", text) for text in wrong)


def test_background_e2_weight_decay_spares_norms_and_biases(grey: InputSpec) -> None:
    spec = ModelSpec(labels=tuple("abcdefg"), input=grey, architecture="simple_cnn")
    net = models.build("simple_cnn", grey, 7, {"width": 8})
    for decay_all in (False, True):
        recipe = Recipe(optimizer="sgd", weight_decay=5e-4, decay_all=decay_all, scheduler="none")
        module = FerModule(models.Deployable(net, spec), recipe, [1] * 7)
        decay = _decay_by_shape(module)
        assert decay[True] == {5e-4}  # kernels and matrices
        assert decay[False] == ({5e-4} if decay_all else {0.0})


def _decay_by_shape(module: FerModule) -> dict[bool, set[float]]:
    from fer_train.optimizers import OPTIMIZERS, parameter_groups

    optimizer = OPTIMIZERS["sgd"](parameter_groups(module, module.recipe), module.recipe)
    found: dict[bool, set[float]] = {True: set(), False: set()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[parameter.ndim > 1].add(group["weight_decay"])
    return found


def test_background_e4_the_loop_is_a_librarys() -> None:
    """No `zero_grad`, `optimizer.step` or `no_grad` around a loop of ours."""
    assert issubclass(FerModule, pl.LightningModule)
    assert FerModule.optimizer_step is pl.LightningModule.optimizer_step
    for name in ("fit.py", "module.py"):
        text = (Path(fer_train.__file__).parent / name).read_text(encoding="utf-8")
        assert not re.search(r"\.zero_grad\(|\.backward\(|optimizer\.step\(", text)


def test_ctrl_c_leaves_a_run_that_can_be_resumed(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    options = ["--architecture", "simple_cnn", "--width", "8", "--batch-size", "20"]
    command = [
        sys.executable, "-c", "from fer_train.cli import main; main()", "fit", "--data",
        str(dataset), "--output", str(output), "--epochs", "100000", "--threads", "1", *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A job in the background starts with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    _wait_for(output / "last.pt", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in err and b"accuracy" in out
    finished = torch.load(output / "last.pt", weights_only=True)["epoch"] + 1
    assert json.loads((output / "metrics.json").read_text("utf-8"))["metrics"]["count"] == 70
    chosen = Recipe(architecture="simple_cnn", width=8, batch_size=20, epochs=100_000)
    resumed = RunOptions(resume=True, time_limit=timedelta(seconds=0.1), show=False)
    result = fit(dataset, output, chosen, resumed)
    assert result is not None and len(result.history) == finished + 1


def _wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, "the run ended too early"
        time.sleep(0.05)


def test_a_folder_is_made_only_when_the_data_is_good(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training split"):
        fit(tmp_path, tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("skip", [False, True])
def test_unreadable_images_stop_a_run_or_are_skipped(
    dataset: Path, tmp_path: Path, skip: bool
) -> None:
    import shutil

    root = tmp_path / "faces"
    shutil.copytree(dataset, root)
    (root / "train" / "sad" / "notes.jpg").write_text("not a picture")
    chosen = small(epochs=1, skip_unreadable=skip)
    if not skip:
        with pytest.raises(
            DataError, match=r"1 images cannot be read.*--skip-unreadable(.|\n)*not"
        ):
            fit(root, tmp_path / "run", chosen)
        return
    result = fit(root, tmp_path / "run", chosen, RunOptions(show=False))
    assert result is not None


def test_crop_is_inside_the_net_and_looks_at_the_middle_only(grey: InputSpec) -> None:
    net = models.build("compact_cnn", grey, 7, {"crop": 40}).eval()
    images = torch.randn(2, 1, 48, 48)
    framed = images.clone()
    framed[:, :, :4] = framed[:, :, -4:] = 9
    framed[:, :, :, :4] = framed[:, :, :, -4:] = 9
    with torch.inference_mode():
        assert torch.equal(net(images), net(framed))
        assert torch.equal(
            net(images), nn.Sequential(*list(net.children())[1:])(images[:, :, 4:44, 4:44])
        )
    with pytest.raises(ModelSpecError, match="crop 60 is not within 48 x 48"):
        models.build("compact_cnn", grey, 7, {"crop": 60})
