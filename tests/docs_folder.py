"""The folder that the pages' commands run in: everything under the names that the pages use."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from safetensors.torch import save_file

from fer_runtime.classifier import Classifier
from fer_runtime.machine import cpu_features
from fer_runtime.sources.fer2013_csv import LABELS
from fer_train.synthetic import write_dataset
from tests.runtime.clips import save_clip

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "fer_runtime" / "models"

MODELS = '''"""A model of one's own, as a page names it."""

import torch
from torch import nn


def build(spec, classes):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(spec.channels, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(128, classes),
    )
'''
TRANSFORMS = '''"""A preprocessing of one's own: what torchvision's resnet18 was trained with."""

from PIL import Image
from torchvision.models import ResNet18_Weights

transforms = ResNet18_Weights.DEFAULT.transforms()


def load(path):
    return transforms(Image.open(path).convert("RGB"))
'''


def prepare(folder: Path) -> Path:
    """Make it; a few seconds."""
    write_dataset(folder / "faces", train=98, validation=105, test=35)
    _keep_the_clearest(folder / "faces" / "validation", 3)
    faces = sorted((folder / "faces" / "train").rglob("*.jpg"))
    for name in ("a.jpg", "face.jpg"):
        shutil.copy(faces[0], folder / name)
    shutil.copy(ROOT / "tests" / "data" / "astronaut.jpg", folder / "photo.jpg")
    _video(folder / "video.mp4")
    Image.open(faces[1]).save(folder / "b.png")
    for name in ("images", "archive", "in/deep"):
        (folder / name).mkdir(parents=True)
        for face in faces[:5]:
            shutil.copy(face, folder / name)
    shutil.copytree(folder / "faces" / "train", folder / "photos")
    _archives(folder, faces[:5])
    _shards(folder / "shards", faces[:8])
    _tables(folder, faces[:8])
    _fer2013(folder / "fer2013.csv", folder / "faces")
    (folder / "train").symlink_to(ROOT / "train")
    _models(folder)
    _foreign(folder)
    return folder


def _keep_the_clearest(split: Path, count: int) -> None:
    """Of each label the images that the model is surest of, so that int8 changes no label."""
    classifier = Classifier.load(SHIPPED / "compact_cnn.onnx", provider="cpu")
    for label in sorted(split.iterdir()):
        margins = {}
        for face in sorted(label.iterdir()):
            (_, first), (_, second) = classifier.predict(face).top(2)
            margins[face] = first - second
        for face in sorted(margins, key=lambda face: margins[face])[:-count]:
            face.unlink()


def _archives(folder: Path, faces: list[Path]) -> None:
    with (
        tarfile.open(folder / "shard.tar", "w") as tar,
        zipfile.ZipFile(folder / "faces.zip", "w") as archive,
    ):
        for face in faces:
            tar.add(face, face.name)
            archive.write(face, face.name)


def _shards(folder: Path, faces: list[Path]) -> None:
    """WebDataset samples: an image, its class, and what is known about it."""
    folder.mkdir()
    for number in range(4):
        with tarfile.open(folder / f"{number:03}.tar", "w") as tar:
            for place, face in enumerate(faces[number::4]):
                about = {"age": 30 + place, "camera": {"name": "left"}}
                parts = {
                    "jpg": face.read_bytes(),
                    "cls": face.parent.name.encode(),
                    "json": json.dumps(about).encode(),
                }
                for ending, content in parts.items():
                    entry = tarfile.TarInfo(f"{place:04}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def _tables(folder: Path, faces: list[Path]) -> None:
    """Parquet as Hugging Face has it."""
    import pyarrow
    from pyarrow import parquet

    names = sorted({face.parent.name for face in faces})
    features = {"label": {"_type": "ClassLabel", "names": names}}
    table = pyarrow.table(
        {
            "image": [{"bytes": face.read_bytes(), "path": face.name} for face in faces],
            "label": [names.index(face.parent.name) for face in faces],
            "id": [f"face-{place}" for place in range(len(faces))],
            "age": list(range(30, 30 + len(faces))),
            "caption": ["a drawn face"] * len(faces),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (folder / "data").mkdir()
    for name in ("faces.parquet", "data/0.parquet", "data/1.parquet"):
        parquet.write_table(table, folder / name)


def _fer2013(path: Path, faces: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["emotion", "pixels", "Usage"])
        for usage, split in (("Training", "train"), ("PublicTest", "validation")):
            for face in sorted((faces / split).rglob("*.jpg")):
                pixels = np.asarray(Image.open(face).convert("L")).ravel()
                label = LABELS.index(face.parent.name)
                writer.writerow([label, " ".join(map(str, pixels.tolist())), usage])


def _video(path: Path) -> None:
    """Two seconds of the astronaut, past whom the camera moves."""
    with Image.open(ROOT / "tests" / "data" / "astronaut.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    save_clip(path, [pixels[:400, 4 * n : 4 * n + 360] for n in range(20)], rate=10)


def _models(folder: Path) -> None:
    """A trained checkpoint and its exports, in two places."""
    checkpoint = ROOT / "train" / "checkpoints" / "compact_cnn.pt"
    (folder / "run").mkdir()
    for place in (folder, folder / "run"):
        shutil.copy(checkpoint, place / "best.pt")
        shutil.copy(SHIPPED / "compact_cnn.onnx", place / "best.onnx")
    model = onnx.load(SHIPPED / "compact_cnn.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "other.onnx")
    shutil.copy(SHIPPED / "compact_cnn.json", folder / "spec.json")


def _foreign(folder: Path) -> None:
    """Weights that carry no spec, and the modules that the pages name beside them."""
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "models.py").write_text(MODELS, encoding="utf-8")
    (package / "transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(sorted(LABELS)) + "\n", encoding="utf-8")
    weights = _resnet18()
    torch.save(weights, folder / "weights.pth")
    torch.save({"model": weights, "ema": weights, "epoch": 3}, folder / "training.pth")
    save_file(weights, folder / "weights.safetensors")
    scope: dict[str, Any] = {}
    exec(MODELS, scope)
    built = scope["build"](type("Spec", (), {"channels": 1})(), len(LABELS)).state_dict()
    lightning = {"state_dict": {f"model.{name}": value for name, value in built.items()}}
    torch.save({**lightning, "pytorch-lightning_version": "2.6.0"}, folder / "last.ckpt")


def _resnet18() -> dict[str, torch.Tensor]:
    """Random weights whose outputs differ between images; nobody trained them."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18(num_classes=len(LABELS))
    torch.nn.init.normal_(model.fc.weight, std=0.1)
    with torch.no_grad():
        model.train()(torch.rand(8, 3, 64, 64))
    found: dict[str, torch.Tensor] = model.state_dict()
    return found


EPOCHS = 12
"""`--epochs` is divided by this number; 16 becomes 1, and 24 becomes 2."""


def shortened(words: list[str]) -> list[str]:
    """The same command over fewer images and epochs."""
    if words[-2:] == ["--engine", "all"] and "avx512_bf16" in cpu_features():
        # All but openvino-default, which computes in bf16 there; its cost is in docs/engines.md.
        modules = {"openvino": "openvino", "opencv": "cv2"}
        here = [name for name, module in modules.items() if importlib.util.find_spec(module)]
        here += ["onnxruntime-web"] if shutil.which("node") else []
        return [*words[:-1], ",".join(["onnxruntime", "hub", *here])]
    if words[:2] == ["fer-train", "synth"]:
        return [*words, "--train", "70", "--validation", "35", "--test", "35"]
    if words[:2] not in [["fer-train", each] for each in ("fit", "compare", "labels")]:
        return words
    if "--epochs" not in words:
        return [*words, "--epochs", "1"]
    place = words.index("--epochs") + 1
    return [*words[:place], str(int(words[place]) // EPOCHS), *words[place + 1 :]]
