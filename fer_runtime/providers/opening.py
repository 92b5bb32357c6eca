"""Opening a session on a provider, with the guarantee that this provider runs it.

onnxruntime falls back to the CPU without raising, even where its list of available providers
includes CUDA. Here an explicit request runs as requested or raises a ProviderError that names the
cause; only "auto" may choose, and reports what it chose and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_runtime.errors import ProviderError
from fer_runtime.providers import wheels
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.table import FALLBACK, PROVIDERS, choices

if TYPE_CHECKING:
    import onnxruntime

_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_LOG_FATAL, _LOG_WARNING = 4, 2

Create = Callable[
    [list[tuple[str, dict[str, str]]], dict[str, str]], "onnxruntime.InferenceSession"
]
"""(providers with options, session config entries) -> session; raises what onnxruntime raises."""


@dataclass(frozen=True)
class Opened:
    """A session, the provider that runs it, why it was chosen, and nodes left to the CPU."""

    session: onnxruntime.InferenceSession
    provider: str
    reason: str
    partly_on_cpu: bool = False


def open_session(provider: str, create: Create) -> Opened:
    """Open a session on a provider of the table, or on the one that "auto" chooses.

    Raises:
        ProviderError: an unknown name, a wheel missing or installed twice, or a provider that
            cannot run here; whatever `create` raises for a broken model passes through.
    """
    wheels.check_wheels()
    if provider == "auto":
        return _choose(create)
    if provider not in PROVIDERS:
        raise ProviderError(f"Unknown provider {provider!r}; allowed: {', '.join(choices())}.")
    title = PROVIDERS[provider].title
    if provider == FALLBACK:
        return Opened(_create(create, provider), provider, f"{title}, as requested")
    found = _open_alone(provider, create, f"{title}, as requested")
    if isinstance(found, Opened):
        return found
    raise ProviderError(
        f"{provider} was requested but cannot run here: {'; '.join(map(str, found))}. "
        f"To run on the CPU instead, pass --provider {FALLBACK} (or provider='{FALLBACK}')."
    )


def _choose(create: Create) -> Opened:
    """The first automatic provider that runs, else the CPU; the reason only where it matters."""
    reason = PROVIDERS[FALLBACK].title
    for name, entry in PROVIDERS.items():
        if not entry.automatic:
            continue
        found = _open_alone(
            name, create, f"{entry.title}, because a device is there and its libraries load"
        )
        if isinstance(found, Opened):
            return found
        if entry.is_expected():
            reason = f"{PROVIDERS[FALLBACK].title}, because {found[0].what}"
    return Opened(_create(create, FALLBACK), FALLBACK, reason)


def _open_alone(provider: str, create: Create, reason: str) -> Opened | list[Cause]:
    """Open with `provider` alone, or why not; CPU nodes are fine if the provider runs too."""
    entry = PROVIDERS[provider]
    causes = entry.diagnose()
    if causes:
        return causes
    try:
        session = _create(create, provider, {_NO_FALLBACK: "1"})
        partly_on_cpu, first = False, None
    except Exception as error:
        # onnxruntime raises its own classes without a common base. Either the provider cannot
        # run, or some nodes belong on the CPU: opening without the flag shows which.
        session = _create(create, provider)
        partly_on_cpu, first = True, error
    if session.get_providers()[0] != entry.onnxruntime_name:
        why = f": {first}" if first else ""
        return [Cause(f"{entry.title} failed, and onnxruntime fell back to the CPU{why}")]
    return Opened(session, provider, reason, partly_on_cpu)


def _create(
    create: Create, provider: str, entries: Mapping[str, str] | None = None
) -> onnxruntime.InferenceSession:
    import onnxruntime

    entry = PROVIDERS[provider]
    # Provider libraries log through the process-wide logger; the exception says what matters.
    onnxruntime.set_default_logger_severity(_LOG_FATAL)
    try:
        return create([(entry.onnxruntime_name, dict(entry.options))], dict(entries or {}))
    finally:
        onnxruntime.set_default_logger_severity(_LOG_WARNING)


def describe() -> dict[str, Any]:
    """What `fer-doctor` prints about providers: wheels, versions, what loads and what does not."""
    installed = wheels.installed_wheels()
    try:
        wheels.check_wheels()
    except ProviderError as error:
        return {"wheels": installed, "error": str(error)}
    import onnxruntime

    causes = {name: entry.diagnose() for name, entry in PROVIDERS.items()}
    return {
        "wheels": installed,
        "onnxruntime": onnxruntime.__version__,
        "compiled_in": onnxruntime.get_available_providers(),
        **{name: "; ".join(map(str, why)) if why else "runs" for name, why in causes.items()},
    }
