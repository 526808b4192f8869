"""The routes, and the application that holds them."""

from __future__ import annotations

import base64
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specinfer import __version__
from specinfer.classifier import Classifier
from specinfer.readers import FORMATS, ReadOptions
from specinfer.readers.base import NOISE_KINDS
from specinfer.serve import analysis, metrics, openapi, spectra
from specinfer.serve.bodies import FILE_TYPES, Upload, content_type, file_of_form, read_body
from specinfer.serve.drawing import FORMATS as PICTURES
from specinfer.serve.failures import RequestFailure
from specinfer.serve.guard import Guard
from specinfer.serve.service import Service
from specinfer.serve.settings import Settings
from specinfer.serve.spectra import Item
from specinfer.wavelengths import UNIT_CHOICES

OPTIONS = ("model", "redshift", "plot", "format", "noise", "unit", "air", "name")
PATHS = (
    *("/", "/page.css", "/page.js", "/classify", "/analysis/specinfer"),
    *("/health", "/metrics", "/openapi.json"),
)


def create_app(settings: Settings, classifier: Classifier) -> Starlette:
    """The service as an ASGI application.

    Parameters
    ----------
    settings : Settings
    classifier : Classifier
        Of ``settings.model``; `Classifier.warm_up` beforehand makes the first answer fast.

    Returns
    -------
    starlette.applications.Starlette
        Its ``state.service`` is the `Service`.
    """
    service = Service(settings, classifier)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    routes = [
        Route("/", _page("page.html", "text/html")),
        Route("/page.css", _page("page.css", "text/css")),
        Route("/page.js", _page("page.js", "text/javascript")),
        Route("/classify", _classify, methods=["POST"]),
        Route("/analysis/specinfer", _analysis_status, methods=["GET"]),
        Route("/analysis/specinfer", _analyse, methods=["POST"]),
        Route("/health", _health),
        Route("/metrics", _metrics),
        Route("/openapi.json", _openapi),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Guard, settings=settings, metrics=service.metrics, paths=PATHS),
        ],
        # Whatever else a route raises is the guard's.
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


async def _classify(request: Request) -> Response:
    service: Service = request.app.state.service
    service.check_room()
    options = _options(request)
    if options.plot is not None:
        service.drawer.check_room()
    read = await _reader(request, service, options)
    answers = await service.classify(read, options.model)
    if not any(answer.ok for answer in answers):
        error = dict(answers[0].error or {}) if answers else {}
        code = error.get("code", "no_spectra")
        status = 500 if code == "internal_error" else 422
        raise RequestFailure(status, code, error.get("message", "there are no spectra in it"))
    pictures: list[dict[str, str] | None] | None = None
    if options.plot is not None:
        drawn = await service.draw(answers, options.model, options.plot)
        pictures = [None if one is None else _picture(one, options.plot) for one in drawn]
    return JSONResponse(
        {
            "specinfer": __version__,
            "results": [answer.to_dict() for answer in answers],
            "pictures": pictures,
        }
    )


async def _reader(
    request: Request, service: Service, options: _Options
) -> Callable[[], Sequence[Item]]:
    """What reads the spectra of a request, to be called in a worker."""
    kind = content_type(request.headers)
    if kind not in ("application/json", "multipart/form-data", *FILE_TYPES):
        raise RequestFailure(
            415,
            "unsupported_type",
            "send a form with a file (multipart/form-data), JSON (application/json) or the file "
            "itself (application/octet-stream)",
        )
    if kind == "application/json" and options.reading != ReadOptions():
        raise RequestFailure(
            400, "bad_request", "format, noise, unit and air are for files; JSON says it itself"
        )
    body = await _body(request, service)
    if kind == "application/json":
        return functools.partial(spectra.items_of_json, body, options.redshift)
    if kind == "multipart/form-data":
        upload = await file_of_form(request.headers, body)
    else:
        upload = Upload(options.name or "upload", body)
    return functools.partial(
        spectra.items_of_file,
        upload.data,
        upload.name,
        options.reading,
        options.redshift,
        max_unpacked=service.settings.max_unpacked,
    )


async def _body(request: Request, service: Service) -> bytes:
    service.receiving += 1
    try:
        return await read_body(request, service.settings)
    finally:
        service.receiving -= 1


async def _analyse(request: Request) -> Response:
    service: Service = request.app.state.service
    service.check_room()
    if content_type(request.headers) != "application/json":
        raise RequestFailure(415, "unsupported_type", "send JSON (application/json)")
    body = await _body(request, service)
    asked = analysis.parse(body, service.settings.callback_hosts)
    await service.accept(asked)
    count = len(asked.rows)
    message = f"specinfer classifies {count} spectr{'um' if count == 1 else 'a'} of {asked.object}"
    return JSONResponse({"status": "pending", "message": message})


async def _analysis_status(_: Request) -> Response:
    return JSONResponse({"status": "active"})


async def _health(request: Request) -> Response:
    health = request.app.state.service.health()
    return JSONResponse(health, 200 if health["status"] == "ok" else 503)


async def _metrics(request: Request) -> Response:
    text = request.app.state.service.metrics.render()
    return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi.document())


def _page(name: str, kind: str) -> Callable[[Request], Any]:
    content = files("specinfer.serve").joinpath(name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, headers={"Content-Type": f"{kind}; charset=utf-8"})

    return answer


@dataclass(frozen=True)
class _Options:
    """The options of a query; see docs/serve.md."""

    model: str | None
    redshift: float | None
    plot: str | None
    name: str | None
    reading: ReadOptions


def _options(request: Request) -> _Options:
    pairs = request.query_params.multi_items()
    for name, _ in pairs:
        if name not in OPTIONS:
            raise _bad(f"no option {name[:60]!r}; there are {', '.join(OPTIONS)}")
    query = dict(pairs)
    if len(query) < len(pairs):
        raise _bad("an option stands twice in the query")
    air = _one_of("air", query.get("air"), ("true", "false"))
    return _Options(
        model=query.get("model") or None,
        redshift=_redshift(query.get("redshift")),
        plot=_one_of("plot", query.get("plot"), tuple(PICTURES)),
        name=query.get("name"),
        reading=ReadOptions(
            format=_one_of("format", query.get("format"), FORMATS),
            noise=_one_of("noise", query.get("noise"), NOISE_KINDS),
            unit=_one_of("unit", query.get("unit"), UNIT_CHOICES),
            air=None if air is None else air == "true",
        ),
    )


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> str | None:
    if not value:
        return None
    if value not in known:
        raise _bad(f"{name} {value[:60]!r} is not one of {', '.join(known)}")
    return value


def _redshift(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return spectra.check_redshift(float(text))
    except ValueError:
        raise _bad(f"redshift {text[:60]!r} is not a number") from None


def _picture(content: bytes, format: str) -> dict[str, str]:
    return {"format": format, "data": base64.b64encode(content).decode("ascii")}


def _bad(message: str) -> RequestFailure:
    return RequestFailure(400, "bad_request", message)


def _http_error(_: Request, error: Exception) -> Response:
    """What starlette itself refuses: paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    messages = {
        404: "there is nothing here; see /openapi.json",
        405: "this path has other methods; see /openapi.json",
    }
    message = messages.get(error.status_code, str(error.detail))
    return RequestFailure(error.status_code, code, message, error.headers).response()
