"""What `fer-infer --tune` finds, against the defaults and an exhaustive sweep.

`fer-bench tuned IMAGES` tunes several times; each time the settings that it finds and
the defaults run in turns. Then every combination of settings runs, and what was found is compared
with the best of them.
"""

from __future__ import annotations

import statistics
import time
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from fer_runtime.pipeline import Pipeline
from fer_runtime.session import Session
from fer_runtime.shipped import find_model
from fer_runtime.sources import Files
from fer_runtime.tuning.search import search
from fer_runtime.tuning.settings import Settings
from fer_runtime.tuning.trials import Trials

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIZES = (8, 16, 64, 128, 256)


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Folder of images.")],
    model: Annotated[str, typer.Option(help="A model.")] = "compact_cnn.int8",
    runs: Annotated[int, typer.Option(help="Searches.", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="Rounds of each comparison.", min=3)] = 7,
    seconds: Annotated[float, typer.Option(help="Of each run in a comparison.")] = 1.0,
) -> None:
    """Tune, compare with the defaults, and sweep."""
    session = Session.open(find_model(model), provider="cpu", threads=1)
    items = list(Files([data]))[:4096]
    default = Settings.default()
    processes = default.threads > 1

    def pipeline_of(settings: Settings) -> Pipeline:
        return Pipeline(session, threads=settings.threads, batch_size=settings.batch_size)

    with Trials(pipeline_of, items) as trials:
        chosen = []
        for number in range(runs):
            started = time.perf_counter()
            found = search(trials.rate, default, SIZES, processes=processes)
            took = time.perf_counter() - started
            pairs = []
            for _ in range(rounds):
                rates = [trials.rate(each, seconds) for each in (found.best, default)]
                pairs.append(rates[0] / rates[1])
            chosen.append(found.best)
            ratio = f"{statistics.median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f})"
            print(f"search {number + 1}, {took:.1f} s: {found.best}; {ratio} times the defaults")
        sweep = [
            Settings(size, threads, workers)
            for size, threads, workers in product(
                sorted({*SIZES, default.batch_size}),
                sorted({max(1, default.threads // 2), default.threads}),
                (False, True) if processes else (False,),
            )
        ]
        swept: dict[Settings, list[float]] = {each: [] for each in sweep}
        for _ in range(rounds):
            for each in sweep:
                swept[each].append(trials.rate(each, seconds))
    medians = {each: statistics.median(rates) for each, rates in swept.items()}
    best = max(medians, key=lambda each: medians[each])
    print(f"sweep of {len(sweep)} settings: best {best}, {medians[best]:,.0f} images/s")
    for each in dict.fromkeys(chosen):
        print(f"  {each}: {medians[each] / medians[best]:.3f} of it")
