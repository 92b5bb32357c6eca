"""A model that follows a teacher: its loss is what the docstring says, wrong teachers are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fer_bench import artefacts
from fer_runtime.errors import DataError, ModelFileError
from fer_runtime.spec import InputSpec, ModelSpec
from fer_train import checkpoint, models, stored_logits
from fer_train.augment import Mixed
from fer_train.fit import FitResult, RunOptions, fit
from fer_train.module import FerModule
from fer_train.recipe import Recipe

NET = {"width": 8, "depth": 2}


def deployable(grey: InputSpec, seed: int) -> models.Deployable:
    torch.manual_seed(seed)
    spec = ModelSpec(labels=artefacts.LABELS, input=grey, architecture="simple_cnn")
    return models.Deployable(models.build("simple_cnn", grey, 7, NET), spec).eval()


def test_loss_is_the_divergence_from_the_teacher(grey: InputSpec) -> None:
    student, teacher = deployable(grey, 0), deployable(grey, 1)
    module = FerModule(student, Recipe(distillation_temperature=3.0), [10] * 7, [teacher])
    inputs = torch.randn(5, 1, 48, 48)
    with torch.no_grad():
        logits, wanted = student.net(inputs), teacher.net(inputs)
        found = module._distillation_loss(logits, module._taught(inputs, 0))
        p, q = functional.softmax(wanted / 3, 1), functional.softmax(logits / 3, 1)
        assert found == pytest.approx(9 * float((p * (p / q).log()).sum(1).mean()), rel=1e-4)
        same = module._distillation_loss(wanted, module._taught(inputs, 0))
        assert same == pytest.approx(0, abs=1e-6)


def test_several_teachers_are_followed_in_their_mean(grey: InputSpec) -> None:
    student, *teachers = (deployable(grey, seed) for seed in range(3))
    recipe = Recipe(distillation_temperature=1.0)
    module = FerModule(student, recipe, [10] * 7, teachers)
    inputs = torch.randn(5, 1, 48, 48)
    with torch.no_grad():
        mean = torch.stack([functional.softmax(t.net(inputs), 1) for t in teachers]).mean(0)
        found = module._distillation_loss(mean.log(), module._taught(inputs, 0))
        assert found == pytest.approx(0, abs=1e-6)


def test_teacher_is_not_part_of_the_weights(grey: InputSpec) -> None:
    module = FerModule(deployable(grey, 0), Recipe(), [10] * 7, [deployable(grey, 1)])
    alone = FerModule(deployable(grey, 0), Recipe(), [10] * 7)
    assert set(module.state_dict()) == set(alone.state_dict())


@pytest.fixture(scope="module")
def teacher(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A short run whose best.pt teaches."""
    recipe = Recipe(architecture="simple_cnn", width=8, epochs=2, batch_size=20)
    result = fit(dataset, tmp_path_factory.mktemp("teacher"), recipe, RunOptions(show=False))
    assert result is not None
    return result


@pytest.mark.slow
def test_student_that_follows_alone_ends_nearer_to_its_teacher(
    teacher: FitResult, dataset: Path, tmp_path: Path
) -> None:
    taught = checkpoint.load(teacher.best).deployable()
    images = torch.randint(0, 256, (64, 1, 48, 48), dtype=torch.uint8)
    distances = {}
    for weight in (0.0, 1.0):
        recipe = Recipe(
            architecture="simple_cnn", width=8, epochs=8, batch_size=20, lr=0.005, seed=5,
            optimizer="adam", monitor="val_loss", teacher=str(teacher.best), distillation=weight,
        )  # fmt: skip
        result = fit(dataset, tmp_path / str(weight), recipe, RunOptions(show=False))
        assert result is not None
        with torch.inference_mode():
            student = checkpoint.load(result.best).deployable()(images)[1]
            distances[weight] = float((student - taught(images)[1]).abs().mean())
    assert distances[1.0] < 0.7 * distances[0.0]


def test_stored_logits_are_followed_by_image_view_and_mixture(grey: InputSpec) -> None:
    module = FerModule(deployable(grey, 0), Recipe(distillation_temperature=2.0), [10] * 7)
    stored = torch.randn(4, 2, 7)
    expected = functional.softmax(stored / 2, 2).mean(1)
    partners = torch.tensor([1, 2, 3, 0])
    assert torch.allclose(module._softened(stored, Mixed(stored)), expected)
    mixed = module._softened(stored, Mixed(stored, 0.75, partners))
    assert torch.allclose(mixed, 0.75 * expected + 0.25 * expected[partners])
    found = module._taught(torch.randn(4, 1, 48, 48), 0, [expected])
    assert torch.allclose(found, expected)


def write_logits(path: Path, dataset: Path) -> Path:
    """Logits that say, for each training image, the class after its own."""
    names = [str(file.relative_to(dataset)) for file in sorted((dataset / "train").rglob("*.jpg"))]
    labels = sorted({Path(name).parent.name for name in names})
    wanted = np.zeros((len(names), len(labels)), np.float32)
    for row, name in zip(wanted, names, strict=True):
        row[(labels.index(Path(name).parent.name) + 1) % len(labels)] = 9
    np.savez(path, names=np.array(names[::-1]), logits=wanted[::-1])
    return path


