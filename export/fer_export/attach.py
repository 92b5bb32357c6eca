"""An ONNX file made elsewhere, with a spec added: the same graph, which fer-infer then runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from fer_export import inspection
from fer_export.formats import to_onnx
from fer_export.parity import inputs
from fer_export.work_folder import WorkFolder
from fer_runtime.errors import ModelFileError
from fer_runtime.spec import ModelSpec


def attach_spec(file: Path, spec: ModelSpec, output: Path) -> None:
    """Copy an ONNX file with a spec inside, if `fer_runtime` runs it with that spec.

    It is opened and run on noise, as `fer-infer` will run it. There is no verdict of parity,
    because there is no checkpoint to compare with.

    Raises:
        ModelFileError: not ONNX, or at odds with the spec (tensor name, layout, channels, labels).
        DataError: the output cannot be written.
    """
    found = inspection.inspect(file)
    if found.kind != "ONNX":
        raise ModelFileError(
            f"{file} is of another kind ({found.kind}); a spec is attached to ONNX files."
        )
    if found.facts["external_data"]:
        raise ModelFileError(
            f"{file} keeps weights in other files ({', '.join(found.facts['external_data'][:3])}); "
            "make one file of it: onnx.save(onnx.load(path), other, save_as_external_data=False)."
        )
    with WorkFolder(output) as folder:
        draft = folder / "model.onnx"
        shutil.copyfile(file, draft)
        to_onnx.embed(draft, spec.replace(parity=None))
        run = to_onnx.runner(draft)
        for batch in inputs.noise(spec.input):
            for name, values in run(batch.pixels).items():
                if values.shape[0] != len(batch.names) or not np.isfinite(values).all():
                    raise ModelFileError(
                        f"{file} gives {name} of shape {values.shape} for {len(batch.names)} "
                        "images, or values that are not finite; is this the right spec?"
                    )
        os.replace(draft, output)
