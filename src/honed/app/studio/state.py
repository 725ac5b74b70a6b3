"""What one studio holds while it runs, and how its pages are made."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from honed.app.studio.fits import Fits
from honed.app.studio.review_queue import ReviewQueues
from honed.evidence.report import TEMPLATES, environment
from honed.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from jinja2 import Environment

    from honed.pipeline.playground import Playground

OWN = Path(__file__).parent
_N_LOADED = 2


class Playgrounds:
    """The specialists that were asked last, loaded, each with its base."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, Playground]] = OrderedDict()

    def open(self, run: RunFolder) -> Playground:
        """The playground of a run; loading it takes seconds, and a minute if its base's head must be fitted.

        Raises HonedError as `Playground` does.
        """
        from honed.pipeline.playground import Playground

        with self._lock:
            info = run.adapter / "honed.json"
            changed = info.stat().st_mtime_ns if info.exists() else 0
            kept = self._kept.get(str(run.path))
            if kept is None or kept[0] != changed:
                kept = (changed, Playground(run.path, device=self._device))
                self._kept[str(run.path)] = kept
            self._kept.move_to_end(str(run.path))
            while len(self._kept) > _N_LOADED:
                self._kept.popitem(last=False)
            return kept[1]


@dataclass(frozen=True)
class Studio:
    """root : the folder of runs.    data : the folder of tables that fits may be started with."""

    root: Path
    data: Path
    fits: Fits
    queues: ReviewQueues
    playgrounds: Playgrounds
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
