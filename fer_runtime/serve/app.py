"""The routes of the server, as a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fer_runtime.serve import open_inference, page
from fer_runtime.serve.endpoint import refused
from fer_runtime.serve.predict import Predict
from fer_runtime.serve.refusals import RefusedError
from fer_runtime.serve.service import Service

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service) -> Starlette:
    """An ASGI application for one service; any ASGI server runs it.

    >>> from fer_runtime.serve.service import Service, ServeOptions
    >>> from fer_runtime.shipped import find_model
    >>> model = find_model("compact_cnn")
    >>> service = Service(ServeOptions(model, {"provider": "cpu"}, threads=1, decoders=1))
    >>> [route.path for route in make_app(service).routes][:2]
    ['/predict', '/v2/models/{name}/infer']
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.routing import Route

    infer = open_inference.Infer(service)
    views = _Views(service)
    model = "/v2/models/{name}"
    routes = [
        Route("/predict", Predict(service)),
        Route(f"{model}/infer", infer),
        Route(f"{model}/versions/{{version}}/infer", infer),
        Route("/v2/health/live", views.live),
        Route("/v2/health/ready", views.ready),
        Route("/v2", views.server),
        *(Route(f"{model}{version}", views.model) for version in ("", "/versions/{version}")),
        *(
            Route(f"{model}{version}/ready", views.model_ready)
            for version in ("", "/versions/{version}")
        ),
        Route("/metrics", views.metrics),
        Route("/docs", views.docs),
        Route("/", views.docs),
    ]
    origins = service.options.allowed_origins
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"])
        ]
        if origins
        else [],
        exception_handlers={404: _unknown_path, 405: _wrong_method, RefusedError: _refusal},
        lifespan=_lifespan(service),
    )


class Direct:
    """An ASGI application that hands predictions to their endpoint, and the rest to Starlette.

    Starlette's middleware and routing would take a tenth of a small request's time.

    Args:
        app: what `make_app` makes.
        service: what it serves.
    """

    def __init__(self, app: Starlette, service: Service) -> None:
        self._app, self._predict = app, Predict(service)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/predict":
            await self._predict(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Views:
    """What is answered without images."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = not self.service.draining
        return _json({"ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        return _json(open_inference.server_metadata())

    async def model(self, request: Request) -> Response:
        self._require(request)
        return _json(open_inference.model_metadata(self.service.model))

    async def model_ready(self, request: Request) -> Response:
        self._require(request)
        ready = not self.service.draining
        answer = {"name": self.service.model.name, "ready": ready}
        return _json(answer, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        return _response(self.service.measures.text(), METRICS_TYPE)

    async def docs(self, request: Request) -> Response:
        text, policy = page.page(self.service)
        return _response(text, "text/html; charset=utf-8", {"content-security-policy": policy})

    def _require(self, request: Request) -> None:
        named = request.path_params
        open_inference.require_model(self.service.model, named["name"], named.get("version"))


def _lifespan(service: Service) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    return lifespan


def _response(body: bytes, media_type: str, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(body, media_type=media_type, headers=headers)


def _json(value: dict[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status)


async def _refusal(request: Request, error: Any) -> Response:
    from starlette.responses import Response

    answer = refused(error)
    names = {key.decode(): value.decode() for key, value in answer.headers}
    return Response(answer.body, answer.status, names)


async def _unknown_path(request: Request, error: Any) -> Response:
    text = f"There is nothing at {request.url.path}; /docs lists what there is."
    return await _refusal(request, RefusedError("unknown_path", text))


async def _wrong_method(request: Request, error: Any) -> Response:
    return await _refusal(request, RefusedError("method", f"{request.url.path} takes GET."))
