"""A studio over fabricated runs, asked without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from golden.make_run import RunOptions, make_run
from honed.evidence.report import write_report

TOKEN = "a-secret-that-nobody-knows"
HOST = "localhost"
MAX_BYTES = 200_000


def make_studio(root: Path, **names: RunOptions) -> Path:
    """A folder with a fabricated run for each name."""
    pytest.importorskip("fastapi", reason="NOT RUN: needs pip install 'honed[studio]'")
    root.mkdir(parents=True, exist_ok=True)
    for name, options in names.items():
        write_report(make_run(root / name, options))
    return root


def client(root: Path, **headers: str) -> Any:
    """Asks the studio over `root`, signed in, as a page of its own unless `headers` say otherwise."""
    from starlette.testclient import TestClient

    from honed.app.studio.guard import Terms
    from honed.app.studio.server import make_app

    terms = Terms(TOKEN, frozenset((HOST,)), MAX_BYTES)
    asked = TestClient(make_app(root, root / "data", terms), base_url=f"http://{HOST}", raise_server_exceptions=False)
    asked.headers.update({"cookie": f"{terms.cookie}={TOKEN}", "origin": f"http://{HOST}"} | headers)
    return asked
