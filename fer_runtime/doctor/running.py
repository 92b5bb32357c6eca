"""Providers, devices, plugins, and whether the shipped models compute what they should."""

from __future__ import annotations

from collections.abc import Iterator

from fer_runtime import providers
from fer_runtime.doctor import golden
from fer_runtime.doctor.finding import NOTE, OK, PROBLEM, Finding
from fer_runtime.errors import FerError, ProviderError
from fer_runtime.providers import cuda, openvino, plugins
from fer_runtime.providers.table import FALLBACK
from fer_runtime.session import Session
from fer_runtime.shipped import NAMES, find_model

PROVIDER, MODEL = 4, 5
"""Exit statuses of problems."""


def wheels() -> Iterator[Finding]:
    """onnxruntime's wheel, and the plugins beside it."""
    installed = providers.installed_wheels()
    details = {"installed": installed}
    try:
        providers.check_wheels()
    except ProviderError as error:
        alone = not installed and not providers.PROVIDERS["openvino"].diagnose()
        state, status = (NOTE, 0) if alone else (PROBLEM, PROVIDER)
        yield Finding("providers", "onnxruntime", state, str(error), status, details)
        return
    import onnxruntime

    names = ", ".join(onnxruntime.get_available_providers())
    text = f"{' and '.join(installed) or 'onnxruntime'} {onnxruntime.__version__}; has {names}"
    yield Finding("providers", "onnxruntime", OK, text, details=details)
    ours = {entry.onnxruntime_name: name for name, entry in providers.PROVIDERS.items()}
    for plugin in plugins.installed():
        yield _plugin(plugin, ours)


def _plugin(plugin: plugins.Plugin, ours: dict[str, str]) -> Finding:
    try:
        names = plugin.names()
    except Exception as error:  # whatever a foreign module raises
        text = f"{plugin.version} is broken: {error}"
        return Finding("providers", plugin.wheel, PROBLEM, text, PROVIDER)
    used = [name for name in names if name in ours]
    if not used:
        text = f"{plugin.version} has {', '.join(names)}, which no provider here uses"
        return Finding("providers", plugin.wheel, NOTE, text)
    causes = plugins.register(used[0])
    text = "; ".join(map(str, causes or ())) or f"{plugin.version} loads, for {ours[used[0]]}"
    return Finding(
        "providers", plugin.wheel, PROBLEM if causes else OK, text, PROVIDER if causes else 0
    )


def table() -> Iterator[Finding]:
    """Every provider: whether it runs, or why not."""
    for name, entry in providers.PROVIDERS.items():
        causes = providers.why_not(entry)
        details = {"runs": not causes, "causes": [cause._asdict() for cause in causes]}
        if not causes:
            yield Finding("providers", name, OK, _what(name), details=details)
            continue
        # Something that nothing here points at is missing, not broken.
        expected = name == FALLBACK or (entry.automatic and entry.is_expected())
        if name == FALLBACK and not providers.installed_wheels():
            expected = bool(providers.PROVIDERS["openvino"].diagnose())
        state, status = (PROBLEM, PROVIDER) if expected else (NOTE, 0)
        text = "; ".join(map(str, causes))
        yield Finding("providers", name, state, f"does not run: {text}", status, details)


def _what(name: str) -> str:
    if name == "openvino":
        bf16 = "f32 or bf16" if "BF16" in openvino.capabilities() else "f32 (no bf16 on this CPU)"
        return f"runs: OpenVINO {openvino.version()} in {bf16}"
    if name == "cuda":
        return f"runs: {cuda.required_cuda()}, in f32 without TF32"
    return "runs"


def devices() -> Iterator[Finding]:
    """NVIDIA's driver and its devices."""
    newest = cuda.driver_cuda()
    if newest is None:
        yield Finding("devices", "nvidia driver", NOTE, "none is installed")
        return
    yield Finding("devices", "nvidia driver", OK, f"runs CUDA up to {newest}")
    found = cuda.devices()
    for number, device in enumerate(found):
        text = f"{device.name}, {device.memory:,} MiB"
        yield Finding("devices", f"gpu {number}", OK, text, details=device._asdict())
    if not found:
        text = "the driver finds none (is CUDA_VISIBLE_DEVICES set?)"
        yield Finding("devices", "gpu", PROBLEM, text, PROVIDER)


def models() -> Iterator[Finding]:
    """The model that is used by default, and the shipped ones, computed and compared."""
    running = [name for name, each in providers.PROVIDERS.items() if not providers.why_not(each)]
    if not running:
        return
    try:
        default = find_model()
        session = Session.open(default, provider=running[0], threads=1)
        text = f"{default}; {len(session.spec.labels)} labels, {session.spec.input.width} pixels"
        yield Finding("models", "default", OK, text)
    except FerError as error:
        yield Finding("models", "default", PROBLEM, str(error), MODEL)
    try:
        expected = golden.read()
    except (OSError, ValueError) as error:
        text = f"the installation is incomplete: {error}"
        yield Finding("models", "golden logits", PROBLEM, text, MODEL)
        return
    for name in NAMES:
        for provider in running:
            yield _compared(name, provider, expected[name])


def _compared(name: str, provider: str, expected: golden.Logits) -> Finding:
    label = f"{name} on {provider}"
    path = golden.FILE.with_name(f"{name}.onnx")
    try:
        found = golden.logits(Session.open(path, provider=provider, threads=1))
    except FerError as error:
        return Finding("models", label, PROBLEM, str(error), MODEL)
    except Exception as error:  # of a runtime that opened the model and then could not run it
        return Finding("models", label, PROBLEM, f"does not run: {error}", MODEL)
    worst = golden.difference(found, expected)
    fine = worst <= golden.TOLERANCE[name]
    text = f"logits as where it was made: largest difference {worst:.1e} standard deviations"
    if not fine:
        text = (
            f"computes something else than where it was made: logits differ by {worst:.2g} "
            f"standard deviations; {golden.TOLERANCE[name]:g} are allowed. Please report it"
        )
    return Finding(
        "models", label, OK if fine else PROBLEM, text, 0 if fine else MODEL,
        {"difference": worst},
    )  # fmt: skip
