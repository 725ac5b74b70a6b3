"""Who may speak to the studio, and from where: judged before any page is asked for.

- Host: a name that is not ours is refused, so that a foreign site cannot point its own name at this machine (DNS
  rebinding).
- Token: 192 random bits, made at each start; the address that is printed carries it once, then a cookie does.
- Origin: what changes something must come from a page of ours (CSRF).
- Size: a body is counted as it arrives, whatever it says of itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ARTIFACT_POLICY = "sandbox allow-scripts allow-popups; frame-ancestors 'self'"
"""Of pages that lie in a run folder: whoever made them, they have no origin, so no cookie and no request of ours."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_UNLESS_SAID = ((b"content-security-policy", POLICY.encode()), (b"cache-control", b"no-store"))


@dataclass(frozen=True)
class Terms:
    """token : the secret.    hosts : names by which the studio may be called.    max_body_bytes : of a request.

    cookie : its name; cookies of one machine are shared by all ports, so it should hold the port.
    """

    token: str
    hosts: frozenset[str]
    max_body_bytes: int
    cookie: str = "honed_studio"


class Guard:
    """ASGI middleware that lets a request through, or answers it with why not."""

    def __init__(self, app: ASGIApp, terms: Terms) -> None:
        self.app, self.terms = app, terms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no websockets here
        n_bytes = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self.terms.max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                unsaid = [header for header in _UNLESS_SAID if header[0] not in said]
                message["headers"] = [*message["headers"], *_HEADERS, *unsaid]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer: ASGIApp = self._answer(scope, headers) or self.app
        await answer(scope, counted, guarded)

    def _answer(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """Why a request goes no further; None if it may."""
        host = headers.get("host", "")
        if _name(host) not in self.terms.hosts:
            return _told(421, "This name is not the studio's. Use the address that `honed studio` printed.")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] == "GET" and any(name == "token" and self._is_token(value) for name, value in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            place = "/" + quote(scope["path"].lstrip("/\\"))  # two slashes would lead to another machine
            response = RedirectResponse(place + ("?" + rest if rest else ""), 303)
            response.set_cookie(self.terms.cookie, self.terms.token, httponly=True, samesite="strict")
            return response
        if not self._is_token(headers.get("authorization", "").removeprefix("Bearer ")):
            if not self._is_token(_cookie(headers.get("cookie", ""), self.terms.cookie)):
                return _told(401, "A token is needed. Open the address that `honed studio` printed at its start.")
            if scope["method"] not in ("GET", "HEAD") and not _is_own(headers, host):
                return _told(403, "This request did not come from a page of the studio; nothing was changed.")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.terms.max_body_bytes:
            return _told(413, self._too_large())
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.terms.token.encode())

    def _too_large(self) -> str:
        return f"More than {self.terms.max_body_bytes:,} bytes were sent; `honed studio --max-upload-mb` allows more."


def _told(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status)


def _name(host: str) -> str:
    """'[::1]:8000' -> '::1'; '' for what is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_own(headers: Mapping[str, str], host: str) -> bool:
    """Whether a page of ours made the request: the browser says so, and no page can make it say otherwise."""
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == host.lower()
    return headers.get("sec-fetch-site") == "same-origin"
