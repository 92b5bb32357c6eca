"""Weights of any kind: read from a file, found in a checkpoint, and matched to a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_runtime.errors import ModelFileError
from fer_train import archives

SHOWN = 3
PREFERRED = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
"""Which entry is taken where several are state dicts: the first of these."""
FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What Hugging Face's libraries write beside a config.json."""


def read(path: Path, trust_pickle: bool = False) -> Any:
    """The content of a weights file: of `torch.save`, or tensors by name of a `.safetensors` file.

    Raises:
        ModelFileError: a file that cannot be used, or a folder.
    """
    if path.is_dir():
        raise ModelFileError(_folder(path))
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ModelFileError(f"{path} does not exist, or is not a file.")
        return _read_safetensors(path)
    return archives.read(
        path,
        trust_pickle=trust_pickle,
        advice=". If you trust the file, pass --trust-pickle.",
    )


def _folder(path: Path) -> str:
    config, weights = path / "config.json", [n for n in FOLDER_WEIGHTS if (path / n).is_file()]
    if not config.is_file() or not weights:
        return f"{path} is a folder; pass a file with weights."
    try:
        names = json.loads(config.read_text(encoding="utf-8"))["architectures"]
        kind = f" of {names[0]}"
    except (OSError, ValueError, LookupError, TypeError):
        kind = ""
    return (
        f"{path} is a Hugging Face folder with the weights{kind}. Pass the weights file and a "
        f"function that builds the model: fer-export onnx {path / weights[0]} --architecture "
        "package.module:factory --labels labels.txt --image-size 224 --channels 3 --mean ... "
        "--std ... (preprocessor_config.json has the last ones). fer-export calls "
        "factory(InputSpec, classes, **net_args) -> nn.Module; with transformers it can return "
        f"AutoModelForImageClassification.from_config(AutoConfig.from_pretrained('{path}'))."
    )


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise ModelFileError(
            f"{path} requires the package safetensors, which is not installed: pip install "
            "safetensors."
        ) from None
    try:
        found: Mapping[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read as safetensors: {error}") from None
    return found


def state_dict_of(
    content: Any, path: Path, key: str | None = None, say: Callable[[str], None] = lambda _: None
) -> Mapping[str, torch.Tensor]:
    """The tensors by name: the content itself, or one entry of it.

    Args:
        content: what `read` returned.
        path: for messages.
        key: the entry to take. None: the only one that is a state dict, or the first of
            `PREFERRED` where several are.
        say: called with the entry that was chosen.

    Raises:
        ModelFileError: no state dict, no such entry, or several and none of `PREFERRED`.
    """
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path} contains a {type(content).__name__}, not a state dict.")
    if key is None and _is_state_dict(content):
        return _tensors(content)
    candidates = [name for name, value in content.items() if _is_state_dict(value)]
    candidates += [
        name
        for name in PREFERRED
        if name not in candidates
        and isinstance(content.get(name), Mapping)
        and _tensors(content[name])
    ]
    if key is not None:
        if key not in candidates:
            raise ModelFileError(_no_such_entry(content, path, key, candidates))
        chosen = key
    elif not candidates:
        raise ModelFileError(
            f"{path} contains no state dict; its keys: {', '.join(map(str, list(content)[:5]))}. "
            "A state dict maps names to tensors, at the top or in one entry."
        )
    else:
        preferred = [name for name in PREFERRED if name in candidates]
        if len(candidates) > 1 and not preferred:
            raise ModelFileError(
                f"{path} contains several state dicts ({', '.join(map(str, candidates))}); choose "
                "one with --state-key."
            )
        chosen = preferred[0] if preferred else candidates[0]
    others = [str(name) for name in candidates if name != chosen]
    instead = f"; --state-key chooses another ({', '.join(others)})" if others else ""
    say(f"taking the weights from the entry {str(chosen)!r} of {path.name}{instead}")
    return _tensors(content[chosen])


def _is_state_dict(value: Any) -> bool:
    """Names -> tensors, at least one of them with an axis: not a dict of metrics or settings."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and all(isinstance(entry, torch.Tensor) for entry in value.values())
        and any(entry.ndim for entry in value.values())
    )


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in mapping.items() if isinstance(value, torch.Tensor)}


def _no_such_entry(
    content: Mapping[Any, Any], path: Path, key: str, candidates: Sequence[str]
) -> str:
    if key in content:
        what = f"--state-key {key}: that entry of {path} is not a state dict"
    else:
        what = f"--state-key {key}: {path} has no such entry"
    choice = ", ".join(map(str, candidates)) or "none"
    return f"{what}; entries that are: {choice}."


def fill(
    net: nn.Module, weights: Mapping[str, torch.Tensor], path: Path, architecture: str
) -> None:
    """Load weights into a model; keys may have a prefix (`module.`, `model.` …) or auxiliary heads.

    Raises:
        ModelFileError: they do not fit; the message names the likeliest cause.
    """
    expected = net.state_dict()
    prefix = _prefix(list(weights), list(expected))
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    own = {k: v for k, v in own.items() if k in expected or not _auxiliary(k)}
    missing = [k for k in expected if k not in own and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in own if k not in expected] if not prefix else []
    shapes = [
        (k, tuple(own[k].shape), tuple(v.shape))
        for k, v in expected.items()
        if k in own and own[k].shape != v.shape
    ]
    if missing or unexpected or shapes:
        raise ModelFileError(_mismatch(path, architecture, expected, missing, unexpected, shapes))
    # Into the model's own state dict: it contains the versions that some modules load by.
    expected.update({k: v for k, v in own.items() if k in expected})
    net.load_state_dict(expected)


def _prefix(keys: Sequence[str], expected: Sequence[str]) -> str:
    """What precedes the model's own names in most keys: "", "module.", "model.net." …"""
    wanted = set(expected)
    candidates = {""} | {
        key[: -len(name)] for name in expected[:1] for key in keys if key.endswith(name)
    }
    return max(
        sorted(candidates),
        key=lambda p: sum(k.removeprefix(p) in wanted for k in keys if k.startswith(p)),
    )


def _auxiliary(key: str) -> bool:
    """Heads that torchvision's GoogLeNet and Inception have for training only."""
    return key.startswith(("aux1.", "aux2.", "AuxLogits."))


def _mismatch(
    path: Path,
    architecture: str,
    expected: Mapping[str, torch.Tensor],
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    """What does not fit, the first few of each kind, and the likeliest cause."""
    lines = [f"The weights in {path} do not fit {architecture}:"]
    for title, names in (("missing", missing), ("not part of the model", unexpected)):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"  {title}: {', '.join(names[:SHOWN])}{more}")
    for name, found, wanted in shapes[:SHOWN]:
        lines.append(f"  {name} is {found} in the file, {wanted} in the model")
    lines.append(_cause(expected, missing, shapes))
    return "\n".join(lines)


def _cause(
    expected: Mapping[str, torch.Tensor],
    missing: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    first = next(iter(expected))
    last = [name for name in expected if name.endswith(".weight")][-1:]
    for name, found, wanted in shapes:
        if name == first and len(found) == 4 and found[1] != wanted[1]:
            return f"The file's first layer takes {found[1]} channels: pass --channels {found[1]}."
        if name in last and found[1:] == wanted[1:]:
            return (
                f"The file's head has {found[0]} classes, and {wanted[0]} labels were given; "
                "--labels must name every class, in the order of the logits."
            )
    if len(missing) > len(expected) / 2:
        return "Most names do not fit: the weights are probably those of another architecture."
    return "It is probably a variant of the architecture; --net-args passes it arguments, as JSON."
