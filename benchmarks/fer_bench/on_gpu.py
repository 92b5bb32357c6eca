"""Everything that is worth knowing on a GPU: `fer-bench on-gpu IMAGES -o gpu.json`.

Parity of fp32 without TF32 and of fp16 with the CPU; the session at several batch sizes against
PyTorch eager, TorchScript and torch.compile, in fp32 and fp16, in turns, each with its copies to
the device and back; and whole runs from files and from a pack, as shares of the session alone and
of decoding alone. Writes one JSON, and a page beside it. `--device cpu` does it all without a GPU.
"""

from __future__ import annotations

import datetime
import json
import platform
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from fer_bench import links, timing
from fer_runtime import images, infer, pack
from fer_runtime.errors import ProviderError
from fer_runtime.machine import processor, usable_threads
from fer_runtime.providers import PROVIDERS, cuda
from fer_runtime.session import Session
from fer_runtime.sources import Files

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Pixels = npt.NDArray[np.uint8]
Run = Callable[[Pixels], object]
CHECKPOINT = Path("train/checkpoints/compact_cnn.pt")
BATCHES = (1, 8, 32, 128, 512, 1024, 4096)


@app.command()
def measure(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.json; FILE.md beside it.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    checkpoint: Annotated[Path, typer.Option(help="A best.pt.")] = CHECKPOINT,
    batch: Annotated[list[int], typer.Option(help="Batch sizes.")] = list(BATCHES),  # noqa: B006
    count: Annotated[int, typer.Option(help="Images of whole runs (links).", min=1)] = 100_000,
    seconds: Annotated[float, typer.Option(help="Of each engine at each batch size.")] = 1.0,
    compiled: Annotated[bool, typer.Option(help="Compare with torch.compile.")] = True,
) -> None:
    """Measure, and write the figures and a page."""
    if device == "cuda" and (causes := PROVIDERS["cuda"].diagnose()):
        raise ProviderError(
            f"CUDA cannot run here: {'; '.join(map(str, causes))}. Pass --device cpu for a test."
        )
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        files = _export(checkpoint, data, folder)
        found: dict[str, Any] = {"machine": _machine(device), "parity": {}, "session": []}
        pixels = _pixels(data, files["fp32"], max(batch))
        for precision, path in files.items():
            found["parity"][precision] = _parity(path, device, pixels[:4096])
        for precision, path in files.items():
            ways = _engines(checkpoint, path, device, precision, compiled=compiled)
            for size in batch:
                found["session"].append(_rates(ways, pixels, size, precision, seconds))
        found["runs"] = _whole_runs(files["fp32"], data, folder, device, count)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    page = as_page(found)
    output.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page, end="")


def _export(checkpoint: Path, data: Path, folder: Path) -> dict[str, Path]:
    """The checkpoint in fp32 and fp16, with parity on the CPU."""
    from fer_export import exporter
    from fer_export.options import ExportOptions

    return {
        precision: exporter.export(
            checkpoint, "onnx", folder / f"{precision}.onnx",
            ExportOptions(precision=precision, images=data),
        ).path
        for precision in ("fp32", "fp16")
    }  # fmt: skip