@pytest.mark.slow
def test_a_student_learns_what_stored_logits_say(dataset: Path, tmp_path: Path) -> None:
    hits = {}
    for weight in (0.0, 1.0):
        recipe = Recipe(
            architecture="simple_cnn", width=8, epochs=12, batch_size=20, lr=0.01, optimizer="adam",
            distillation=weight, teacher_logits=str(write_logits(tmp_path / "t.npz", dataset)),
        )  # fmt: skip
        result = fit(dataset, tmp_path / str(weight), recipe, RunOptions(show=False))
        assert result is not None
        hits[weight] = result.history[-1]["train_accuracy"]
    # The logits name another class than the labels do.
    assert hits[1.0] < 0.1 and hits[0.0] > 0.4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as stored logits"),
        ({"logits": np.zeros((2, 7))}, "names and logits is required"),
        ({"names": np.array(["a/1.jpg"]), "logits": np.zeros((2, 7))}, "for 1 names"),
        ({"names": np.array(["a/1.jpg"]), "logits": np.full((1, 7), np.nan)}, "finite numbers"),
        ({"names": np.array(["a/1.jpg"]), "logits": np.zeros((1, 3))}, "of 3 classes"),
        ({"names": np.array(["a/1.jpg"]), "logits": np.zeros((1, 7))}, "no logits of 1 of 2"),
    ],
)
def test_bad_files_of_logits_are_named(
    content: dict[str, Any] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "logits.npz"
    if content is None:
        path.write_text("not an archive")
    else:
        np.savez(path, **content)
    with pytest.raises(DataError, match=message):
        stored_logits.read(path, ["train/a/1.jpg", "train/b/2.jpg"], 7)


def test_teacher_epochs_bring_the_same_batches_and_ask_no_more(
    teacher: FitResult, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    asked: list[torch.Tensor] = []
    train, taught = FerModule._distillation_loss, FerModule._taught

    def recorded(module: FerModule, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        seen.append(wanted)
        return train(module, logits, wanted)

    def answered(
        module: FerModule, inputs: torch.Tensor, index: int, stored: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        asked.append(inputs.clone())
        return taught(module, inputs, index, stored)

    monkeypatch.setattr(FerModule, "_distillation_loss", recorded)
    monkeypatch.setattr(FerModule, "_taught", answered)
    questions = 0

    def count(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        nonlocal questions
        questions += len(inputs[0]) == recipe.batch_size  # not those of the last evaluation

    loaded = checkpoint.Checkpoint.deployable

    def counted(found: checkpoint.Checkpoint) -> models.Deployable:
        wrapped = loaded(found)
        wrapped.net.register_forward_pre_hook(count)
        return wrapped

    monkeypatch.setattr(checkpoint.Checkpoint, "deployable", counted)
    recipe = Recipe(
        architecture="simple_cnn", width=8, epochs=5, batch_size=20, teacher=str(teacher.best),
        teacher_epochs=2, mixup=0.2,
    )  # fmt: skip
    assert fit(dataset, tmp_path / "run", recipe, RunOptions(show=False)) is not None
    steps = len(seen) // 5
    assert questions == 2 * steps
    epochs = [asked[i * steps : (i + 1) * steps] for i in range(5)]
    for later, earlier in ((2, 0), (3, 1), (4, 0)):
        for a, b in zip(epochs[later], epochs[earlier], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(epochs[0][0], epochs[1][0])
    with torch.no_grad():
        net = loaded(checkpoint.load(teacher.best)).net
        for inputs, wanted in zip(asked, seen, strict=True):
            torch.testing.assert_close(wanted, functional.softmax(net(inputs) / 2, 1))


def test_wrong_teachers_are_named(teacher: FitResult, dataset: Path, tmp_path: Path) -> None:
    found = checkpoint.load(teacher.best)
    other = found.spec.replace(labels=tuple(reversed(found.spec.labels)))
    checkpoint.save(tmp_path / "labels.pt", other, found.state_dict)
    small = {"architecture": "simple_cnn", "width": 8, "epochs": 1, "batch_size": 20}
    for path, changes, kind, message in (
        (tmp_path / "labels.pt", {}, DataError, "knows the labels surprise"),
        (teacher.best, {"image_size": 40}, DataError, "takes other inputs"),
        (tmp_path / "none.pt", {}, ModelFileError, "does not exist"),
    ):
        options: dict[str, Any] = {**small, **changes}
        recipe = Recipe(**options, teacher=str(path))
        with pytest.raises(kind, match=message):
            fit(dataset, tmp_path / "run", recipe, RunOptions(show=False))
        assert not (tmp_path / "run").exists()


def test_a_teacher_may_resize_in_another_way(
    teacher: FitResult, dataset: Path, tmp_path: Path
) -> None:
    """It is asked about the pixels that the run has read, so its own interpolation is not used."""
    found = checkpoint.load(teacher.best)
    sharp = replace(found.spec.input, interpolation="bicubic")
    assert sharp != found.spec.input
    path = tmp_path / "sharp.pt"
    checkpoint.save(path, found.spec.replace(input=sharp), found.state_dict)
    losses = []
    for each in (teacher.best, path):
        net: dict[str, Any] = {"architecture": "simple_cnn", "width": 8, "epochs": 1}
        recipe = Recipe(**net, batch_size=20, teacher=str(each))
        result = fit(dataset, tmp_path / each.stem, recipe, RunOptions(show=False, threads=1))
        assert result is not None
        losses.append(result.history[0]["train_loss"])
    assert losses[0] == losses[1]
