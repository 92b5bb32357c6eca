"""Providers: what runs a model, and the guarantee that it is what was asked for."""

from fer_runtime.providers.cause import Cause
from fer_runtime.providers.opening import Chosen, Create, Opened, open_session, why_not
from fer_runtime.providers.options import ProviderOptions, Request
from fer_runtime.providers.table import PROVIDERS, Provider, choices
from fer_runtime.providers.wheels import check_wheels, installed_wheels

__all__ = [
    "PROVIDERS",
    "Cause",
    "Chosen",
    "Create",
    "Opened",
    "Provider",
    "ProviderOptions",
    "Request",
    "check_wheels",
    "choices",
    "installed_wheels",
    "open_session",
    "why_not",
]
