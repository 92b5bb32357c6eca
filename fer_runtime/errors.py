"""The error tree: every error a caller can expect from this project.

    FerError
    ├── ModelSpecError   a spec that is incomplete, contradictory or unreadable
    ├── ModelFileError   a model file that is missing, broken, or of another kind
    ├── ProviderError    the requested execution provider cannot run here
    ├── WorkerError      a worker process that cannot start, or dies of the same batch again
    ├── ImageError       an image that cannot be read or decoded
    ├── DataError        a data set, folder, or output file that cannot be used
    ├── TrainingError    a training run that cannot succeed as it was set up
    └── ParityError      two models that should compute the same do not

Each class has the exit status that the command line ends with (see `fer-infer --help`).
"""

from __future__ import annotations


class FerError(Exception):
    """Base of all errors raised on purpose; its message says what to do next."""

    exit_status = 1


class ModelSpecError(FerError):
    """A ModelSpec that is incomplete, contradictory or unreadable."""

    exit_status = 5


class ModelFileError(FerError):
    """A model file that is missing, broken, or not what this function runs."""

    exit_status = 5


class ProviderError(FerError):
    """The requested execution provider cannot run on this machine."""

    exit_status = 4


class WorkerError(FerError):
    """A worker process cannot be started, or the same batch ended two of them."""

    exit_status = 7


class ImageError(FerError):
    """An image that cannot be read or decoded."""

    exit_status = 6


class DataError(FerError):
    """A data set, a folder or an output file that cannot be used."""

    exit_status = 6


class TrainingError(FerError):
    """A training run that cannot succeed: a loss that is not finite, a model that collapsed."""

    exit_status = 5


class ParityError(FerError):
    """An exported model does not compute what its checkpoint computes."""

    exit_status = 5
