"""The process that listens: threads, sockets, signals."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from dataclasses import dataclass
from typing import Any

import psutil
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from honed.errors import UsageError
from honed.serving.guard import LOOPBACK
from honed.serving.http import create_app
from honed.serving.service import Service

_LOG = logging.getLogger("honed.serving")
_HEADER_S = 10.0
_MOST_CONNECTIONS = 20_000


@dataclass(frozen=True)
class Listening:
    """host, port : to listen at; port 0 takes a free one.    drain_s : for open requests when it is told to stop."""

    host: str = "127.0.0.1"
    port: int = 8080
    drain_s: int = 30


def serve(service: Service, listening: Listening) -> None:
    """Listen until SIGTERM or Ctrl-C, then answer what is open and return.

    Raises UsageError if the address cannot be had, or is open to others and no keys are wanted.
    """
    if service.keys is None and listening.host not in LOOPBACK:
        raise UsageError(
            f"Without API keys this server listens to this machine alone, not at {listening.host}.",
            cause="Everybody who reaches the address could use every specialist.",
            remedy="`honed keys add NAME --keys keys.json`, then `honed serve ... --keys keys.json`.",
        )
    _allow_many_connections()
    _LOG.addHandler(logging.StreamHandler())
    hosts = LOOPBACK if service.keys is None else None
    config = uvicorn.Config(
        create_app(service, hosts=hosts), host=listening.host, port=listening.port, http=Connection, ws="none",
        lifespan="on", log_level="warning", access_log=False, server_header=False, timeout_keep_alive=15,
        timeout_graceful_shutdown=listening.drain_s, proxy_headers=False, backlog=4096,
    )  # fmt: skip
    try:
        socket = config.bind_socket()
    except (OSError, SystemExit) as error:
        raise UsageError(
            f"Nobody can listen at {listening.host}:{listening.port}.",
            cause=str(error)
            if isinstance(error, OSError)
            else "The port is taken, or the address is not this machine's.",
            remedy="Choose another --port.",
        ) from error
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again when all is answered: then it is obeyed
        signal.signal(number, lambda *_: None)
    asyncio.run(_Server(config).serve(sockets=[socket]))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        for socket in sockets or ():
            host, port = socket.getsockname()[:2]
            _LOG.warning("Listening at http://%s:%s", f"[{host}]" if ":" in host else host, port)


def choose_threads(n_threads: int | None) -> int:
    """Let torch use so many threads; None: one for each core that this process may use."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = n_threads or min(usable, psutil.cpu_count(logical=False) or usable)
    torch.set_num_threads(chosen)
    return chosen


class Connection(H11Protocol):
    """A connection that is closed if the head of a request does not come within ten seconds.

    Otherwise whoever opens many and says a letter a minute would keep all others out.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a head is whole; start it when the next one begins."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(_HEADER_S, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, _MOST_CONNECTIONS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
