"""The report of a run that answers in words: one self-contained HTML page, made from the run folder alone.

The same page as for classes where both have the same to say, and the same content policy: whatever prompts, replies or
probes hold is text and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from honed.evidence.language_views import (
    forgetting_view,
    language_about,
    language_scores_view,
    language_verdict,
    length_view,
    pairs_view,
    probes_of,
    replies_view,
    safety_view,
)
from honed.evidence.reply_rate_views import reply_rates_view
from honed.evidence.reply_rates import ProbeReplies
from honed.evidence.reply_scores import Generations
from honed.evidence.report import TEMPLATES, content_hash, environment, run_title
from honed.evidence.report_data import issues_view, run_view
from honed.evidence.report_fit import curves_view
from honed.evidence.run_facts import read_run, write_text


def write_language_report(run: Path) -> Path:
    """Write `run/report.html` from the other files of the run folder; returns its path.

    Raises RunFolderError if a mandatory file is missing or any is truncated, OutputError if the page cannot be written.
    """
    return write_text(run / "report.html", render_language_report(run))


def render_language_report(run: Path) -> str:
    """The page as a string; the same folder always gives the same page.

    Raises RunFolderError or EvidenceError for a damaged folder.
    """
    facts = read_run(run)
    probes = probes_of(facts)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    sources = f"style-src '{content_hash(style)}'; script-src '{content_hash(script)}'"
    return (
        environment()
        .get_template("language_report.html.j2")
        .render(
            title=run_title(facts),
            run_name=run.resolve().name,
            policy=f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'",
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            verdict=language_verdict(facts),
            about=language_about(facts),
            scores=language_scores_view(facts),
            length=length_view(facts),
            safety=[safety_view(facts, probes, kind) for kind in ("harm", "benign")],
            probe_replies=reply_rates_view(facts, ProbeReplies.read(run)),
            forgetting=forgetting_view(facts),
            pairs=pairs_view(facts),
            replies=replies_view(Generations.read(run)),
            curves=curves_view(facts),
            issues=issues_view(facts),
            how=run_view(facts),
        )
    )
