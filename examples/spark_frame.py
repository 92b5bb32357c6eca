"""A Spark frame of paths gets columns of predictions: `python examples/spark_frame.py *.jpg`.

It needs pyspark and Java, and the paths must be reachable from every executor.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import SparkSession

from fer_runtime.cluster import BatchClassifier

PHOTO = Path(__file__).parent.parent / "tests" / "data" / "astronaut_face.jpg"


def main(paths: list[str]) -> None:
    """Print a row per picture; each executor opens the model once."""
    classify = BatchClassifier("image", model="compact_cnn", provider="cpu")
    kinds = {name: "string" if name in ("label", "error") else "float" for name in classify.columns}
    schema = ", ".join(f"`{name}` {kind}" for name, kind in {"image": "string", **kinds}.items())
    spark = SparkSession.builder.appName("fer-runtime").getOrCreate()
    frame = spark.createDataFrame([(path,) for path in paths or [str(PHOTO)]], "image string")
    frame.mapInPandas(classify.map_in_pandas, schema).show(truncate=False)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
