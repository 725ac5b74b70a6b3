"""A studio in a process of its own, and a real Chromium that looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parent.parent
ARTIFACTS = REPO / "artifacts" / "studio"
"""Screenshots, kept for people to look at."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """The system's Chromium, or a skip that says that there is none."""
    pytest.importorskip("playwright", reason="NOT RUN: needs playwright (the extra dev)")
    pytest.importorskip("fastapi", reason="NOT RUN: needs pip install 'honed[studio]'")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"NOT RUN: needs a Chromium; there is none of {', '.join(CHROMIUM)} (Debian: chromium)")
    return found


@dataclass
class Server:
    """A running `honed studio`. url : with its secret.    place : without."""

    process: subprocess.Popen[str]
    url: str

    @property
    def place(self) -> str:
        return self.url.partition("/?")[0]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def studio(runs: Path, *more: str) -> Iterator[Server]:
    """Start one over `runs`; ended afterwards, with the fits that it started."""
    command = [sys.executable, "-m", "honed", "studio", str(runs), "--port", "0", "--device", "cpu", "--json", *more]
    environment = {**os.environ, "PYTHONPATH": str(REPO / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("}"):
                break
        try:
            yield Server(process, json.loads(said)["url"])
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=20)
            end_fits(runs)


def end_fits(runs: Path) -> None:
    """Fits outlive a studio; those of a test must not outlive the test."""
    from honed.app.studio.fits import Fits

    fits = Fits(runs)
    for name in fits.running():
        fits.stop(name)


@dataclass
class Watched:
    """A page, and all that it should not have done."""

    page: Any
    place: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.place}/", "data:")):
            self.faults.append(f"external request: {request.url}")

    def go(self, path: str) -> Any:
        self.page.goto(self.place + path)
        return self.page

    def shot(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)

    def is_accessible(self) -> None:
        """Labels, roles, contrast, landmarks: what axe-core finds must be nothing."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        told = [f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes'][:3]]}" for rule in found]
        assert not told, "\n".join(told)

    def fits_its_width(self) -> None:
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the page is {wide} pixels wider than the screen"


@contextlib.contextmanager
def watched(server: Server, **options: Any) -> Iterator[Watched]:
    """A fresh page that is signed in; at its end it must have made no error and no request elsewhere.

    options : of the browser's context, such as `viewport` and `color_scheme`.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        try:
            context = browser.new_context(**options)
            context.set_default_timeout(60_000)
            own = Watched(context.new_page(), server.place)
            own.page.goto(server.url)
            yield own
            assert own.faults == []
        finally:
            browser.close()
