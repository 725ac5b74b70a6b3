"""Fits that the studio starts: each a process of its own, which outlives the studio.

`.studio/fits` below the folder of runs holds, for each: `fit-NAME.order.json`, what the worker reads on its stdin;
`fit-NAME.events.jsonl`, what it says; `fit-NAME.stderr.txt`; and `fit-NAME.process.json`, by which it is found again.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from honed.app.studio.fit_progress import FitProgress
from honed.app.studio.run_list import OWN_FOLDER, find_run, find_runs
from honed.artifact import write_json
from honed.errors import OutputError, UsageError

FitState = Literal["running", "finished", "failed", "stopped", "unknown"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WORKER = (sys.executable, "-m", "honed.pipeline.worker")
_PATIENCE_S = 10.0
_SAME_S = 2.0
_LONGEST_TAIL = 2000


class Fits:
    """The fits of one folder of runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / OWN_FOLDER / "fits"
        self._lock = threading.Lock()
        self._progress: dict[str, FitProgress] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a new run called `name`. settings : of `Config`; all their faults are told before anything begins.

        Raises UsageError for a name or setting that cannot be, or if another fit is going on; OutputError if there is
        such a run.
        """
        from honed.config import make_config

        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a run.",
                remedy="Take up to 64 letters, digits, dots, dashes and underscores, first a letter or digit.",
            )
        make_config(settings)
        with self._lock:
            if (self.root / name).exists():
                raise OutputError(f"There is a {name!r} already.", remedy="Take another name.")
            self._begin(name, {"config": {**settings, "out": str(self.root / name)}})

    def resume(self, name: str) -> None:
        """Continue an interrupted run.

        Raises RunFolderError if there is none, UsageError if a fit is going on.
        """
        with self._lock:
            self._begin(name, {"resume": str(find_run(self.root, name).path)})

    def free_name(self, stem: str) -> str:
        """The first free name STEM-N for a run."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("-._")[:50] or "run"
        return next(name for i in itertools.count(1) if not (self.root / (name := f"{plain}-{i}")).exists())

    def stop(self, name: str) -> None:
        """End a fit; what was done is kept in its folder, and `resume` continues from it.

        Raises UsageError if it is not going on.
        """
        import psutil

        with self._lock:
            process = self._process(name)
            if process is None:
                raise UsageError(f"The fit {name!r} is not going on.", remedy="Load the page again.")
            write_json(self._file(name, "process.json"), {**self._record(name), "is_stopped": True})
            with suppress(psutil.NoSuchProcess):
                family = [*process.children(recursive=True), process]
                for member in family:
                    with suppress(psutil.NoSuchProcess):
                        member.terminate()
                _, alive = psutil.wait_procs(family, timeout=_PATIENCE_S)
                for member in alive:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()

    def forget(self, name: str) -> None:
        """Remove what is kept of a fit that has no run folder.

        Raises UsageError if it goes on, or has one.
        """
        with self._lock:
            if self._process(name) is not None or name in find_runs(self.root):
                raise UsageError(f"The fit {name!r} goes on, or left a run.", remedy="Load the page again.")
            for kind in ("order.json", "events.jsonl", "stderr.txt", "process.json"):
                self._file(name, kind).unlink(missing_ok=True)
            self._progress.pop(name, None)

    def running(self) -> list[str]:
        """The names of the fits that go on."""
        return [name for name in self._known() if self._process(name) is not None]

    def without_folder(self, runs: Container[str]) -> list[str]:
        """Fits that have no run folder yet, or never got one."""
        return [name for name in self._known() if name not in runs]

    def status(self, name: str) -> dict[str, Any]:
        """`state`, and what its events say.

        Raises RunFolderError if there is neither such a fit nor such a run.
        """
        run = find_runs(self.root).get(name)
        is_complete = run is not None and run.is_complete  # by whomever
        if not self._file(name, "process.json").exists():
            progress = FitProgress(find_run(self.root, name).events)
            progress.catch_up()
            return {"state": "finished" if is_complete else "unknown", **progress.to_json()}
        is_running = self._process(name) is not None  # asked first: what it says at its end must not be missed
        with self._lock:
            progress = self._progress.setdefault(name, FitProgress(self._file(name, "events.jsonl")))
            progress.catch_up()
        state: FitState = "failed"
        if is_running:  # also while it is ending: until then no other can begin
            state = "running"
        elif is_complete or "done" in progress.result:
            state = "finished"
        elif "error" not in progress.result and self._record(name).get("is_stopped"):
            state = "stopped"
        told = progress.to_json() | {"state": state}
        if state == "failed" and "error" not in progress.result:
            told["result"] = {"error": self._death(name)}
        return told

    def _begin(self, name: str, order: Mapping[str, Any]) -> None:
        import psutil

        if others := self.running():
            raise UsageError(
                f"The fit {others[0]!r} is going on.", cause="One at a time: each takes what the machine has.",
                remedy="Wait for it, or stop it.",
            )  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._file(name, "order.json"), dict(order))
            with (
                self._file(name, "order.json").open("rb") as said,
                self._file(name, "events.jsonl").open("wb") as events,
                self._file(name, "stderr.txt").open("wb") as faults,
            ):
                child = subprocess.Popen(WORKER, stdin=said, stdout=events, stderr=faults, start_new_session=True)
            self._children[name] = child
            self._progress.pop(name, None)
            born_s = psutil.Process(child.pid).create_time()
            write_json(self._file(name, "process.json"), {"pid": child.pid, "born_s": born_s, "is_stopped": False})
        except OSError as error:
            raise OutputError(f"The fit could not be started: {error}.", remedy="Free some space.") from error

    def _process(self, name: str) -> Any:
        """The living process of a fit, as psutil knows it; None if there is none."""
        import psutil

        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            return None
        record = self._record(name)
        with suppress(psutil.Error, KeyError, TypeError, ValueError):
            process = psutil.Process(int(record["pid"]))
            is_it = abs(process.create_time() - record["born_s"]) < _SAME_S  # the clock may have been set since
            if is_it and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _death(self, name: str) -> dict[str, str]:
        """What is known of a process that ended without a word."""
        try:
            tail = self._file(name, "stderr.txt").read_text(encoding="utf-8", errors="replace")[-_LONGEST_TAIL:]
        except OSError:
            tail = ""
        return {
            "problem": "The process ended without saying why.",
            "cause": tail.strip() or "It was killed, most often because the memory was used up.",
            "remedy": "Resume it; if that happens again, a smaller depth or batch size needs less memory.",
        }

    def _record(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._file(name, "process.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def _known(self) -> list[str]:
        suffix = ".process.json"
        found = (path.name.removeprefix("fit-").removesuffix(suffix) for path in self.folder.glob(f"fit-*{suffix}"))
        return sorted(map(unquote, found))

    def _file(self, name: str, kind: str) -> Path:
        """A file of one fit. The name is quoted: it holds no slash, and cannot lead elsewhere."""
        return self.folder / f"fit-{quote(name, safe='')}.{kind}"
