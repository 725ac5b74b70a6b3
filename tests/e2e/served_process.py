"""A real `honed serve` in a process of its own, on loopback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

START_S = 120


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
        return httpx.Client(base_url=self.address, headers=headers, timeout=60, trust_env=False)

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
