"""The options of `fer-infer`, in groups; `fer_runtime.cli.options` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_runtime.cli.options import option
from fer_runtime.sinks.table import SINKS

FACES, SOURCES = "Faces and videos", "Tables and archives"


@dataclass(eq=False, repr=False)  # each generated method costs a cold start
class OutputOptions:
    """Where rows go, and what is printed about them."""

    output: str | None = option(
        None, f"FILE ending in {', '.join(SINKS)}; - is CSV on stdout.", "--output", "-o"
    )
    as_json: bool = option(
        False, "JSON Lines on stdout (a file's format is its ending's).", "--json"
    )
    top_k: int = option(3, "Labels shown per image in text and JSON.", min=1)
    on_error: str = option(
        "row", "An unreadable image is a row with an error, or ends the run.",
        choices=("row", "fail"),
    )  # fmt: skip
    resume: bool = option(
        False, "Continue FILE.partial after a crash or Ctrl-C: same sources and options.",
        "--resume",
    )  # fmt: skip
    overwrite: bool = option(False, "Replace FILE if it exists.", "--overwrite")
    shard: str = option("1/1", "2/8: every 8th image from the 2nd on, for job arrays.")
    evaluate: bool = option(
        False, "The folders (or FER2013's column emotion) are the true labels: print accuracy, "
        "macro-F1, recalls, confusion.", "--evaluate",
    )  # fmt: skip
    exclude_duplicates_of: Path | None = option(
        None, "With --evaluate: leave out images whose bytes are in this folder, such as the "
        "training images.",
    )  # fmt: skip
    summary: bool = option(False, "Print how often each label was predicted.", "--summary")
    gallery: str | None = option(
        None,
        "FILE.html or FILE.png: a page, or one picture, of every image or face with its label.",
    )


@dataclass(eq=False, repr=False)
class FaceFlags:
    """How faces are found, and what is done with those of a video."""

    faces: bool = option(
        False, "The images are photographs: find the faces in them, a row for each.", "--faces",
        panel=FACES,
    )  # fmt: skip
    detect_size: int | None = option(
        None, "Longer side, in pixels, at which faces are looked for; larger finds smaller faces. "
        "Default: 960.", min=32, max=16384, panel=FACES,
    )  # fmt: skip
    min_face: int | None = option(
        None, "Shorter side of the smallest face, in pixels of the picture. Default: 20.", min=0,
        panel=FACES,
    )  # fmt: skip
    face_score: float | None = option(
        None, "How sure the detector must be, 0 to 1. Default: 0.6.", min=0, max=1, panel=FACES
    )
    every: str | None = option(
        None, "Of a video: 0.5s or 10f, a frame every half second or every 10th frame. Default: "
        "every frame.", panel=FACES,
    )  # fmt: skip
    smooth: str | None = option(
        None, "Of a video: 0.5s averages the probabilities of a face over the last half second.",
        panel=FACES,
    )  # fmt: skip
    annotate: str | None = option(
        None, "FILE.mp4: the video with boxes, labels and tracks drawn on it.", panel=FACES
    )


@dataclass(eq=False, repr=False)
class ReadFlags:
    """What is read of sources with several columns."""

    columns: str | None = option(
        None, "Columns of a table, or values of .json members, that the rows keep: a,b or all. "
        "Default: all of a Parquet file.", panel=SOURCES,
    )  # fmt: skip
    image_column: str | None = option(
        None, "The column of a Parquet file that contains the images.", panel=SOURCES
    )
    id_column: str | None = option(
        None, "The column of a Parquet file that names its rows.", panel=SOURCES
    )
