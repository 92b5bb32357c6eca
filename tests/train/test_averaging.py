"""The mean of checkpoints, and BatchNorm's statistics measured on images as they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fer_bench.artefacts import Artefacts
from fer_runtime.errors import ModelFileError
from fer_train import averaging, checkpoint, data
from fer_train.augment.operations import warp
from fer_train.checkpoint import Checkpoint
from fer_train.cli import app


@pytest.fixture
def first(exported: Artefacts) -> Checkpoint:
    return checkpoint.load(exported.checkpoint)


@pytest.fixture
def images(first: Checkpoint, dataset: Path) -> torch.Tensor:
    split = data.load_split(dataset, "train", first.spec.input, first.spec.labels)
    assert split is not None
    return split.images


def scaled(one: Checkpoint, factor: float) -> Checkpoint:
    state = {
        name: value * factor if value.is_floating_point() else value
        for name, value in one.state_dict.items()
    }
    return replace(one, state_dict=state)


def test_the_mean_of_weights_is_their_mean(first: Checkpoint) -> None:
    mean = averaging.average([first, scaled(first, 3.0)])
    for name, value in first.state_dict.items():
        expected = value * 2 if value.is_floating_point() else value
        torch.testing.assert_close(mean.state_dict[name], expected)
    hashes = mean.spec.provenance.recipe[averaging.AVERAGED]
    assert len(set(hashes)) == 2 and hashes[0] == checkpoint.state_sha256(first.state_dict)
    assert mean.spec.parity is None and not mean.spec.provenance.metrics
    assert averaging.average([first]).state_dict.keys() == first.state_dict.keys()


def test_different_models_have_no_mean(first: Checkpoint) -> None:
    other = replace(first, spec=first.spec.replace(labels=tuple(reversed(first.spec.labels))))
    with pytest.raises(ModelFileError, match="differ in labels"):
        averaging.average([first, other])
    with pytest.raises(ModelFileError, match="no checkpoint"):
        averaging.average([])


def test_resizing_can_be_changed_with_the_mean(first: Checkpoint) -> None:
    assert averaging.average([first]).spec.input == first.spec.input
    sharper = averaging.average([first], interpolation="bicubic")
    assert sharper.spec.input == replace(first.spec.input, interpolation="bicubic")


def test_statistics_are_those_of_the_images(first: Checkpoint, images: torch.Tensor) -> None:
    found = averaging.measure_statistics(first, images)
    net = first.net()
    norm = next(name for name, each in net.named_modules() if isinstance(each, averaging.NORMS))
    seen: list[torch.Tensor] = []
    module = dict(net.named_modules())[norm]
    module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    deployable = first.deployable()
    with torch.inference_mode():
        net(deployable.normalise(images))
    values = seen[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(
        found.state_dict[f"{norm}.running_mean"], values.mean(1), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        found.state_dict[f"{norm}.running_var"], values.var(1), rtol=1e-2, atol=1e-4
    )
    statistics = ("running_mean", "running_var")
    for name, value in first.state_dict.items():
        if not name.endswith(statistics):
            assert torch.equal(found.state_dict[name], value), name
    assert not torch.equal(found.state_dict[f"{norm}.running_mean"],
                           first.state_dict[f"{norm}.running_mean"])  # fmt: skip


def test_a_model_without_batch_norm_stays_as_it_is(images: torch.Tensor) -> None:
    from fer_runtime.spec import InputSpec, ModelSpec
    from fer_train import models

    size = InputSpec(height=48, width=48, channels=1, mean=(0.5,), std=(0.25,))
    arguments = {"width": 8, "batch_norm": False}
    net = models.build("simple_cnn", size, 7, arguments)
    spec = ModelSpec(
        labels=tuple("abcdefg"), input=size, architecture="simple_cnn", architecture_args=arguments
    )
    plain = Checkpoint(spec, net.state_dict())
    assert averaging.measure_statistics(plain, images) is plain


def test_command_writes_a_checkpoint_with_its_figures(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mean.pt"
    command = ["average", str(exported.checkpoint), "--data", str(dataset), "-o", str(output)]
    outcome = CliRunner().invoke(app, [*command, "--interpolation", "bicubic"])
    assert outcome.exit_code == 0, outcome.output
    written = checkpoint.load(output)
    figures = written.spec.provenance.metrics["validation"]
    assert f"{figures['accuracy']:.4f}" in outcome.stdout
    assert written.spec.temperature != 1.0
    assert written.spec.input.interpolation == "bicubic"
    assert written.spec.provenance.recipe[averaging.MEASURED] > 0
    before = exported.checkpoint.read_bytes()
    again = CliRunner().invoke(app, [*command[:-1], str(exported.checkpoint)])
    assert again.exit_code == 2
    assert exported.checkpoint.read_bytes() == before


def test_statistics_of_training_are_kept_on_request(
    exported: Artefacts, dataset: Path, tmp_path: Path
) -> None:
    """A model that was trained on sharp images resizes sharply without losing its statistics."""
    output, data = tmp_path / "sharp.pt", tmp_path / "data"
    shutil.copytree(dataset / "validation", data / "validation")  # it needs no training split
    command = ["average", str(exported.checkpoint), "--data", str(data), "-o", str(output)]
    refused = CliRunner().invoke(app, command)
    assert "no training split" in str(refused.exception)
    assert not output.exists()
    outcome = CliRunner().invoke(app, [*command, "--no-statistics", "--interpolation", "bicubic"])
    assert outcome.exit_code == 0, outcome.output
    before, after = checkpoint.load(exported.checkpoint), checkpoint.load(output)
    assert after.spec.input.interpolation == "bicubic"
    assert averaging.MEASURED not in after.spec.provenance.recipe
    images = torch.zeros(8, 1, 48, 48, dtype=torch.uint8)
    measured = averaging.measure_statistics(after, images)
    assert measured.spec.provenance.recipe[averaging.MEASURED] == 8
    again = averaging.average([measured])
    assert averaging.MEASURED not in again.spec.provenance.recipe
    for name, value in before.state_dict.items():
        torch.testing.assert_close(after.state_dict[name], value, rtol=0, atol=0)


def test_sharp_sampling_keeps_more_of_the_detail(images: torch.Tensor) -> None:
    """What blurs training images is the interpolation, not the change itself."""

    def detail(pixels: torch.Tensor) -> float:
        inner = pixels[:, :, 6:-6, 6:-6]
        return float((inner[:, :, 1:, 1:] - inner[:, :, :-1, :-1]).std())

    strengths = {"shift": 0.1, "scale": 0.1, "rotate": 12.0}
    noise = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    smooth, sharp = (
        warp(noise, torch.Generator().manual_seed(1), flip=True, sharp=each, **strengths)
        for each in (False, True)
    )
    assert detail(smooth) < 0.8 * detail(sharp) < detail(noise)
    torch.testing.assert_close(
        warp(noise, torch.Generator(), shift=0, scale=0, rotate=0, flip=False, sharp=True), noise,
        atol=1e-3, rtol=1e-3,
    )  # fmt: skip
