"""The socket and the secret of a studio, and the server over it."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import python_multipart  # noqa: F401 - what starlette reads forms with; missed now rather than at the first form
import uvicorn

from honed.app.studio.guard import Terms
from honed.app.studio.server import make_app
from honed.errors import UsageError

_GRACE_S = 3
_REQUEST_BYTES = 1_000_000  # of a form beside its file


@dataclass(frozen=True)
class Listening:
    """A bound socket.    url : the address to open, with the secret."""

    socket: socket.socket
    token: str
    url: str

    @property
    def cookie(self) -> str:
        """Of this port: two studios on one machine must not take each other's."""
        return f"honed_studio_{self.socket.getsockname()[1]}"


@dataclass(frozen=True)
class Limits:
    """hosts : names by which the studio may be called.    max_upload_bytes : of a table."""

    hosts: frozenset[str]
    max_upload_bytes: int


def listen(host: str, port: int) -> Listening:
    """Bind a socket, and make a secret.

    Raises UsageError if the address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()  # now: who comes before the pages are ready waits
    except OSError as error:
        bound.close()
        raise UsageError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}.", remedy="Take another --port; 0 is free."
        ) from error
    token = secrets.token_urlsafe(24)
    shown = f"[{host}]" if ":" in host else host
    return Listening(bound, token, f"http://{shown}:{bound.getsockname()[1]}/?token={token}")


def make_server(listening: Listening, root: Path, data: Path, limits: Limits, device: str) -> uvicorn.Server:
    """A server that is ready; run it with the socket. No address is logged: it may hold the secret."""
    import pyarrow.parquet  # noqa: F401 - now, and not when the first queue is opened

    terms = Terms(listening.token, limits.hosts, limits.max_upload_bytes + _REQUEST_BYTES, listening.cookie)
    config = uvicorn.Config(
        make_app(root, data, terms, device=device), log_level="warning", access_log=False, server_header=False,
        ws="none", lifespan="off", timeout_graceful_shutdown=_GRACE_S, timeout_keep_alive=30,
    )  # fmt: skip
    return uvicorn.Server(config)
