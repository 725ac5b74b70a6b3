"""The report: one self-contained HTML page, made from the run folder alone.

Its content security policy allows exactly one style sheet and one script, both by hash, the thumbnails that the page
itself holds, and nothing else; whatever the data hold is escaped, and invisible characters are shown. So a hostile text
can neither run, nor load, nor reorder anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from honed.evidence.report_attention import attention_view
from honed.evidence.report_choice import choice_view
from honed.evidence.report_classes import classes_view, confusion_view
from honed.evidence.report_clinical import clinical_view
from honed.evidence.report_data import about_view, issues_view, mistakes_view, run_view
from honed.evidence.report_fit import calibration_view, curves_view
from honed.evidence.report_format import count, visible
from honed.evidence.report_labels import labels_view
from honed.evidence.report_scores import differences_view, scores_view, shown_metrics, verdict_view
from honed.evidence.report_trials import trials_view
from honed.evidence.run_facts import RunFacts, read_run, write_text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Path) -> Path:
    """Write `run/report.html` from the other files of the run folder; the same folder always gives the same page.

    Returns its path. Raises RunFolderError if a mandatory file is missing or truncated, OutputError if the page cannot
    be written; a previous page then stays as it was.
    """
    return write_text(run / "report.html", render_report(read_run(run)))


def render_report(facts: RunFacts) -> str:
    """The page as a string."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    sources = f"style-src '{content_hash(style)}'; script-src '{content_hash(script)}'"
    if facts.thumbnails:
        sources += "; img-src data:"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=run_title(facts),
            run_name=facts.run.resolve().name,
            policy=policy,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            verdict=verdict_view(facts),
            about=about_view(facts),
            scores=scores_view(facts),
            differences=differences_view(facts),
            clinical=clinical_view(facts),
            classes=classes_view(facts),
            confusion=confusion_view(facts),
            calibration=calibration_view(facts),
            curves=curves_view(facts),
            choice=choice_view(facts.run),
            trials=trials_view(facts),
            mistakes=mistakes_view(facts),
            labels=labels_view(facts),
            attention=attention_view(facts.run),
            issues=issues_view(facts),
            how=run_view(facts),
            metrics=shown_metrics(facts),
        )
    )


@cache
def environment() -> Environment:
    """Jinja with autoescape, and with every printed value passed through `visible` first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def finalize(value: object) -> object:
        return value if isinstance(value, Markup) or value is None else visible(str(value))

    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["count"] = count
    env.filters["code_spans"] = _code_spans
    return env


def _code_spans(text: object) -> Markup:
    """Escaped text in which `a command` between backticks is set as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(visible(str(text))))))  # noqa: S704 - escaped


def run_title(facts: RunFacts) -> str:
    """The name of the data, without its folders."""
    source = str(facts.dataset.get("source") or facts.config.get("data") or facts.run.resolve().name)
    return source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def content_hash(text: str) -> str:
    """The hash by which a page's content policy admits its own style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
