"""Starting a fit, watching it, stopping it and going on with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from honed.app.studio.data_files import (
    columns_of,
    find_bases,
    find_table,
    find_tables,
    keep_upload,
    refuse_absolute,
)
from honed.app.studio.fit_form import fields_of, parts_of, settings_of
from honed.app.studio.run_list import find_runs
from honed.app.studio.state import Studio
from honed.errors import HonedError, UsageError

_CHUNK_BYTES = 1 << 20


def fit_routes(studio: Studio) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    def form_page(table: str, given: dict[str, str], error: HonedError | None = None, status: int = 200) -> Response:
        tables, columns = find_tables(studio.data), None
        try:
            if table:
                columns = columns_of(find_table(studio.data, table), given.get("learn", ""))
        except HonedError as fault:
            error, status = error or fault, 400
        context = {
            "tables": sorted(tables), "table": table, "columns": columns, "given": given, "error": error,
            "name": given.get("name") or studio.fits.free_name(Path(table).stem or "run"),
            "parts": parts_of(columns) if columns else {},
            "fields": fields_of(columns, find_bases(studio.data)) if columns else (),
        }  # fmt: skip
        return studio.page("new_fit.html.j2", context, status)

    @routes.get("/new")
    def choose(table: str = "", learn: str = "") -> Response:
        return form_page(table, {"learn": learn} if learn else {})

    @routes.post("/data")
    async def upload(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=1) as sent:
            file = sent.get("file")
            try:
                if not isinstance(file, UploadFile) or not file.filename:
                    raise UsageError("No file was chosen.", remedy="Choose one, then upload it.")
                name = await keep_upload(studio.data, file.filename, _chunks(file))
            except HonedError as error:
                return form_page("", {}, error, 400)
        return RedirectResponse(f"/new?table={name}", 303)

    @routes.post("/new")
    async def start(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=40) as sent:
            given = {name: value for name, value in sent.items() if isinstance(value, str)}

        def begin() -> Response:
            table = given.get("table", "")
            try:
                path = find_table(studio.data, table)
                columns = columns_of(path, given.get("learn", ""))
                settings = settings_of(given, columns, find_bases(studio.data))
                if settings.get("image"):
                    refuse_absolute(path, settings["image"])
                studio.fits.start(given.get("name", ""), {**settings, "data": str(path)})
            except HonedError as error:
                return form_page(table, given, error, 400)
            return RedirectResponse(f"/fits/{given['name']}", 303)

        return await run_in_threadpool(begin)

    @routes.get("/fits/{name:path}/status")
    def status(name: str) -> dict[str, Any]:
        return studio.fits.status(name) | {"has_run": name in find_runs(studio.root)}

    @routes.post("/fits/{name:path}/stop")
    def stop(name: str) -> Response:
        studio.fits.stop(name)
        return RedirectResponse(f"/fits/{name}", 303)

    @routes.post("/fits/{name:path}/resume")
    def resume(name: str) -> Response:
        studio.fits.resume(name)
        return RedirectResponse(f"/fits/{name}", 303)

    @routes.post("/fits/{name:path}/forget")
    def forget(name: str) -> Response:
        studio.fits.forget(name)
        return RedirectResponse("/", 303)

    @routes.get("/fits/{name:path}")
    def watch(name: str) -> Response:
        return studio.page("fit.html.j2", {"name": name, "status": status(name)})

    return routes


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK_BYTES):
        yield chunk
