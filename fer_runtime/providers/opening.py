"""Opening a model on a provider, with the guarantee that this provider runs it.

onnxruntime falls back to the CPU without raising, even where its list of available providers
includes CUDA. Here an explicit request runs as requested or raises a ProviderError that names the
cause; only "auto" may choose, and reports what it chose and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fer_runtime.errors import ProviderError
from fer_runtime.providers import wheels
from fer_runtime.providers.cause import Cause
from fer_runtime.providers.options import Request
from fer_runtime.providers.table import FALLBACK, PROVIDERS, Provider, choices

if TYPE_CHECKING:
    import onnxruntime

    from fer_runtime.providers.graph import Graph

_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_LOG_FATAL, _LOG_WARNING = 4, 2


class Chosen(NamedTuple):
    """What onnxruntime is asked for.

    Attributes:
        providers: names with options, first the one that must run the model.
        entries: entries of the session's configuration.
        devices: those of a plugin library, which runs instead of the first provider by name.
    """

    providers: list[tuple[str, dict[str, str]]]
    entries: dict[str, str]
    devices: Sequence[Any] = ()


Create = Callable[[Chosen], "onnxruntime.InferenceSession"]
"""Makes a session; raises what onnxruntime raises."""


class Opened(NamedTuple):
    """A model that is ready, its provider, why that was chosen, and the rest of what is reported.

    Attributes:
        session: what runs it.
        provider: our name of the provider.
        reason: why it was chosen, in a few words for a person.
        arithmetic: what it computes in.
        partly_on_cpu: whether some nodes run on the CPU.
    """

    session: Graph
    provider: str
    reason: str
    arithmetic: str = "f32"
    partly_on_cpu: bool = False


def open_session(provider: str, create: Create, request: Request | None = None) -> Opened:
    """Open a model on a provider of the table, or on the one that "auto" chooses.

    Args:
        provider: a name of the table, or "auto".
        create: makes onnxruntime's session.
        request: the model, and options of the provider.

    Raises:
        ProviderError: an unknown name, an option that the provider does not take, a wheel missing
            or installed twice, or a provider that cannot run here; whatever `create` raises for a
            broken model passes through.
    """
    request = request or Request()
    if provider != "auto" and provider not in PROVIDERS:
        raise ProviderError(f"Unknown provider {provider!r}; allowed: {', '.join(choices())}.")
    if provider == "auto" or PROVIDERS[provider].runtime is None:
        wheels.check_wheels()
    if provider == "auto":
        return _choose(create, request)
    _refuse_options(provider, request)
    title = PROVIDERS[provider].title
    if provider == FALLBACK:
        return Opened(_create(create, provider, request), provider, f"{title}, as requested")
    found = _open_alone(provider, create, request, f"{title}, as requested")
    if isinstance(found, Opened):
        return found
    raise ProviderError(
        f"{provider} was requested but cannot run here: {'; '.join(map(str, found))}. "
        f"To run on the CPU instead, pass --provider {FALLBACK} (or provider='{FALLBACK}')."
    )


def _refuse_options(provider: str, request: Request) -> None:
    """Raise ProviderError for options that the provider does not take."""
    for name in request.options.given():
        if name not in PROVIDERS[provider].takes:
            takers = [each for each, entry in PROVIDERS.items() if name in entry.takes]
            flag = f"--{name.replace('_', '-')}"
            raise ProviderError(
                f"{flag} (or {name}) is not an option of {provider}; it is one of "
                f"{' and '.join(takers)}: pass --provider {takers[0]}, or omit it."
            )


def _choose(create: Create, request: Request) -> Opened:
    """The first automatic provider that runs, else the CPU; the reason only where it matters."""
    reason = PROVIDERS[FALLBACK].title
    for name, entry in PROVIDERS.items():
        if not entry.automatic or set(request.options.given()) - entry.takes:
            continue
        why = f"{entry.title}, because a device is there and its libraries load"
        found = _open_alone(name, create, request, why)
        if isinstance(found, Opened):
            return found
        if entry.is_expected():
            reason = f"{PROVIDERS[FALLBACK].title}, because {found[0].what}"
    _refuse_options(FALLBACK, request)
    return Opened(_create(create, FALLBACK, request), FALLBACK, reason)


def _open_alone(
    provider: str, create: Create, request: Request, reason: str
) -> Opened | list[Cause]:
    """Open with `provider` alone, or why not; CPU nodes are fine if the provider runs too."""
    entry = PROVIDERS[provider]
    causes = entry.diagnose() or entry.diagnose_request(request)
    if causes:
        return causes
    arithmetic = entry.arithmetic or request.options.arithmetic
    reason = reason.replace(entry.title, f"{entry.title} in {arithmetic}", 1)
    if entry.runtime is not None:
        return Opened(entry.open(request), provider, reason, arithmetic)
    try:
        session = _create(create, provider, request, {_NO_FALLBACK: "1"})
        partly_on_cpu, first = False, None
    except Exception as error:
        # onnxruntime raises its own classes without a common base. Either the provider cannot
        # run, or some nodes belong on the CPU: opening without the flag shows which.
        session = _create(create, provider, request)
        partly_on_cpu, first = True, error
    if session.get_providers()[0] != entry.onnxruntime_name:
        why = f": {first}" if first else ""
        return [Cause(f"{entry.title} failed, and onnxruntime fell back to the CPU{why}")]
    return Opened(session, provider, reason, arithmetic, partly_on_cpu)


def _create(
    create: Create, provider: str, request: Request, entries: Mapping[str, str] | None = None
) -> onnxruntime.InferenceSession:
    import onnxruntime

    entry = PROVIDERS[provider]
    name, options = entry.onnxruntime_name, dict(entry.options(request))
    devices = []
    if provider != FALLBACK:
        from fer_runtime.providers import plugins

        devices = plugins.devices(name)
    named = [(name, options), *((each, dict[str, str]()) for each in entry.beside)]
    chosen = Chosen(named, dict(entries or {}), _numbered(devices, request, provider))
    # Provider libraries log through the process-wide logger; the exception says what matters.
    onnxruntime.set_default_logger_severity(_LOG_FATAL)
    try:
        return create(chosen)
    finally:
        onnxruntime.set_default_logger_severity(_LOG_WARNING)


def _numbered(devices: list[Any], request: Request, provider: str) -> list[Any]:
    """The one device of a plugin that is asked for; [] where there is no plugin."""
    number = request.options.device_id
    if devices and number >= len(devices):
        raise ProviderError(
            f"{provider} has {len(devices)} device{'s' * (len(devices) != 1)} here, from 0 on, so "
            f"device_id {number} is not there; fer-doctor lists them."
        )
    return devices[number : number + 1]


def why_not(entry: Provider) -> list[Cause]:
    """Why a provider of the table cannot run here, wheels included; empty where it should run."""
    if entry.runtime is None:
        try:
            wheels.check_wheels()
        except ProviderError as error:
            return [Cause(str(error))]
    return entry.diagnose()
