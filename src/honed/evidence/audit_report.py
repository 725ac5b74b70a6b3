"""The page of `honed audit`: one self-contained HTML file without any script, made from audit.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from honed.evidence.audit_plots import noise_plot
from honed.evidence.audit_words import COLUMNS, audit_rows, finder_rows, headline, not_said, summary
from honed.evidence.report import TEMPLATES, content_hash, environment
from honed.evidence.report_format import NOT_RUN, percent, seconds

_NOISE = {
    "uniform": "each to any other class",
    "confusion": "each to a class that a small model takes for the right one, as a tired person would",
}
_WAYS = {
    "drop": "flagged rows are left out",
    "weight": "every row counts as much as its label is likely",
    "relabel": "flagged rows take the suggested class",
}


def render_audit(figures: Mapping[str, Any]) -> str:
    """The page as a string; the same figures always give the same page."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=str(figures["source"]).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1],
            policy=f"default-src 'none'; style-src '{content_hash(style)}'; base-uri 'none'; form-action 'none'",
            style=Markup(style),  # noqa: S704 - our own file
            figures=figures,
            level=percent(figures["level"], 0),
            headline=headline(figures),
            ways={name: told for name, told in _WAYS.items() if name in figures["rates"][0]["arms"]},
            noise=_NOISE[figures["noise"]],
            summary=summary(figures),
            not_said=not_said(figures),
            columns=COLUMNS,
            rows=audit_rows(figures),
            found=finder_rows(figures),
            not_run=NOT_RUN,
            plot=noise_plot(figures),
            settings=[(name, str(value)) for name, value in figures["settings"].items() if value not in (None, "", {})],
            took=seconds(sum(figures["timings_s"].values())),
        )
    )
