"""The options of `fer-infer`, in groups; `fer_runtime.cli.options` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fer_runtime.cli.options import option
from fer_runtime.parts.outputs import PART_IMAGES
from fer_runtime.providers.options import ARITHMETICS
from fer_runtime.providers.table import choices as provider_choices
from fer_runtime.sinks.table import SINKS

if TYPE_CHECKING:
    from fer_runtime.providers import ProviderOptions
    from fer_runtime.sources.table import SourceOptions

FACES, SOURCES = "Faces and videos", "Tables and archives"
PROVIDERS = "Providers"
PARTS = "Parts and clusters"


class Group:
    """Options that one value has; made without generated methods, which cost a cold start."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


@dataclass(init=False, eq=False, repr=False)
class ModelChoice(Group):
    """Which model runs, and where."""

    model: str | None = option(
        None, "ONNX file; default: $FER_MODEL, else ./best.onnx, else the shipped compact_cnn. "
        "accurate_cnn is shipped too, and each as int8: compact_cnn.int8.",
    )  # fmt: skip
    spec: Path | None = option(None, "ModelSpec as JSON, for an ONNX file that contains none.")
    provider: str = option(
        "auto", "Where it runs, or an error; auto reports its choice.", choices=provider_choices
    )
    min_probability: float = option(
        0.0, "Less probable predictions get the label uncertain.", min=0, max=1
    )


@dataclass(init=False, eq=False, repr=False)
class ModelOptions(ModelChoice):
    """Which model runs, and how."""

    batch_size: int | None = option(
        None, "Images per run of the session; default: 32.", min=1, max=4096
    )
    max_pixels: int = option(
        50_000_000, "Larger images are error rows, and are not decoded.", min=1
    )
    threads: int | None = option(None, "CPU threads; default: all this process may use.", min=1)
    workers: int | None = option(
        None, "Worker processes; 0 for none. Default: one per thread on a run so long that they "
        "pay.", min=0,
    )  # fmt: skip
    tune: bool = option(
        False, "Find the fastest batch size, threads and workers with these images, in under half "
        "a minute; later runs of this model here use them.", "--tune",
    )  # fmt: skip
    no_tuned: bool = option(False, "Use the defaults, whatever --tune found.", "--no-tuned")
    arithmetic: str = option(
        "f32", "Of openvino: bf16 is faster and less exact, on a CPU that has it.",
        choices=ARITHMETICS, panel=PROVIDERS,
    )  # fmt: skip
    device_id: int = option(
        0, "Of cuda and tensorrt: the number of the GPU.", min=0, panel=PROVIDERS
    )
    gpu_memory_limit: int | None = option(
        None, "Of cuda and tensorrt: MiB of GPU memory that the model may take.", min=1,
        panel=PROVIDERS,
    )  # fmt: skip
    cuda_graphs: bool = option(
        False, "Of cuda: capture each batch size as a graph, which helps small batches.",
        "--cuda-graphs", panel=PROVIDERS,
    )  # fmt: skip


@dataclass(init=False, eq=False, repr=False)
class OutputOptions(Group):
    """Where rows go, and what is printed about them."""

    output: str | None = option(
        None, f"FILE ending in {', '.join(SINKS)}; - is CSV on stdout; DIR/ or s3://BUCKET/DIR/ "
        "is a folder of parts.", "--output", "-o",
    )  # fmt: skip
    part_format: str = option(
        "parquet", "Of the parts in a folder.", choices=("parquet", "csv", "jsonl"), panel=PARTS
    )
    part_images: int = option(PART_IMAGES, "Images of each part.", min=1, panel=PARTS)
    ray: str | None = option(
        None, "ADDRESS of a Ray cluster that writes the parts; auto for the one of this machine, "
        "local to start one.", metavar="ADDRESS", panel=PARTS,
    )  # fmt: skip
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


@dataclass(init=False, eq=False, repr=False)
class FaceFlags(Group):
    """How faces are found, and what is done with those of a video."""

    faces: bool = option(
        False, "The images are photographs: find the faces in them, a row for each.", "--faces",
        panel=FACES,
    )  # fmt: skip
    detect_size: int | None = option(
        None, "Longer side, in pixels, at which faces are looked for; larger finds smaller faces. "
        "Default: 1440.", min=32, max=16384, panel=FACES,
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


@dataclass(init=False, eq=False, repr=False)
class ReadFlags(Group):
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
    label_column: str | None = option(
        None, "The column with the true labels, for --evaluate. Default: label.", panel=SOURCES
    )
    class_labels: str | None = option(
        None, "angry,disgust,...: the names of class numbers, from 0, where labels are numbers.",
        panel=SOURCES,
    )  # fmt: skip


def provider_options(running: ModelOptions) -> ProviderOptions:
    """How the provider computes."""
    from fer_runtime.providers import ProviderOptions

    return ProviderOptions(
        running.arithmetic, running.device_id, running.gpu_memory_limit, running.cuda_graphs
    )


def check_faces(finding: FaceFlags) -> None:
    """Refuse options of faces without --faces."""
    if finding.faces:
        return
    for name in ("detect_size", "min_face", "face_score", "smooth", "annotate"):
        if getattr(finding, name) is not None:
            raise typer.BadParameter("it needs --faces.", param_hint=f"--{name.replace('_', '-')}")


def check_annotate(finding: FaceFlags, writing: OutputOptions) -> None:
    """Refuse to annotate a video whose rows are not all of this run."""
    if finding.annotate is None:
        return
    if writing.resume:
        raise typer.BadParameter("it needs every row; omit --resume.", param_hint="--annotate")
    if writing.shard != "1/1":
        raise typer.BadParameter("it needs every row; omit --shard.", param_hint="--annotate")


def face_options(finding: FaceFlags) -> Any:
    """The FaceOptions of a run; False without --faces."""
    if not finding.faces:
        return False
    from fer_runtime.faces.options import FaceOptions

    given: dict[str, Any] = {
        "detect_size": finding.detect_size,
        "min_face": finding.min_face,
        "min_score": finding.face_score,
    }
    return FaceOptions(**{name: value for name, value in given.items() if value is not None})


def source_options(reading: ReadFlags, every: str | None = None) -> SourceOptions:
    """How files that contain many images are read."""
    from fer_runtime.sources.table import SourceOptions

    return SourceOptions(
        every=every,
        image_column=reading.image_column,
        id_column=reading.id_column,
        label_column=reading.label_column,
        columns=_names(reading.columns),
        class_labels=_names(reading.class_labels),
    )


def seconds_of(text: str | None) -> float:
    """ "0.5s" or "0.5" -> 0.5; 0 for None."""
    if text is None:
        return 0.0
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 3600:
        raise typer.BadParameter(
            f"{text!r} is not a time; write seconds, as 0.5s.", param_hint="--smooth"
        )
    return seconds


def _names(text: str | None) -> tuple[str, ...] | None:
    """ "a,b" -> ("a", "b"); None for None."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())
