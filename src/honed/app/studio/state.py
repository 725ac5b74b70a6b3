"""What one studio holds while it runs, and how its pages are made."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.responses import HTMLResponse

from honed.app.studio.fits import Fits
from honed.app.studio.review_queue import ReviewQueues
from honed.evidence.report import TEMPLATES, environment
from honed.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from jinja2 import Environment

    from honed.app.studio.chat import Chat
    from honed.pipeline.playground import Playground

OWN = Path(__file__).parent
Kept = TypeVar("Kept")


class Loaded(Generic[Kept]):
    """What was loaded last of the runs, kept as long as their artifacts stay as they are."""

    def __init__(self, load: Callable[[RunFolder], Kept], n_kept: int) -> None:
        self._load, self._n_kept = load, n_kept
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, Kept]] = OrderedDict()

    def open(self, run: RunFolder) -> Kept:
        """What is loaded of a run; loading takes seconds, and a minute if a base's head must be fitted.

        Raises HonedError as loading does.
        """
        with self._lock:
            info = run.adapter / "honed.json"
            changed = info.stat().st_mtime_ns if info.exists() else 0
            kept = self._kept.get(str(run.path))
            if kept is None or kept[0] != changed:
                kept = (changed, self._load(run))
                self._kept[str(run.path)] = kept
            self._kept.move_to_end(str(run.path))
            while len(self._kept) > self._n_kept:
                self._kept.popitem(last=False)
            return kept[1]


def playgrounds(device: str) -> Loaded[Playground]:
    """Specialists that classify, each with its base."""

    def load(run: RunFolder) -> Playground:
        from honed.pipeline.playground import Playground

        return Playground(run.path, device=device)

    return Loaded(load, 2)


def chats(device: str) -> Loaded[Chat]:
    """Specialists that write; one at a time, for they are large."""

    def load(run: RunFolder) -> Chat:
        from honed.app.studio.chat import Chat
        from honed.events import Emitter
        from honed.pipeline.language_predict import load_writer

        return Chat(load_writer(run.path, device=device, emitter=Emitter()))

    return Loaded(load, 1)


@dataclass(frozen=True)
class Studio:
    """root : the folder of runs.    data : the folder of tables that fits may be started with."""

    root: Path
    data: Path
    fits: Fits
    queues: ReviewQueues
    playgrounds: Loaded[Playground]
    chats: Loaded[Chat]
    version: str

    def page(self, template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
        """A page; whatever is printed in it is escaped, and what is invisible is shown."""
        shared = {"studio": self, "running": self.fits.running()}
        html = _environment().get_template(template).render({**shared, **context})
        return HTMLResponse(html, status)


@cache
def _environment() -> Environment:
    """The report's own, with the studio's templates beside the report's."""
    from urllib.parse import quote

    from jinja2 import FileSystemLoader

    made = environment().overlay(loader=FileSystemLoader([OWN / "templates", TEMPLATES]))
    made.filters["in_address"] = lambda name: quote(str(name))
    return made
