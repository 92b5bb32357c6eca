"""The peers by name; one more is one entry here and one function in `program`."""

from __future__ import annotations

from typing import NamedTuple

from fer_bench.clone import CLONE


class Peer(NamedTuple):
    """A package, and how it is installed.

    Attributes:
        packages: what pip installs into its environment; none for the environment of fer-bench.
        environment: the name of its environment, where it shares one.
        accuracy: whether its labels are of a trained model.
        note: what a reader should know.
    """

    packages: tuple[str, ...]
    environment: str | None = None
    accuracy: bool = True
    note: str = ""


OURS = (f"{CLONE}[cpu]",)
TENSORFLOW = ("opencv-contrib-python<5", "setuptools<81")

PEERS: dict[str, Peer] = {
    "fer-runtime": Peer(OURS, "fer-runtime"),
    "fer-runtime, int8": Peer(OURS, "fer-runtime"),
    "fer": Peer(("fer", *TENSORFLOW)),
    "facex": Peer(("facex", "tensorflow<2.20", *TENSORFLOW)),
    "what-the-face-classification": Peer(
        ("what-the-face-classification", "opencv-python<5", "setuptools<81"),
        note="It looks for a face first, and answers “no face detected” where it is not sure.",
    ),
    "deepface": Peer(
        ("deepface", "werkzeug"),
        accuracy=False,
        note="Its weights are a download; here they are random, so only its speed is measured.",
    ),
    "PyTorch loop": Peer(
        (), note="Pillow, torchvision's transforms and PyTorch, one image at a time, same weights."
    ),
}