def _machine(device: str) -> dict[str, Any]:
    devices = cuda.devices() if device == "cuda" else []
    packages = ("onnxruntime-gpu", "onnxruntime", "torch", "fer-runtime")
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "device": devices[0].name if devices else "CPU",
        "driver_cuda": cuda.driver_cuda() if devices else None,
        "cpu": f"{processor()}, {usable_threads()} cores",
        "python": platform.python_version(),
        "packages": found,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _pixels(data: Path, model: Path, least: int) -> Pixels:
    """At least so many images as the model takes them; the folder's, again and again."""
    spec = Session.open(model, provider="cpu", threads=1).spec.input
    paths = [item.path for item in Files([data])][: max(least, 4096)]
    loaded = np.stack([images.load(path, spec) for path in paths])
    return np.concatenate([loaded] * -(-least // len(loaded)))


def _parity(path: Path, device: str, pixels: Pixels) -> dict[str, float]:
    """A device against the CPU provider: logits in standard deviations, and equal top-1."""
    expected = Session.open(path, provider="cpu").run(pixels).logits
    found = Session.open(path, provider=device).run(pixels).logits
    return {
        "images": len(pixels),
        "difference": float(np.abs(found - expected).max() / expected.std()),
        "agreement": float(np.mean(found.argmax(1) == expected.argmax(1))),
    }


def _engines(
    checkpoint: Path, path: Path, device: str, precision: str, *, compiled: bool
) -> dict[str, Run]:
    """Name -> pixels in this process's memory to probabilities in it."""
    import torch

    from fer_export.formats import to_torchscript
    from fer_train import checkpoint as checkpoints

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    deployable = checkpoints.load(checkpoint).deployable().eval().to(device)
    module: Any = deployable
    if precision == "fp16":
        module = _in_half(deployable)
    session = Session.open(path, provider=device)

    def through_torch(called: Any) -> Run:
        def run(pixels: Pixels) -> object:
            with torch.inference_mode():
                outputs = called(torch.from_numpy(pixels).to(device, non_blocking=True))
                outputs = outputs[1] if isinstance(outputs, tuple) else outputs
                return outputs.cpu().numpy()

        return run

    example = torch.zeros((2, *session.spec.input.shape), dtype=torch.uint8, device=device)
    ways: dict[str, Run] = {
        "fer-runtime": lambda pixels: session.run(pixels).probabilities,
        "eager": through_torch(module),
        "TorchScript": through_torch(to_torchscript.traced(module, example)),
    }
    if compiled:
        mode = "reduce-overhead" if device == "cuda" else "default"
        ways["torch.compile"] = through_torch(torch.compile(module, mode=mode, dynamic=False))
    return ways


def _in_half(deployable: Any) -> Any:
    """The hardest baseline: half precision all through, in the layout of tensor cores."""
    import torch

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deployable = deployable
            self.net = deployable.net.half().to(memory_format=torch.channels_last)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            images = self.deployable.normalise(pixels).half()
            logits = self.net(images.contiguous(memory_format=torch.channels_last)).float()
            return torch.softmax(logits / self.deployable.temperature, dim=1)

    return Half().eval()


def _rates(
    ways: dict[str, Run], pixels: Pixels, size: int, precision: str, seconds: float
) -> dict[str, Any]:
    """Images a second of each engine: rounds in turns, medians."""
    batch = pixels[:size]
    for run in ways.values():
        for _ in range(3):
            run(batch)
    started = time.perf_counter()
    for run in ways.values():
        run(batch)
    once = (time.perf_counter() - started) / len(ways)
    rounds = 7
    each = max(1, int(seconds / rounds / max(once, 1e-6)))

    def repeated(run: Run) -> Callable[[], None]:
        def many() -> None:
            for _ in range(each):
                run(batch)

        return many

    found = timing.alternate({name: repeated(run) for name, run in ways.items()}, rounds)
    medians = timing.medians(found)
    rates = {name: each * size / median for name, median in medians.items()}
    return {"precision": precision, "batch": size, "images_per_second": rates}


def _whole_runs(model: Path, data: Path, folder: Path, device: str, count: int) -> dict[str, Any]:
    """Files and a pack to rows, on threads and workers, beside the session and decoding alone."""
    faces = folder / "faces"
    links.link(data, faces, count, in_each=1000)
    session = Session.open(model, provider=device)
    packed = folder / "faces.ferpack"
    started = time.perf_counter()
    pack([faces], packed, session.spec.input)
    decoding = count / (time.perf_counter() - started)
    size = min(1024, count)
    pixels = np.zeros((size, *session.spec.input.shape), np.uint8)
    session.run(pixels)
    started = time.perf_counter()
    for _ in range(rounds := max(1, count // size)):
        session.run(pixels)
    alone = rounds * size / (time.perf_counter() - started)
    rates: dict[str, float] = {}
    cores = usable_threads()
    for name, source, workers in (
        ("files, threads", faces, 0), ("files, workers", faces, cores), ("a pack", packed, 0),
    ):  # fmt: skip
        result = infer(
            source, folder / "rows.csv", model=model, provider=device, batch_size=size,
            workers=workers, overwrite=True,
        )  # fmt: skip
        rates[name] = result.images_per_second
    least = min(decoding, alone)
    return {
        "images": count,
        "batch": size,
        "session_images_per_second": alone,
        "decoding_images_per_second": decoding,
        "images_per_second": rates,
        "share": {
            name: rate / (alone if name == "a pack" else least) for name, rate in rates.items()
        },
    }


def as_page(found: dict[str, Any]) -> str:
    """The figures as a page."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"# {machine['device']}",
        "",
        f"{machine['cpu']}; CUDA {machine['driver_cuda'] or 'none'}; {versions}; "
        f"{machine['date']}. By `sh benchmarks/gpu.sh`.",
        "",
        "| against the CPU | images | largest difference (σ) | same top-1 |",
        "|---|---:|---:|---:|",
    ]
    for precision, each in found["parity"].items():
        lines.append(
            f"| {precision} | {each['images']:,} | {each['difference']:.1e} | "
            f"{each['agreement']:.2%} |"
        )
    names = list(found["session"][0]["images_per_second"])
    lines += [
        "",
        f"| images/s | batch | {' | '.join(names)} |",
        f"|---|{'---:|' * (len(names) + 1)}",
    ]
    for each in found["session"]:
        rates = " | ".join(f"{each['images_per_second'][name]:,.0f}" for name in names)
        lines.append(f"| {each['precision']} | {each['batch']} | {rates} |")
    runs = found["runs"]
    lines += [
        "",
        f"{runs['images']:,} images in batches of {runs['batch']}: the session alone "
        f"{runs['session_images_per_second']:,.0f} images/s, decoding alone "
        f"{runs['decoding_images_per_second']:,.0f}.",
        "",
        "| to rows from | images/s | share of what limits it |",
        "|---|---:|---:|",
    ]
    for name, rate in runs["images_per_second"].items():
        lines.append(f"| {name} | {rate:,.0f} | {runs['share'][name]:.2f} |")
    return "\n".join(lines) + "\n"
