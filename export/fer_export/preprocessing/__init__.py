"""How an image becomes a model's input: options, presets and transforms as fields of an InputSpec.

Presets are read from what a library or a file states about its weights; nothing is downloaded.
"""

from fer_export.preprocessing.fields import Preprocessing, describe, input_fields
from fer_export.preprocessing.options import PreprocessingOptions
from fer_export.preprocessing.transforms import from_transforms

__all__ = ["Preprocessing", "PreprocessingOptions", "describe", "from_transforms", "input_fields"]
