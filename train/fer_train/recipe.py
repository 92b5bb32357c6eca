"""Every choice of a training run except its data, in one frozen value.

The command line, `fer-train compare --vary`, the resume check and a checkpoint's provenance are all
made from these fields, so a new choice is a new field here and the code that reads it. No torch
here: `fer-train --help` should answer at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from fer_runtime.cli.options import choices_of, option
from fer_runtime.errors import DataError
from fer_train.augment import Augmentation
from fer_train.augment.table import PRESETS, strengths
from fer_train.losses.table import LOSSES
from fer_train.nets.table import ACTIVATIONS, ARCHITECTURES
from fer_train.optimizers import OPTIMIZERS
from fer_train.samplers import SAMPLERS
from fer_train.schedulers import SCHEDULERS

Class = TypeVar("Class", bound=type)

SPLITS = ("train", "validation", "test")
NET_ARGUMENTS = ("width", "depth", "batch_norm", "activation", "squeeze", "drop_path", "dropout")

MONITORS = {
    "val_loss": "min",
    "val_accuracy": "max",
    "val_macro_f1": "max",
    "val_macro_recall": "max",
}
"""Metrics that can choose the best checkpoint -> whether less or more is better."""

DATA = "Data"
MODEL = "Model"
OPTIMISATION = "Batches and optimisation"
AUGMENTATION = "Augmentation (training batches only)"
LOSS = "Loss"
RUN = "Run and choice of the best epoch"


def _with_strengths(cls: Class) -> Class:
    """Add a field for each strength in the table of augmentations, after `augment`."""
    kinds: dict[str, Any] = {}
    for name, kind in cls.__annotations__.items():
        kinds[name] = kind
        if name == "augment":
            for added, each in strengths().items():
                kinds[added] = f"{type(each.off).__name__} | None"
                setattr(cls, added, option(None, each.help, panel=AUGMENTATION))
    cls.__annotations__ = kinds
    return cls


@dataclass(frozen=True, kw_only=True)
@_with_strengths
class Recipe:
    """Every choice of a run; `fer-train fit --help` explains each field as the option of its name.

        Recipe(architecture="resnet18", epochs=10, augment="strong", mixup=0.4)

    With the same data and number of threads, equal recipes give equal weights on a CPU. It is
    immutable, so threads may share it.

    Raises:
        DataError: a name or a number that is not allowed.
    """

    split: str = option(
        "",
        "For a data set without a validation split: 0.8 of its images for training, or 0.7,0.2,0.1 "
        "with a test split. Default: the data set's own, else 0.8.",
        panel=DATA,
    )
    stratify: bool = option(
        True, "Cut each class in these shares, or all images at once.", panel=DATA
    )
    split_seed: int = option(0, "Seed of the made split; --seed does not change it.", panel=DATA)
    split_file: str = option("", "Use the split.csv that an earlier run saved.", panel=DATA)
    image_size: int = option(48, "Side of the input in pixels.", panel=DATA, above=7)
    channels: int = option(1, "1 (grey) or 3 (RGB).", panel=DATA, above=0)
    mean: str = option(
        "", "Per channel on the 0-1 scale, as 0.5,0.5,0.5; default: measured.", panel=DATA
    )
    std: str = option("", "Per channel on the 0-1 scale; default: measured.", panel=DATA)
    skip_unreadable: bool = option(False, "Skip unreadable images instead of stopping.", panel=DATA)
    skip_duplicates: bool = option(
        False, "Train without images whose content is in validation or test too.", panel=DATA
    )
    label_probabilities: str = option(
        "", "The labels.csv of `fer-train labels`, which says how probable each label is.",
        panel=DATA,
    )  # fmt: skip
    min_label_probability: float = option(
        0.05, "Train without images whose label is less probable in that file.", panel=DATA
    )
    architecture: str = option(
        "compact_cnn",
        f"Model: {', '.join(ARCHITECTURES)}, a torchvision name such as resnet18, timm:NAME "
        """(--net-args '{"upscale": 96}' enlarges its images), or your own """
        "package.module:factory.",
        panel=MODEL,
    )
    width: int | None = option(None, "simple_cnn: channels of the first convolution.", panel=MODEL)
    depth: int | None = option(
        None, "simple_cnn: convolutions, each followed by pooling.", panel=MODEL
    )
    batch_norm: bool | None = option(None, "simple_cnn: with or without BatchNorm.", panel=MODEL)
    activation: str | None = option(
        None, "simple_cnn: activation.", choices=lambda: tuple(ACTIVATIONS), panel=MODEL
    )
    squeeze: int | None = option(
        None, "compact_cnn: squeeze-and-excitation with so many times fewer channels; 0 is off.",
        panel=MODEL,
    )  # fmt: skip
    drop_path: float | None = option(
        None, "compact_cnn: share of images that skip the last block in training; fewer earlier.",
        panel=MODEL,
    )  # fmt: skip
    dropout: float | None = option(
        None, "Share of features dropped before the last layer.", panel=MODEL
    )
    net_args: str = option("{}", "More arguments of the model, as JSON.", panel=MODEL)
    weights: str = option(
        "", "Start from the weights of this checkpoint, of the same model.", panel=MODEL
    )
    pretrained: bool = option(
        False, "Start from torchvision's weights (downloaded, or cached).", panel=MODEL
    )
    freeze_until: str = option(
        "", "Train only this child of the model and those after it (layer4).", panel=MODEL
    )
    init: str = option(
        "default", "Weights: default, kaiming, or normal:STD with zero biases.", panel=MODEL
    )
    epochs: int = option(20, "Passes over the training split.", panel=OPTIMISATION, above=0)
    batch_size: int = option(64, "Images per step.", panel=OPTIMISATION, above=1)
    sampler: str = option(
        "shuffle",
        "Batches: any order, in the set's class proportions, or classes equally often.",
        choices=lambda: tuple(SAMPLERS),
        panel=OPTIMISATION,
    )
    optimizer: str = option(
        "sgd", "Optimizer.", choices=lambda: tuple(OPTIMIZERS), panel=OPTIMISATION
    )
    lr: float = option(
        0.05, "Highest learning rate of the schedule (max_lr).", panel=OPTIMISATION, above=0
    )
    momentum: float = option(0.9, "Of sgd and sam (Nesterov).", panel=OPTIMISATION)
    sam_distance: float = option(
        0.05, "sam: how far around the weights it looks for a higher loss.",
        panel=OPTIMISATION, above=0,
    )  # fmt: skip
    weight_decay: float = option(
        5e-4, "Weight decay; norms and biases are spared.", panel=OPTIMISATION
    )
    decay_all: bool = option(False, "Decay norms and biases too.", panel=OPTIMISATION)
    scheduler: str = option(
        "onecycle",
        "Schedule of the learning rate.",
        choices=lambda: tuple(SCHEDULERS),
        panel=OPTIMISATION,
    )
    step_size: int = option(
        10, "step: epochs per step; plateau: epochs of patience.", panel=OPTIMISATION, above=0
    )
    gamma: float = option(0.1, "Factor of step and plateau.", panel=OPTIMISATION, above=0)
    augment: str = option(
        "light",
        "Preset; each strength given below replaces the preset's.",
        choices=lambda: tuple(PRESETS),
        panel=AUGMENTATION,
    )
    loss: str = option("cross_entropy", "Loss.", choices=lambda: tuple(LOSSES), panel=LOSS)
    loss_args: str = option(
        "{}", """The loss's own arguments, as JSON: focal takes '{"gamma": 2}'.""", panel=LOSS
    )
    label_smoothing: float = option(0.0, "Share of the target spread over all classes.", panel=LOSS)
    class_weights: str = option(
        "none",
        "Weight of each class in the loss: none, or balanced (n / (classes * count)).",
        choices=("none", "balanced"),
        panel=LOSS,
    )
    teacher: str = option(
        "",
        "Distil: follow the outputs of this checkpoint too (a.pt,b.pt: their mean).",
        panel=LOSS,
    )
    teacher_logits: str = option(
        "",
        "Distil: follow stored logits of each training image too (.npz with names and logits).",
        panel=LOSS,
    )
    distillation: float = option(
        0.7, "Weight of the teacher's outputs against the labels'.", panel=LOSS
    )
    teacher_epochs: int = option(
        0,
        "Distil: ask the teachers in so many epochs only; from then on these epochs' batches and "
        "their answers are repeated. 0: always ask.",
        panel=LOSS,
        above=-1,
    )
    distillation_temperature: float = option(2.0, "Softens both outputs.", panel=LOSS, above=0)
    ema: float = option(
        0.0, "Decay of averaged weights, which are then validated; 0 is off.", panel=RUN
    )
    gradient_clip: float = option(1.0, "Largest gradient norm; 0 is off.", panel=RUN)
    patience: int = option(
        0, "Stop after so many epochs without a better value; 0 never.", panel=RUN
    )
    monitor: str = option(
        "val_macro_f1", "What chooses best.pt.", choices=tuple(MONITORS), panel=RUN
    )
    precision: str = option(
        "32",
        "Arithmetic of training; validation is always fp32.",
        choices=("32", "bf16-mixed", "16-mixed"),
        panel=RUN,
    )
    fit_temperature: bool = option(
        False,
        "Calibrate the probabilities on validation; the temperature is written into the spec.",
        panel=RUN,
    )
    collapse_epochs: int = option(
        2,
        "Stop after so many epochs in which the model predicts one class only; 0 never.",
        panel=RUN,
    )
    seed: int = option(
        0,
        "Of weights, order, augmentation and dropout; on a CPU the same seed and --threads give "
        "the same weights.",
        panel=RUN,
    )

    if TYPE_CHECKING:

        def __init__(self, **choices: Any) -> None:
            """Type checkers do not know the fields that the table of augmentations adds."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, above = getattr(self, entry.name), entry.metadata.get("above")
            choices = choices_of(entry)
            if choices and value is not None and value not in choices:
                raise DataError(f"{entry.name} is {value!r}; allowed: {', '.join(choices)}.")
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{entry.name} is {value}; it must be a number.")
            if above is not None and not value > above:
                raise DataError(f"{entry.name} is {value}; it must be above {above}.")
        if not 0 <= self.distillation <= 1:
            raise DataError(f"distillation is {self.distillation}; it must be from 0 to 1.")
        if not 0 <= self.ema < 1:
            raise DataError(f"ema is {self.ema}; it must be from 0 to below 1.")
        if self.optimizer == "sam" and self.precision == "16-mixed":
            raise DataError("sam takes two gradients a step; pass --precision 32 or bf16-mixed.")
        if self.split and self.split_file:
            raise DataError("--split makes a split and --split-file reads one; give one of them.")
        for name in ("mean", "std"):
            self.numbers(name)
        self.architecture_args()
        self.loss_arguments()

    def numbers(self, name: str) -> tuple[float, ...]:
        """`mean` or `std` as numbers, () where it is to be measured."""
        text = getattr(self, name)
        try:
            return tuple(map(float, text.replace("/", ",").split(","))) if text else ()
        except ValueError:
            raise DataError(
                f"{name} is {text!r}; give one number per channel, as 0.5 or 0.5,0.5,0.5."
            ) from None

    @property
    def augmentation(self) -> Augmentation:
        """The preset with the strengths that were given one by one."""
        given = {name: getattr(self, name, None) for name in strengths()}
        chosen = {name: value for name, value in given.items() if value is not None}
        return Augmentation(**{**PRESETS[self.augment], **chosen})

    def architecture_args(self) -> dict[str, Any]:
        """The model's own arguments: those given as options, and `net_args`."""
        given = {name: getattr(self, name) for name in NET_ARGUMENTS}
        more = self._arguments("net_args", '{"dropout": 0.3}')
        return {**{k: v for k, v in given.items() if v is not None}, **more}

    def loss_arguments(self) -> dict[str, Any]:
        """The loss's own arguments."""
        return self._arguments("loss_args", '{"gamma": 2}')

    def _arguments(self, name: str, example: str) -> dict[str, Any]:
        try:
            values = json.loads(getattr(self, name))
        except json.JSONDecodeError as error:
            raise DataError(f"{name} is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"{name} must be a JSON object, as in '{example}'.")
        return values

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
