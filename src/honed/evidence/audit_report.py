"""The page of `honed audit`: one self-contained HTML file, readable without any script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from honed.evidence.audit_plot import noise_plot
from honed.evidence.audit_words import CAVEATS, WAYS, audit_rows, finder_rows, headline, noise_text, summary
from honed.evidence.report import TEMPLATES, content_hash, environment
from honed.evidence.report_format import percent, seconds
from honed.evidence.run_facts import write_text


def write_audit(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the page; the same figures always give the same page.

    Raises OutputError if it cannot be written; a previous page then stays as it was.
    """
    write_text(path, render_audit(figures))


def render_audit(figures: Mapping[str, Any]) -> str:
    """The page as a string. figures : what `audit.json` holds."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{content_hash(style)}'; base-uri 'none'; form-action 'none'"
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=str(figures["source"]).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1],
            policy=policy,
            style=Markup(style),  # noqa: S704 - our own file
            figures=figures,
            headline=headline(figures),
            summary=summary(figures),
            caveats=CAVEATS,
            noise=noise_text(figures),
            ways=WAYS,
            level=percent(figures["level"], 0),
            rows=audit_rows(figures),
            finder=finder_rows(figures),
            plot=noise_plot(figures),
            times=[(name, seconds(value)) for name, value in figures["timings_s"].items()],
            settings=[(name, str(value)) for name, value in figures["settings"].items() if value not in (None, "", {})],
        )
    )
