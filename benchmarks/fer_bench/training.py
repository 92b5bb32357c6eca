"""One epoch of fer-train against the usual PyTorch loop: `fer-bench training DATA`.

Same model, batch size, precision and kinds of augmentation, same cores, in turn; the ratio is
between the medians of images/s. Also how much of a step is waiting for data.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_bench import environment
from fer_runtime.cli.console import bound_spinning

if TYPE_CHECKING:
    from fer_runtime.spec import InputSpec
    from fer_train.recipe import Recipe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder with train/<class>/*.")],
    images: Annotated[int, typer.Option(help="Training images of an epoch.", min=128)] = 6000,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=2)] = 64,
    architecture: Annotated[str, typer.Option(help="Name of the model.")] = "compact_cnn",
    repeats: Annotated[int, typer.Option(help="Epochs of each, alternating.", min=1)] = 3,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Images/s of an epoch of training, and the share of it that is waiting for data."""
    bound_spinning()
    figures = measure(data, images, batch_size, architecture, repeats)
    for name, values in figures["images_per_second"].items():
        print(f"{name:<46}{statistics.median(values):8,.0f} images/s   (median of {len(values)})")
    print(f"{'ratio of the medians':<46}{figures['ratio']:8.2f}")
    print(f"{'share of a step of fer-train that is data':<46}{figures['data_share']:8.1%}")
    print(f"{'decoding the set, once a run':<46}{figures['decode_seconds']:8.1f} s")
    if output:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(
    root: Path, images: int, batch_size: int, architecture: str, repeats: int
) -> dict[str, Any]:
    """Run both in turn, `repeats` times, on the first `images` training images."""
    import torch

    from fer_train import data, fit
    from fer_train.recipe import Recipe

    recipe = Recipe(architecture=architecture, batch_size=batch_size, epochs=1)
    started = time.perf_counter()
    prepared = fit.prepare(root, recipe)
    decode_seconds = time.perf_counter() - started
    order = torch.randperm(len(prepared.data.train), generator=torch.Generator().manual_seed(0))
    train = prepared.data.train.take(order[:images], "train")
    validation = prepared.data.validation.take(torch.arange(64), "validation")
    part = replace(prepared, data=replace(prepared.data, train=train, validation=validation))
    ours, plain, waits = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            result = fit.run(part, Path(folder) / "run", recipe, fit.RunOptions(show=False))
        assert result is not None
        ours.append(result.history[0]["images_per_second"])
        started = time.perf_counter()
        seen = sum(len(targets) for _, targets in data.train_loader(train, batch_size, seed=0))
        waits.append((time.perf_counter() - started) / seen * ours[-1])
        plain.append(_plain_epoch(root, train.names, part.input, recipe))
    return {
        "architecture": architecture,
        "batch_size": batch_size,
        "images": len(train),
        "images_per_second": {
            "fer-train fit": ours,
            "ImageFolder, transforms, DataLoader (2 workers)": plain,
        },
        "ratio": statistics.median(ours) / statistics.median(plain),
        "data_share": statistics.median(waits),
        "decode_seconds": decode_seconds,
        "machine": environment.machine(),
    }


def _plain_epoch(root: Path, names: tuple[str, ...], spec: InputSpec, recipe: Recipe) -> float:
    """Images/s of the usual loop; its workers are started before the clock is."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from fer_train import models

    strengths = recipe.augmentation.strengths
    shift, scale = strengths["shift"], strengths["scale"]
    transform = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.Resize((spec.height, spec.width)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(
                strengths["rotate"],
                translate=(shift, shift),
                scale=(1 - scale, 1 + scale),
                interpolation=transforms.InterpolationMode.BILINEAR,
            ),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    folder = ImageFolder(root / "train", transform)
    wanted = {os.fspath(root / name) for name in names}
    indices = [index for index, (path, _) in enumerate(folder.samples) if path in wanted]
    loader = DataLoader(
        Subset(folder, indices), recipe.batch_size, shuffle=True, drop_last=True, num_workers=2
    )
    net = models.build(recipe.architecture, spec, len(folder.classes), recipe.architecture_args())
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
        nesterov=True,
    )  # fmt: skip
    criterion = torch.nn.CrossEntropyLoss()
    net.train()
    batches = iter(loader)
    inputs, targets = next(batches)
    seen, started = 0, time.perf_counter()
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()
        seen += len(targets)
    return seen / (time.perf_counter() - started)
