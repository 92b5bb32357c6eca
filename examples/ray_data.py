"""A Ray Data pipeline with predictions: `python examples/ray_data.py *.jpg`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fer_runtime.cluster import BatchClassifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


def main(paths: list[str]) -> None:
    """Read, classify on one actor less than there are CPUs, and print a row per picture."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init("local", num_cpus=max(2, os.cpu_count() or 1), log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Where actors take every CPU, Ray Data waits for ever (ray#44687).
    actors = max(1, int(ray.cluster_resources()["CPU"]) - 1)
    pictures = ray.data.from_items([{"image": path} for path in paths or [str(PHOTO)]])
    found = pictures.map_batches(
        BatchClassifier, fn_constructor_args=["image"],
        fn_constructor_kwargs={"model": "compact_cnn", "provider": "cpu"}, batch_size=256,
        compute=ray.data.ActorPoolStrategy(size=actors), num_cpus=1,
    )  # fmt: skip
    for row in found.iter_rows():
        print(row["image"], row["error"] or f"{row['label']} {row['probability']:.3f}")
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
