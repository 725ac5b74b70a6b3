"""The label review queue in the browser: one page, and the answers that its script asks for."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import RedirectResponse, Response

from honed.app.studio.decision_journal import Reviewed
from honed.app.studio.review_queue import Choice, Show
from honed.app.studio.run_list import find_run, read_card
from honed.app.studio.state import Studio
from honed.errors import UsageError
from honed.evidence.report_format import visible
from honed.pipeline.output_file import write_output

DECISION_FILE = "decisions.csv"


class Decided(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid")

    example_id: str
    decision: str
    label: int = -1


def review_routes(studio: Studio) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    @routes.get("/runs/{name:path}/review")
    def review(name: str) -> Response:
        run = find_run(studio.root, name)
        return studio.page("review.html.j2", {"card": read_card(name, run), "facts": facts(name)})

    @routes.get("/runs/{name:path}/review/facts")
    def facts(name: str) -> dict[str, Any]:
        return studio.queues.open(find_run(studio.root, name)).facts()

    @routes.get("/runs/{name:path}/review/rows")
    def rows(name: str, show: Show = "flagged", given: int = -1, start: int = 0, n: int = 100) -> dict[str, Any]:
        return studio.queues.open(find_run(studio.root, name)).page(Choice(show, given), start, n)

    @routes.get("/runs/{name:path}/review/next")
    def next_undecided(name: str, show: Show = "flagged", given: int = -1, after: int = -1) -> dict[str, Any]:
        queue = studio.queues.open(find_run(studio.root, name))
        return {"place": queue.next_undecided(Choice(show, given), after)}

    @routes.post("/runs/{name:path}/review/decide")
    def decide(name: str, decided: Decided) -> dict[str, Any]:
        queue = studio.queues.open(find_run(studio.root, name))
        kept = queue.decide(decided.example_id, decided.decision, decided.label)
        return _said(decided.example_id, kept, len(queue.journal.current()))

    @routes.post("/runs/{name:path}/review/undo")
    def undo(name: str) -> dict[str, Any]:
        journal = studio.queues.open(find_run(studio.root, name)).journal
        example_id = journal.undo()
        current = journal.current()
        return _said(example_id, current.get(example_id or "", Reviewed("")), len(current))

    @routes.get("/runs/{name:path}/decisions.csv")
    def export(name: str) -> Response:
        data = studio.queues.open(find_run(studio.root, name)).export()
        headers = {"content-disposition": f'attachment; filename="{DECISION_FILE}"'}
        return Response(data, media_type="text/csv; charset=utf-8", headers=headers)

    @routes.post("/runs/{name:path}/refit")
    def refit(name: str) -> Response:
        """Fit again, as the run was configured, with what was decided."""
        from honed.config import read_config

        run = find_run(studio.root, name)
        file, queue = run.path / DECISION_FILE, studio.queues.open(run)
        if not queue.journal.current():
            raise UsageError("Nothing is decided yet.", remedy="Decide about some labels first.")
        write_output(file, queue.export())
        new = studio.fits.free_name(name.replace("/", "-"))
        studio.fits.start(new, {**read_config(run.config), "decisions": str(file)})
        return RedirectResponse(f"/fits/{new}", 303)

    return routes


def _said(example_id: str | None, reviewed: Reviewed, n_decided: int) -> dict[str, Any]:
    shown = {"decision": reviewed.decision, "new_label": visible(reviewed.new_label)}
    return {"example_id": example_id, **shown, "n_decided": n_decided}
