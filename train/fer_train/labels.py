"""Which labels of a data set no model believes: predictions by models that never saw the image.

The images are dealt into folds; for each fold a model is trained on the others and asked about
this one. A label that is improbable there may be wrong, or the picture hard: look before leaving it
out. Source: Northcutt et al. 2021, "Confident Learning", which also counts from such predictions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_runtime.cli.console import say
from fer_train import checkpoint, evaluate, label_file, outputs, splits
from fer_train.callbacks import BEST, LAST
from fer_train.data import Split
from fer_train.fit import Prepared, run
from fer_train.recipe import Recipe
from fer_train.run_options import RunOptions

FOUND = "probabilities.npz"
"""What a finished fold leaves in its folder."""


@dataclass(frozen=True)
class OutOfFold:
    """`probabilities` (N, K) float32 of a split's images, each from the fold that did not see it.

    found = labels.out_of_fold(prepare(root, recipe), Path("labels"), recipe)
    print((found.of_label < 0.05).sum(), "labels that no model believes")
    """

    split: Split
    probabilities: npt.NDArray[np.float32]

    @property
    def of_label(self) -> npt.NDArray[np.float32]:
        """(N,) the probability of each image's own label."""
        chosen: npt.NDArray[np.float32] = np.take_along_axis(
            self.probabilities, self.split.targets.numpy()[:, None], 1
        )[:, 0]
        return chosen

    @property
    def evaluation(self) -> evaluate.Evaluation:
        """The same as an evaluation, for its figures and pictures."""
        return evaluate.Evaluation(
            "out of fold", self.split.labels, self.probabilities, self.split.targets.numpy()
        )


def out_of_fold(
    prepared: Prepared,
    output: Path,
    recipe: Recipe,
    options: RunOptions | None = None,
    *,
    folds: int = 5,
) -> OutOfFold:
    """Train a model for each fold, and write labels.csv and two pictures into `output`.

    Each run is in a folder of its own, `fold-1` and so on. With `options.resume` finished folds are
    kept and a begun one is continued.

    Args:
        prepared: the data; its training split is what is dealt into folds.
        output: the folder.
        recipe: of each run; `split_seed` deals the folds.
        options: how the runs are carried out.
        folds: how many.

    Raises:
        DataError: too few images, or a folder that contains runs already.
        TrainingError: a guard stopped a run.
    """
    options = options or RunOptions()
    pool = prepared.data.train
    places = {name: place for place, name in enumerate(pool.names)}
    whole = np.zeros((len(pool), len(pool.labels)), np.float32)
    for number, fold in enumerate(splits.folds(pool, folds, seed=recipe.split_seed), 1):
        if options.show:
            say(f"fold {number} of {folds}")
        found = _fold(replace(prepared, data=fold), output / f"fold-{number}", recipe, options)
        whole[[places[name] for name in fold.validation.names]] = found
    result = OutOfFold(pool, whole)
    label_file.write(output / label_file.FILE, _rows(result))
    outputs.draw(output, result.evaluation, pool)
    return result


THRESHOLDS = (0.01, 0.02, 0.05, 0.1)


def table(found: OutOfFold) -> list[tuple[str, ...]]:
    """A heading, and for each class: images, those that the models label so too, and how many
    labels are less probable than each of `THRESHOLDS`."""
    heading = ("label", "images", "agreement", *(f"below {least:g}" for least in THRESHOLDS))
    targets, rows = found.split.targets.numpy(), [heading]
    agree = found.probabilities.argmax(1) == targets
    for title, chosen in (
        *((label, targets == number) for number, label in enumerate(found.split.labels)),
        ("all", np.ones(len(targets), bool)),
    ):
        below = (f"{(found.of_label[chosen] < least).sum():,}" for least in THRESHOLDS)
        rows.append((title, f"{chosen.sum():,}", f"{agree[chosen].mean():.1%}", *below))
    return rows


def _fold(
    prepared: Prepared, output: Path, recipe: Recipe, options: RunOptions
) -> npt.NDArray[np.float32]:
    """(M, K) probabilities of the images that a fold holds out."""
    held_out, file = prepared.data.validation, output / FOUND
    if options.resume:
        with contextlib.suppress(OSError, ValueError, KeyError), np.load(file) as stored:
            if tuple(stored["names"].tolist()) == held_out.names:
                found: npt.NDArray[np.float32] = stored["probabilities"]
                return found
    begun = options.resume and (output / LAST).exists()
    result = run(prepared, output, recipe, replace(options, resume=begun))
    if result is None or result.interrupted:
        raise KeyboardInterrupt
    model = checkpoint.load(output / BEST, factory=recipe.architecture).deployable()
    _, probabilities = evaluate.predict(model, held_out.images)
    np.savez_compressed(file, names=np.array(held_out.names), probabilities=probabilities)
    return probabilities


def _rows(found: OutOfFold) -> Iterator[tuple[str, str, float, str, float]]:
    """One for each image, the least believed label first."""
    labels, targets = found.split.labels, found.split.targets.tolist()
    best = found.probabilities.argmax(1)
    for place in np.argsort(found.of_label, kind="stable").tolist():
        yield (
            found.split.names[place], labels[targets[place]], float(found.of_label[place]),
            labels[best[place]], float(found.probabilities[place].max()),
        )  # fmt: skip
