"""Every choice of a training run except its data, in one frozen value.

The command line, `fer-train compare --vary`, the resume check and a checkpoint's provenance are all
made from these fields, so a new choice is a new field here and the code that reads it. No torch
here: `fer-train --help` should answer at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, get_type_hints

from fer_runtime.errors import DataError

if TYPE_CHECKING:
    from fer_train.augment import Augmentation

NET_ARGUMENTS = ("width", "depth", "batch_norm", "activation", "dropout")
AUGMENTATIONS = ("shift", "scale", "rotate", "flip", "jitter", "erase", "mixup")

PRESETS: Mapping[str, Mapping[str, float | bool]] = {
    "none": {},
    "light": {"shift": 0.06, "scale": 0.06, "rotate": 5, "flip": True},
    "standard": {"shift": 0.1, "scale": 0.1, "rotate": 12, "flip": True, "jitter": 0.2},
    "strong": {
        "shift": 0.1, "scale": 0.15, "rotate": 15, "flip": True, "jitter": 0.3,
        "erase": 0.3, "mixup": 0.2,
    },
}  # fmt: skip
"""Name of a preset -> strengths of `augment.Augmentation`."""

MONITORS = {
    "val_loss": "min",
    "val_accuracy": "max",
    "val_macro_f1": "max",
    "val_macro_recall": "max",
}
"""Metrics that can choose the best checkpoint -> whether less or more is better."""


PANELS = {
    "split": "Data",
    "architecture": "Net",
    "epochs": "Batches and optimisation",
    "augment": "Augmentation (training batches only)",
    "label_smoothing": "Loss",
    "ema": "Run and choice of the best epoch",
}
"""First field of each group in the help -> the group's title."""


