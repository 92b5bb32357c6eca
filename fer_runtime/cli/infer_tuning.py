"""`fer-infer --tune`, and the use of what it found."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from fer_runtime.cli.console import say
from fer_runtime.errors import DataError
from fer_runtime.user_cache import TUNED, user_folder

if TYPE_CHECKING:
    from fer_runtime.cli.infer_options import ModelOptions
    from fer_runtime.items import Item
    from fer_runtime.pipeline import Pipeline
    from fer_runtime.run import Run
    from fer_runtime.tuning.settings import Settings

IMAGES = 4096
"""Images that are tried with; more would not fit the time."""
READING = 3.0
"""Seconds after which no more images are looked at."""
SPEED = ("batch_size", "threads", "workers")


def speed_options(running: ModelOptions, *, faces: bool) -> dict[str, Any]:
    """Batch size, threads and workers of a run: as given, else as tuned, else the defaults."""
    given = {name: getattr(running, name) for name in SPEED}
    if running.tune:
        if any(value is not None for value in given.values()):
            raise typer.BadParameter(
                "it looks for --batch-size, --threads and --workers; omit them.",
                param_hint="--tune",
            )
    elif not running.no_tuned and None in given.values():
        found = _kept(running, faces=faces)
        if found is not None:
            tuned = {"batch_size": found.batch_size, "threads": found.threads}
            tuned |= {} if found.workers else {"workers": 0}
            used = {name: value for name, value in tuned.items() if given[name] is None}
            if used:
                say(f"tuned: {found}; --no-tuned for the defaults")
            given |= used
    from fer_runtime.run_options import BATCH_SIZE  # loads numpy, which has its place in a start

    return {**given, "batch_size": given["batch_size"] or BATCH_SIZE}


def _kept(running: ModelOptions, *, faces: bool) -> Settings | None:
    """What was tuned, if that differs from the defaults."""
    folder = user_folder()
    if folder is None or not (folder / TUNED).is_file():  # most runs end here
        return None
    from fer_runtime.errors import ModelFileError
    from fer_runtime.shipped import find_model
    from fer_runtime.tuning import kept
    from fer_runtime.tuning.settings import Settings

    try:
        found = kept.find(find_model(running.model), running.provider, faces=faces)
    except ModelFileError:  # the run says so
        return None
    return None if found == Settings.default() else found


def _readable(run: Run) -> list[Item]:
    """The first images that can be read; this also brings them into the system's cache."""
    found: list[Item] = []
    end = time.perf_counter() + READING
    items = islice(run.sources, IMAGES)
    while batch := list(islice(items, run.pipeline.items_at_once)):
        bad = {row.name for row in run.pipeline.classify(batch) if row.error is not None}
        found += [item for item in batch if item.name not in bad]
        if time.perf_counter() > end:
            break
    return found


def tune(run: Run, running: ModelOptions) -> NoReturn:
    """Find the fastest settings with the images of a run, keep them, and end."""
    from fer_runtime.tuning import kept
    from fer_runtime.tuning.search import search
    from fer_runtime.tuning.settings import Settings
    from fer_runtime.tuning.trials import Trials

    items = _readable(run)
    if not items:
        where = ", ".join(run.sources.sources)
        raise DataError(
            f"{where}: no image there that can be read, so there is nothing to tune with."
        )
    session = run.classifier.session
    say(f"model {session.path} on {session.provider_reason}")
    faces = run.faces is not None

    def pipeline_of(settings: Settings) -> Pipeline:
        from fer_runtime.pipeline import Pipeline

        return Pipeline(
            session, threads=settings.threads, batch_size=settings.batch_size, faces=run.faces,
            columns=run.columns, max_pixels=run.max_pixels,
        )  # fmt: skip

    sizes = (32, 128, 512, 1024, 2048, 4096) if not session.in_workers else (8, 16, 64, 128, 256)
    default = Settings.default()
    with Trials(pipeline_of, items) as trials:
        found = search(
            trials.rate, default, sizes[:3] if faces else sizes,
            processes=session.in_workers and default.threads > 1, say=say,
        )  # fmt: skip
    for settings, rate in sorted(found.rates.items(), key=lambda each: -each[1]):
        print(f"{rate:>10,.0f} images/s  {settings}")
    clear = f"{found.gain:.2f} times the defaults" if found.gain > 1 else "the defaults"
    print(f"best: {found.best} ({clear})")
    file = kept.keep(found.best, session.path, running.provider, faces=faces)
    say(f"kept in {file}" if file else "it could not be kept: no folder of the user can be written")
    raise typer.Exit
