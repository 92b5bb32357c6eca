"""Writes a folder of hostile model files: `python make.py FOLDER MARKER`.

Each that could execute code would create the file MARKER; each that could take memory or time asks
for far more than there is. Nothing here is kept in the repository as a file.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from fer_runtime.spec import InputSpec, ModelSpec

GIB = 1 << 30
SPEC = ModelSpec(
    labels=("a", "b", "c", "d", "e", "f", "g"),
    input=InputSpec(height=2, width=2, channels=1, mean=(0.5,), std=(0.5,)),
)


class Touch:
    """Unpickling it creates the marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def pickled(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Touch(marker)}))


def torch_saved(path: Path, marker: Path) -> None:
    torch.save({"spec": {}, "state_dict": Touch(marker)}, path)


def legacy_saved(path: Path, marker: Path) -> None:
    torch.save({"state_dict": Touch(marker)}, path, _use_new_zipfile_serialization=False)


def program(path: Path, entry: str, content: bytes) -> None:
    """A `.pt2` archive that is whole but for one entry."""
    module = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(2, 2),))
    buffer = io.BytesIO()
    torch.export.save(module, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            inner = name.partition("/")[2]
            target.writestr(name, content if inner == entry else source.read(name))
        if f"archive/{entry}" not in source.namelist():
            target.writestr(f"archive/{entry}", content)
        target.writestr("archive/extra/spec.json", SPEC.to_json())


def program_sample_inputs(path: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save((Touch(marker),), buffer)
    program(path, "data/sample_inputs/model.pt", buffer.getvalue())


def program_constants(path: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Touch(marker), buffer)
    payload = {"path_name": "tensor_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"evil": payload}}).encode()
    program(path, "data/constants/model_constants_config.json", config)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/constants/tensor_0", buffer.getvalue())


def program_compiled(path: Path, marker: Path) -> None:
    program(path, "data/aotinductor/model/evil.so", b"\x7fELF")


def program_twice(path: Path, marker: Path) -> None:
    """The harmless entry last, for readers of the directory; another reader may take the first."""
    program_sample_inputs(path, marker)
    buffer = io.BytesIO()
    torch.save((), buffer)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/sample_inputs/model.pt", buffer.getvalue())


def program_malformed(path: Path, marker: Path) -> None:
    program(path, "data/constants/model_constants_config.json", b'{"config": {"w": {}}}')


def bomb(path: Path, entry: str) -> None:
    """Two GiB of zeros in nine megabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/version", "3\n")
        with archive.open(f"archive/{entry}", "w", force_zip64=True) as stream:
            block = bytes(16 << 20)
            for _ in range(2 * GIB // len(block)):
                stream.write(block)


def checkpoint_bomb(path: Path, marker: Path) -> None:
    bomb(path, "data.pkl")


def torchscript_bomb(path: Path, marker: Path) -> None:
    bomb(path, "extra/spec.json")


def huge_storage(path: Path, marker: Path) -> None:
    """A checkpoint whose tensor claims four terabytes that are not in the file."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(8)}}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                data = data.replace(b"K\x08t", b"\x8a\x05\x00\x00\x00\x00\x01t")
            target.writestr(name, data)


def truncated(path: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.zeros(1000)}}, buffer)
    path.write_bytes(buffer.getvalue()[:2000])


def web_page(path: Path, marker: Path) -> None:
    path.write_text("<!doctype html><html><body>404 Not Found</body></html>")


def empty(path: Path, marker: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path, marker: Path) -> None:
    path.write_bytes(bytes(4096))


def noise(path: Path, marker: Path) -> None:
    path.write_bytes(bytes((i * 7919 + 13) % 251 for i in range(4096)))


def graph(path: Path, location: str | None = None, dims: tuple[int, ...] = (4, 7)) -> None:
    """An ONNX graph whose weight is in another file, or is not as large as declared."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    if location is None:
        weight.raw_data = bytes(16)
    else:
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "112")):
            weight.external_data.add(key=key, value=value)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ("n", 4))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", 7))
    node = helper.make_node("MatMul", ["images", "w"], ["logits"])
    made = helper.make_graph([node], "g", [images], [logits], [weight])
    model = helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    path.write_bytes(model.SerializeToString())


def external_parent(path: Path, marker: Path) -> None:
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(bytes(112))
    graph(path, "../secret.bin")


def external_absolute(path: Path, marker: Path) -> None:
    graph(path, "/etc/passwd")


def external_link(path: Path, marker: Path) -> None:
    link = path.parent / "weights.bin"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    graph(path, "weights.bin")


def external_device(path: Path, marker: Path) -> None:
    graph(path, "/dev/zero")


def external_pipe(path: Path, marker: Path) -> None:
    pipe = path.parent / "pipe.bin"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    graph(path, "pipe.bin")


def external_missing(path: Path, marker: Path) -> None:
    graph(path, "gone.bin")


def huge_tensor(path: Path, marker: Path) -> None:
    graph(path, dims=(1 << 40, 7))


def deep_spec(path: Path, marker: Path) -> None:
    """A spec of brackets a million deep."""
    graph(path)
    model = onnx.load(path)
    helper.set_model_props(model, {"fer_runtime.spec": "[" * 1_000_000})
    path.write_bytes(model.SerializeToString())


def safetensors_header(path: Path, marker: Path) -> None:
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")


def safetensors_claim(path: Path, marker: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(64))


ATTACKS: dict[str, Callable[[Path, Path], None]] = {
    "pickled.pt": pickled,
    "torch_saved.pt": torch_saved,
    "legacy_saved.pt": legacy_saved,
    "sample_inputs.pt2": program_sample_inputs,
    "constants.pt2": program_constants,
    "compiled.pt2": program_compiled,
    "twice.pt2": program_twice,
    "malformed.pt2": program_malformed,
    "bomb.pt": checkpoint_bomb,
    "bomb.torchscript": torchscript_bomb,
    "bomb.pt2": torchscript_bomb,
    "huge_storage.pt": huge_storage,
    "truncated.pt": truncated,
    "truncated.torchscript": truncated,
    "web_page.onnx": web_page,
    "web_page.pt": web_page,
    "web_page.pt2": web_page,
    "empty.onnx": empty,
    "empty.pt": empty,
    "zeros.onnx": zeros,
    "noise.onnx": noise,
    "noise.safetensors": noise,
    "external_parent.onnx": external_parent,
    "external_absolute.onnx": external_absolute,
    "external_link.onnx": external_link,
    "external_device.onnx": external_device,
    "external_pipe.onnx": external_pipe,
    "external_missing.onnx": external_missing,
    "huge_tensor.onnx": huge_tensor,
    "deep_spec.onnx": deep_spec,
    "header.safetensors": safetensors_header,
    "claim.safetensors": safetensors_claim,
}


def main(folder: Path, marker: Path) -> None:
    folder.mkdir(parents=True)
    for name, make in ATTACKS.items():
        make(folder / name, marker)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