def _choice(
    default: Any, text: str, choices: tuple[str, ...] = (), above: float | None = None
) -> Any:
    """A field with its help text, its allowed names, and the bound that a number must exceed."""
    if choices:
        text += f" One of {', '.join(choices)}."
    return field(default=default, metadata={"help": text, "choices": choices, "above": above})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """With its seed it determines the weights of a run on a CPU with a given number of threads.

    Raises:
        DataError: a name or a number that is not allowed.
    """

    split: str = _choice(
        "",
        "Where the data set has no validation split: 0.8 of its images for training, or "
        "0.7,0.2,0.1 with a test split. Default: the data set's own, else 0.8.",
    )
    stratify: bool = _choice(True, "Cut each class in these shares, or all images at once.")
    split_seed: int = _choice(0, "Of the made split; --seed leaves it as it is.")
    split_file: str = _choice("", "Use the split.csv that an earlier run saved.")
    image_size: int = _choice(48, "Side of the input in pixels.", above=7)
    channels: int = _choice(1, "1 (grey) or 3 (RGB).", above=0)
    mean: str = _choice("", "Per channel on the 0-1 scale, as 0.5,0.5,0.5; default: measured.")
    std: str = _choice("", "Per channel on the 0-1 scale; default: measured.")
    skip_unreadable: bool = _choice(False, "Leave unreadable images out instead of stopping.")
    architecture: str = _choice(
        "compact_cnn",
        "Net: compact_cnn, simple_cnn, a torchvision name such as resnet18, timm:NAME (which "
        """--net-args '{"upscale": 96}' shows larger images), or your own """
        "package.module:factory.",
    )
    width: int | None = _choice(None, "simple_cnn: channels of the first convolution.")
    depth: int | None = _choice(None, "simple_cnn: convolutions, each followed by pooling.")
    batch_norm: bool | None = _choice(None, "simple_cnn: with or without BatchNorm.")
    activation: str | None = _choice(
        None,
        "simple_cnn: activation.",
        ("relu", "leaky_relu", "tanh", "sigmoid", "softmax"),
    )
    dropout: float | None = _choice(None, "Share of features dropped before the last layer.")
    net_args: str = _choice("{}", "More arguments of the net, as JSON.")
    weights: str = _choice("", "Start from the weights of this checkpoint, of the same net.")
    pretrained: bool = _choice(False, "Start from torchvision's weights (downloaded, or cached).")
    freeze_until: str = _choice("", "Train only this child of the net and those after it (layer4).")
    init: str = _choice("default", "Weights: default, kaiming, or normal:STD with zero biases.")
    epochs: int = _choice(20, "Passes over the training split.", above=0)
    batch_size: int = _choice(64, "Images per step.", above=1)
    sampler: str = _choice(
        "shuffle",
        "Batches: any order, in the set's class proportions, or classes equally often.",
        ("shuffle", "stratified", "balanced"),
    )
    optimizer: str = _choice("sgd", "Optimizer.", ("sgd", "adam", "adamw"))
    lr: float = _choice(0.05, "Highest learning rate of the schedule (max_lr).", above=0)
    momentum: float = _choice(0.9, "Of sgd (Nesterov).")
    weight_decay: float = _choice(5e-4, "Weight decay; norms and biases are spared.")
    decay_all: bool = _choice(False, "Decay norms and biases too.")
    scheduler: str = _choice(
        "onecycle",
        "Schedule of the learning rate.",
        ("none", "step", "onecycle", "cosine", "plateau"),
    )
    step_size: int = _choice(10, "step: epochs per step; plateau: epochs of patience.", above=0)
    gamma: float = _choice(0.1, "Factor of step and plateau.", above=0)
    augment: str = _choice("light", "Augmentation of training batches.", tuple(PRESETS))
    shift: float | None = _choice(None, "Fraction of the side; replaces the preset's.")
    scale: float | None = _choice(None, "Relative change of size; replaces the preset's.")
    rotate: float | None = _choice(None, "Degrees; replaces the preset's.")
    flip: bool | None = _choice(None, "Mirror half of the images; replaces the preset's.")
    jitter: float | None = _choice(None, "Contrast and brightness; replaces the preset's.")
    erase: float | None = _choice(None, "Probability of random erasing; replaces the preset's.")
    mixup: float | None = _choice(None, "Alpha of mixup; replaces the preset's.")
    label_smoothing: float = _choice(0.0, "Share of the target spread over all classes.")
    class_weights: str = _choice(
        "none", "Weight of each class in the loss: none, or balanced (n / (classes * count)).",
        ("none", "balanced"),
    )  # fmt: skip
    teacher: str = _choice(
        "", "Distil: follow the outputs of this checkpoint too (a.pt,b.pt: their mean)."
    )
    distillation: float = _choice(0.7, "Weight of the teacher's outputs against the labels'.")
    teacher_epochs: int = _choice(
        0,
        "Distil: ask the teachers in so many epochs only; from then on these epochs' batches and "
        "their answers come again. 0: always ask.",
        above=-1,
    )
    distillation_temperature: float = _choice(2.0, "Softens both outputs.", above=0)
    ema: float = _choice(0.0, "Decay of averaged weights, which are then validated; 0 is off.")
    gradient_clip: float = _choice(1.0, "Largest gradient norm; 0 is off.")
    patience: int = _choice(0, "Stop after so many epochs without a better value; 0 never.")
    monitor: str = _choice("val_macro_f1", "What chooses best.pt.", tuple(MONITORS))
    precision: str = _choice(
        "32", "Arithmetic of training; validation is always fp32.", ("32", "bf16-mixed", "16-mixed")
    )
    fit_temperature: bool = _choice(
        False, "Calibrate the probabilities on validation; the temperature goes into the spec."
    )
    collapse_epochs: int = _choice(
        2, "Stop after so many epochs in which the net predicts one class only; 0 never."
    )
    seed: int = _choice(
        0,
        "Of weights, order, augmentation and dropout; on a CPU the same seed and --threads give "
        "the same weights.",
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices, above = (
                getattr(self, entry.name), entry.metadata["choices"], entry.metadata["above"],
            )  # fmt: skip
            if choices and value is not None and value not in choices:
                raise DataError(f"{entry.name} is {value!r}; allowed: {', '.join(choices)}.")
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{entry.name} is {value}; it must be a number.")
            if above is not None and not value > above:
                raise DataError(f"{entry.name} is {value}; it must be above {above}.")
        if not 0 <= self.distillation <= 1:
            raise DataError(f"distillation is {self.distillation}; it must be from 0 to 1.")
        if self.split and self.split_file:
            raise DataError("--split makes a split and --split-file reads one; give one of them.")
        for name in ("mean", "std"):
            self.numbers(name)
        self.architecture_args()

    def numbers(self, name: str) -> tuple[float, ...]:
        """`mean` or `std` as numbers, () where it is to be measured."""
        text = getattr(self, name)
        try:
            return tuple(map(float, text.replace("/", ",").split(","))) if text else ()
        except ValueError:
            raise DataError(
                f"{name} is {text!r}; say one number per channel, as 0.5 or 0.5,0.5,0.5."
            ) from None

    @property
    def augmentation(self) -> Augmentation:
        """The preset with the strengths that were given one by one."""
        from fer_train.augment import Augmentation

        given = {name: getattr(self, name) for name in AUGMENTATIONS}
        strengths: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        return Augmentation(**{**PRESETS[self.augment], **strengths})

    def architecture_args(self) -> dict[str, Any]:
        """The net's own arguments: those given as options, and `net_args`."""
        try:
            more = json.loads(self.net_args)
        except json.JSONDecodeError as error:
            raise DataError(f"net_args is not JSON: {error}") from None
        if not isinstance(more, dict):
            raise DataError("net_args must be a JSON object, as in '{\"dropout\": 0.3}'.")
        given = {name: getattr(self, name) for name in NET_ARGUMENTS}
        return {**{k: v for k, v in given.items() if v is not None}, **more}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a spec's provenance and for comparing two runs."""
        return asdict(self)

    @classmethod
    def parse(cls, name: str, text: str) -> Any:
        """The value that `text` stands for in a field, by the field's type.

        Raises:
            DataError: no such field, or a text that is not of its type.
        """
        types = get_type_hints(cls)
        if name not in types:
            raise DataError(f"The recipe has no {name!r}; it has {', '.join(types)}.")
        kind = types[name]
        kinds = [k for k in getattr(kind, "__args__", (kind,)) if k is not type(None)]
        try:
            return _PARSERS[kinds[0]](text)
        except (ValueError, KeyError):
            raise DataError(f"{name} is {text!r}; it must be a {kinds[0].__name__}.") from None


_BOOLEANS: Mapping[str, bool] = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_PARSERS: Mapping[Any, Any] = {
    int: int,
    float: float,
    str: str,
    bool: lambda text: _BOOLEANS[text.lower()],
}
