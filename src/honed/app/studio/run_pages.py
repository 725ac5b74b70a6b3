"""Pages about runs that are there: the list, side by side, one run, and what lies in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from honed.app.studio.guard import ARTIFACT_POLICY
from honed.app.studio.pictures import picture_of
from honed.app.studio.run_list import FIGURES, RunCard, find_comparisons, find_run, list_runs, read_card
from honed.app.studio.state import Studio
from honed.errors import EvidenceError, RunFolderError
from honed.evidence.comparison_report import comparison_rows
from honed.evidence.language_views import language_verdict, probes_of, safety_view
from honed.evidence.report_format import bytes_text, count, seconds
from honed.evidence.report_scores import verdict_view
from honed.evidence.run_facts import read_run

MOST_COMPARED = 12


def run_routes(studio: Studio) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    @routes.get("/")
    def runs() -> Response:
        cards = list_runs(studio.root)
        pending = studio.fits.without_folder({card.name for card in cards})
        return studio.page(
            "runs.html.j2", {"cards": cards, "comparisons": find_comparisons(studio.root), "pending": pending}
        )

    @routes.get("/compare")
    def compare(run: Annotated[list[str] | None, Query()] = None) -> Response:
        names = list(dict.fromkeys(run or []))[:MOST_COMPARED]
        cards = [read_card(name, find_run(studio.root, name)) for name in names]
        finished = {card.name: card.run for card in cards if card.state == "finished"}
        comparison, not_run = None, ""
        try:
            if len(finished) < 2:
                raise EvidenceError("two finished runs are needed.")
            from honed.pipeline.side_by_side import side_by_side

            comparison = side_by_side(finished)
        except (EvidenceError, RunFolderError) as error:
            not_run = f"not run, because {error}"
        known = [key for key in FIGURES if any(card.figure("out_of_fold", key).value is not None for card in cards)]
        context = {
            "cards": cards, "metrics": [FIGURES[key] for key in known], "comparison": comparison, "not_run": not_run,
            "rows": comparison_rows(comparison) if comparison else [],
            "facts": {card.name: _facts(card.metrics) for card in cards},
        }  # fmt: skip
        return studio.page("compare_runs.html.j2", context)

    @routes.get("/comparisons/{name}")
    def comparison_page(name: str) -> Response:
        page = find_comparisons(studio.root).get(name)
        if page is None:
            raise RunFolderError(f"There is no comparison {name!r} here.")
        return FileResponse(page, headers={"content-security-policy": ARTIFACT_POLICY})

    @routes.get("/runs/{name:path}/report")
    def report(name: str) -> Response:
        return _artifact(find_run(studio.root, name).report)

    @routes.get("/runs/{name:path}/attention")
    def attention(name: str) -> Response:
        return _artifact(find_run(studio.root, name).attention / "attention.html")

    @routes.get("/runs/{name:path}/picture")
    def picture(name: str, example_id: str) -> Response:
        run = find_run(studio.root, name)
        cell = studio.queues.open(run).text_of(example_id)
        return Response(picture_of(run, cell or ""), media_type="image/jpeg")

    return routes


def run_page(studio: Studio) -> APIRouter:
    """The page of one run: last, because its address is the beginning of all others."""
    routes = APIRouter()

    @routes.get("/runs/{name:path}")
    def one(name: str) -> Response:
        card = read_card(name, find_run(studio.root, name))
        context: dict[str, Any] = {"card": card, "verdict": None, "facts": _facts(card.metrics)}
        if card.state == "finished":
            context |= _judged(card)
            context["has_attention"] = (card.run.attention / "attention.html").is_file()
            context["has_labels"] = card.run.labels.is_file()
        return studio.page("run_overview.html.j2", context)

    return routes


def _artifact(path: Path) -> Response:
    if not path.is_file():
        raise RunFolderError(f"This run has no {path.name}.")
    return FileResponse(path, headers={"content-security-policy": ARTIFACT_POLICY})


def _judged(card: RunCard) -> dict[str, Any]:
    """The verdict; of a specialist that writes also the safety probes whose margin fell most."""
    facts = read_run(card.run.path)
    if not card.is_language:
        return {"verdict": verdict_view(facts), "safety": None}
    return {"verdict": language_verdict(facts), "safety": safety_view(facts, probes_of(facts), "harm")}


def _facts(metrics: dict[str, Any]) -> dict[str, str]:
    """What a run cost, as text; only what is known."""
    timings, parameters = metrics.get("timings_s") or {}, metrics.get("parameters") or {}
    memory = (metrics.get("memory") or {}).get("peak_rss_bytes")
    told = {
        "Trained parameters": count(parameters["trained"]) if "trained" in parameters else "",
        "Time in all": seconds(sum(timings.values())) if timings else "",
        "Peak memory": bytes_text(memory) if memory else "",
    }
    return {name: text for name, text in told.items() if text}
