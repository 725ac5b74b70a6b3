"""The description of the interface: what routes say of their errors, and a page that asks no other server."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_MEANING = {
    400: "the body cannot be read",
    401: "no valid API key",
    403: "the key does not open this",
    404: "no such specialist",
    408: "the body came too slowly",
    413: "more than the server takes",
    415: "neither JSON nor a form",
    422: "fields or an input that cannot be used",
    429: "too much at a time; see Retry-After",
    500: "the specialist gave no finite answer",
    503: "not to be served at present",
    504: "no answer in time",
}


class ErrorBody(BaseModel):
    """What went wrong, and what to do."""

    problem: str
    remedy: str


class ErrorResponse(BaseModel):
    """Every answer but 200."""

    error: ErrorBody


class OpenAiErrorBody(BaseModel):
    """What went wrong, as OpenAI's interface says it. param : the field that it lies at."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiErrorResponse(BaseModel):
    """Every answer but 200 of the routes of OpenAI's interface."""

    error: OpenAiErrorBody


def error_responses(*statuses: int, shape: type[BaseModel] = ErrorResponse) -> dict[int | str, dict[str, Any]]:
    """What a route says of its errors."""
    return {status: {"model": shape, "description": _MEANING[status]} for status in statuses}


def page(schema: Mapping[str, Any]) -> str:
    """The interface as one page: no script, no other address."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(route.get('summary', ''))}. {html.escape(route.get('description', ''))}</p>")
            for kind, content in route.get("requestBody", {}).get("content", {}).items():
                parts.append(_folded(f"Body, {kind}", content["schema"]))
            rows = "".join(
                f"<tr><td>{html.escape(status)}</td><td>{html.escape(answer.get('description', ''))}</td></tr>"
                for status, answer in route["responses"].items()
            )
            parts.append(f"<table><caption>Answers</caption><tr><th>Status</th><th>Meaning</th></tr>{rows}</table>")
    parts.append("<h2>Shapes</h2>")
    parts += [_folded(name, shape) for name, shape in schema.get("components", {}).get("schemas", {}).items()]
    return _PAGE.format(title=html.escape(schema["info"]["title"]), body="\n".join(parts))


def _folded(name: str, shape: Any) -> str:
    text = html.escape(json.dumps(shape, indent=2))
    return f"<details><summary>{html.escape(name)}</summary><pre>{text}</pre></details>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ margin-top: 2.5rem; font-size: 1.1rem; }}
pre {{ overflow-x: auto; padding: .75rem; border: 1px solid; }}
table {{ border-collapse: collapse; margin-top: 1rem; }} caption {{ text-align: left; font-weight: 600; }}
td, th {{ border-bottom: 1px solid; padding: .2rem 1rem .2rem 0; text-align: left; }}
</style></head><body><h1>{title}</h1>
<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>
{body}
</body></html>
"""
