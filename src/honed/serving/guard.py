"""What stands before every route: sizes and times of requests, pages of other sites, headers of every response."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("honed.serving")
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)


@dataclass(frozen=True)
class HttpLimits:
    """body_bytes : of one request.    open_bytes : of the bodies of all requests at a time.    body_s : to send a body.

    n_requests : that are answered at a time.    n_inputs : times specialists, in one request.    n_chars : of a text.
    answer_s : until a request is given up.
    """

    body_bytes: int = 10 << 20
    open_bytes: int = 256 << 20
    body_s: float = 20.0
    n_requests: int = 1024
    n_inputs: int = 256
    n_chars: int = 20_000
    answer_s: float = 30.0


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request is answered with an error. must_close : what else comes over this connection is not wanted.

    field : of the request, that it lies at.
    """

    def __init__(
        self,
        status: int,
        problem: str,
        *,
        remedy: str = "",
        retry_after_s: int | None = None,
        must_close: bool = False,
        field: str | None = None,
    ) -> None:
        self.status, self.field, self.message = status, field, f"{problem} {remedy}".strip()
        self.body = {"error": {"problem": problem, "remedy": remedy}}
        self.headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
        if status == 401:
            self.headers["www-authenticate"] = "Bearer"
        if must_close:
            self.headers["connection"] = "close"
        super().__init__(problem)

    def response(self, path: str) -> JSONResponse:
        """As the client gets it who asked at `path`."""
        if path not in OPENAI_PATHS:
            return JSONResponse(self.body, self.status, self.headers)
        status = 400 if self.status == 422 else self.status
        return JSONResponse(openai_error(self), status, self.headers)


OPENAI_PATHS = frozenset(("/v1/chat/completions", "/v1/completions"))
"""Where errors are said as OpenAI says them."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def openai_error(refusal: Refused) -> dict[str, Any]:
    """A refusal as the body that clients of OpenAI's interface know."""
    other = "server_error" if refusal.status >= 500 else "invalid_request_error"
    kind, code = _TYPES.get(refusal.status, other), _CODES.get(refusal.status)
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.field, "code": code}}


class Guard:
    """ASGI middleware.

    hosts : names by which this server may be called, None: any. Without keys it is called by loopback names alone,
    lest a page elsewhere, whose name is made to point here, asks in the name of whoever looks at it.
    watch : is told the method, the path and the status of every response.
    """

    def __init__(
        self, app: ASGIApp, limits: HttpLimits, hosts: frozenset[str] | None, watch: Callable[[Scope, int], None]
    ) -> None:
        self.app, self.limits, self.hosts, self.watch = app, limits, hosts, watch
        self.n_open, self.open_bytes = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.watch(scope, int(message["status"]))
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        self.n_open += 1
        body = _Body(self, receive)
        try:
            self._check(scope)
            await self.app(scope, body.receive, sending)
        except Refused as refusal:
            await refusal.response(scope["path"])(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the client was told 500; a message could hold what it sent
            _LOG.error("%s %s failed: %s", scope["method"], scope["path"], type(error).__name__)
        finally:
            self.n_open -= 1
            self.open_bytes -= body.n_bytes

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Refused(403, f"This server is not called {_name(host)[:100]!r}.", remedy="Use http://localhost.")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "Pages of other sites may not ask this server.")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:20]) > self.limits.body_bytes:
            raise too_large(self.limits.body_bytes)
        if self.n_open > self.limits.n_requests:
            raise Refused(429, "The server is busy.", remedy="Try again soon.", retry_after_s=1, must_close=True)


class _Body:
    """Counts the bytes of one request and looks at the clock."""

    def __init__(self, guard: Guard, receive: Receive) -> None:
        self._guard, self._receive = guard, receive
        self._deadline: float | None = None
        self._is_whole = False
        self.n_bytes = 0

    async def receive(self) -> Message:
        """The next part.

        Raises Refused if the body is too large or too slow.
        """
        if self._is_whole:
            return await self._receive()  # waits for the client to go away
        limits, clock = self._guard.limits, asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = clock.time() + limits.body_s
        try:
            message = await asyncio.wait_for(self._receive(), self._deadline - clock.time())
        except TimeoutError:
            raise Refused(408, f"The request was not complete after {limits.body_s:g} s.", must_close=True) from None
        size = len(message.get("body", b""))
        self.n_bytes += size
        self._guard.open_bytes += size
        self._is_whole = not message.get("more_body", False)
        if self.n_bytes > limits.body_bytes:
            raise too_large(limits.body_bytes)
        if self._guard.open_bytes > limits.open_bytes:
            raise Refused(429, "The server is busy.", remedy="Try again soon.", retry_after_s=1, must_close=True)
        return message


def too_large(limit: int) -> Refused:
    """The answer to a body of more than `limit` bytes."""
    return Refused(413, f"The request has more than {limit:,} bytes.", remedy="Send less at a time.", must_close=True)


def _name(host: str) -> str:
    """The host name without its port; of `[::1]:80` what is in brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
