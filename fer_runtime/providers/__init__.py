"""Execution providers: what onnxruntime is given, and the guarantee that it is what runs."""

from fer_runtime.providers.cause import Cause
from fer_runtime.providers.cuda import diagnose as diagnose_cuda
from fer_runtime.providers.opening import Create, Opened, describe, open_session
from fer_runtime.providers.table import PROVIDERS, Provider, choices
from fer_runtime.providers.wheels import check_wheels, installed_wheels

__all__ = [
    "PROVIDERS",
    "Cause",
    "Create",
    "Opened",
    "Provider",
    "check_wheels",
    "choices",
    "describe",
    "diagnose_cuda",
    "installed_wheels",
    "open_session",
]
