"""The studio as an ASGI application: its routes behind the guard, and every error as a page with a remedy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from honed.app.studio.chat_pages import chat_routes
from honed.app.studio.fit_pages import fit_routes
from honed.app.studio.fits import Fits
from honed.app.studio.guard import Guard, Terms
from honed.app.studio.play_pages import play_routes
from honed.app.studio.review_pages import review_routes
from honed.app.studio.review_queue import ReviewQueues
from honed.app.studio.run_pages import run_page, run_routes
from honed.app.studio.state import OWN, Studio, chats, playgrounds
from honed.errors import HonedError, OutputError, RunFolderError
from honed.evidence.report import TEMPLATES
from honed.version import __version__


def make_app(root: Path, data: Path, terms: Terms, *, device: str = "auto") -> ASGIApp:
    """The studio over the runs in `root`. data : folder of tables that a fit may be started with."""
    studio = Studio(root, data, Fits(root), ReviewQueues(), playgrounds(device), chats(device), __version__)
    app = FastAPI(openapi_url=None)  # its pages would load scripts from elsewhere
    sheets = (TEMPLATES / "report.css", TEMPLATES / "attention.css", OWN / "static" / "studio.css")
    style = "".join(path.read_text("utf-8") for path in sheets)

    @app.get("/static/style.css")
    def stylesheet() -> Response:
        return Response(style, media_type="text/css")

    app.mount("/static", StaticFiles(directory=OWN / "static"))
    for routes in (run_routes, review_routes, play_routes, chat_routes, fit_routes, run_page):
        app.include_router(routes(studio))

    def told(request: Request, status: int, error: Mapping[str, str]) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return studio.page("error.html.j2", {"error": error}, status)
        return JSONResponse({"error": error}, status)

    @app.exception_handler(HonedError)
    def honed_error(request: Request, error: HonedError) -> Response:
        status = 404 if isinstance(error, RunFolderError) else 409 if isinstance(error, OutputError) else 400
        return told(request, status, {"problem": error.problem, "cause": error.cause, "remedy": error.remedy})

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        problem = "There is no such page." if error.status_code == 404 else str(error.detail)
        return told(request, error.status_code, {"problem": problem, "cause": "", "remedy": ""})

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return told(
            request, 422, {"problem": f"The request cannot be understood: {faults}.", "cause": "", "remedy": ""}
        )

    @app.exception_handler(Exception)
    def fault(request: Request, error: Exception) -> Response:
        logging.getLogger("honed.studio").error("A fault in honed", exc_info=error)
        said = {
            "problem": f"A fault in honed: {type(error).__name__}.",
            "cause": "The terminal shows more.",
            "remedy": "",
        }
        return told(request, 500, said)

    return Guard(app, terms)
