"""The web application: the routes that every server has, and those of each kind of task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from honed.serving.guard import Guard, Refused
from honed.serving.openai_routes import add_openai_routes
from honed.serving.openapi import error_responses, page
from honed.serving.predict_routes import add_predict_routes
from honed.serving.service import Service
from honed.version import __version__

TASK_ROUTES: tuple[Callable[[FastAPI, Service], None], ...] = (add_predict_routes, add_openai_routes)
"""What is served beyond the routes below; a kind of task with an interface of its own adds its function here."""


def create_app(service: Service, *, hosts: frozenset[str] | None = None) -> Guard:
    """The application as an ASGI server runs it. hosts : see `Guard`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.is_ready = True
        yield
        service.is_ready = False
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="honed", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Specialists over one base model.",
    )  # fmt: skip
    app.router.redirect_slashes = False
    _add_handlers(app)
    _add_state_routes(app, service)
    for add in TASK_ROUTES:
        add(app, service)

    def watch(scope: Scope, status: int) -> None:
        route = scope.get("route")
        service.metrics.count(getattr(route, "path", "other"), status)

    return Guard(app, service.limits, hosts, watch)


def _add_handlers(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error.response(request.url.path)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = Refused(error.status_code, str(error.detail)).response(request.url.path)
        response.headers.update(error.headers or {})
        return response

    async def fault(request: Request, error: Exception) -> Response:
        del error  # the guard logs its kind
        return Refused(500, "A fault of the server.").response(request.url.path)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, fault)


def _add_state_routes(app: FastAPI, service: Service) -> None:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        if service.is_ready:
            return JSONResponse({"status": "ready"})
        raise Refused(503, "The server is not ready.", retry_after_s=1)

    async def models(request: Request) -> Response:
        caller = service.caller(request)
        data = [
            {"id": entry.name, "object": "model", "created": int(entry.added), "owned_by": "honed"}
            for entry in sorted(service.entries().values(), key=lambda entry: entry.name)
            if caller.opens(entry.name)
        ]
        return JSONResponse({"object": "list", "data": data})

    async def metrics(request: Request) -> Response:
        service.caller(request)
        return PlainTextResponse(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def docs(_: Request) -> Response:
        schema: Mapping[str, Any] = app.openapi()
        return HTMLResponse(page(schema))

    app.add_api_route("/health", health, summary="Whether the process lives", response_model=None)
    app.add_api_route(
        "/ready", ready, summary="Whether it can be asked", response_model=None, responses=error_responses(503)
    )
    app.add_api_route(
        "/v1/models", models, summary="Specialists that may be asked", response_model=None,
        responses=error_responses(401),
    )  # fmt: skip
    app.add_api_route(
        "/metrics", metrics, summary="Counters for Prometheus", response_model=None, response_class=PlainTextResponse,
        responses=error_responses(401),
    )  # fmt: skip
    app.add_api_route("/docs", docs, include_in_schema=False)
