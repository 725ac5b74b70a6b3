"""A real `honed serve` in a process of its own, on loopback, and what its clients know and send."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import models as m
from honed.serving.engine import load_specialist

START_S = 120
TEXTS = m.toy_texts(8)[0]
OPTIONS: dict[str, dict[str, Any]] = {
    "a": {"rank": 4},
    "b": {"rank": 2, "n_classes": 5},
    "p": {"method": "prefix", "tokens": 3},
    "k": {"method": "bottleneck", "size": 4},
    "f": {"method": "full"},
    "secret": {"rank": 4},
}
"""Of the specialists in `made`, by name."""


@dataclass
class Server:
    """address : of the server.    said : the lines of its stderr."""

    process: subprocess.Popen[str]
    address: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def client(self, key: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(
            base_url=self.address, headers=headers, timeout=60, trust_env=False,
            verify=False,  # noqa: S501 - there is no TLS, and reading certificates takes longer than an answer
        )  # fmt: skip

    def raw(self, *parts: bytes, wait_s: float = 20) -> bytes:
        """Bytes as they are, and all that comes back until the server closes, or says nothing for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait_s) as connection:
            got = b""
            try:
                for part in parts:
                    connection.sendall(part)
                while chunk := connection.recv(65536):
                    got += chunk
                    if re.search(rb"content-length: (\d+)", got) and got.endswith(b"}"):
                        break
            except (TimeoutError, ConnectionError):
                pass
            return got

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def serving(*arguments: object) -> Iterator[Server]:
    """`honed serve ARGUMENTS` at a free port, ready to be asked."""
    process = subprocess.Popen(
        [sys.executable, "-m", "honed", "serve", *map(str, arguments), "--port", "0"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "400"},
    )  # fmt: skip
    server, listens = Server(process), threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            server.said.append(line.rstrip())
            if found := re.search(r"Listening at (http://\S+)", line):
                server.address = found[1]
                listens.set()
        listens.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        assert listens.wait(START_S) and server.address, f"it did not start: {server.said}"
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        thread.join()
        assert process.stderr is not None
        process.stderr.close()


@dataclass(frozen=True)
class House:
    """A server with keys over a store. own : a key for all but `secret`; other : a key for `secret` alone."""

    server: Server
    store: Path
    made: Path
    keys: Path
    own: str
    other: str

    def check_well(self) -> None:
        """It answers as it did at the start."""
        with self.server.client(self.own) as client:
            row = client.post("/v1/predict", json={"model": "a", "text": TEXTS[0]}).json()["predictions"][0]
        wanted = predicted(self.made / "a", TEXTS[0])
        assert list(row["probabilities"].values()) == pytest.approx(wanted, abs=1e-5)


@cache
def predicted(run: Path, *texts: str) -> Any:
    """What `honed predict` says: probabilities (n, c); (c,) of one text."""
    folder = run / "adapter"
    probs = load_specialist(folder, device="cpu").probabilities(texts)
    return probs[0].tolist() if len(texts) == 1 else np.asarray(probs)


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few kilobytes of its own claim."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (40_000).to_bytes(4, "big")
    rows = zlib.compress(b"\0" * 1_000_000)
    head = chunk(b"IHDR", size + size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
