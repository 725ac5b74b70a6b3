"""The report and the card of a frozen run, word for word.

After a wanted change: `HONED_UPDATE_GOLDEN=1 pytest tests/golden/test_report_golden.py`, then read the diff.
"""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path

import pytest

from golden.make_run import RunOptions, make_run
from honed.evidence.card import write_card
from honed.evidence.language_card import write_language_card
from honed.evidence.language_report import write_language_report
from honed.evidence.report import write_report
from language_runs import LanguageRun, make_language_run

FROZEN = Path(__file__).parent / "frozen"


def words(html: str) -> str:
    """The page's text, one line for each element, drawings by their labels."""
    html = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(r'<svg[^>]*aria-label="([^"]*)".*?</svg>', r"[\1]", html, flags=re.DOTALL)
    lines = (" ".join(unescape(line).split()) for line in re.sub(r"<[^>]+>", "\n", html).split("\n"))
    return "\n".join(line for line in lines if line) + "\n"


@pytest.mark.parametrize("name", ["pass", "locked"])
def test_report_and_card_say_what_they_said(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "golden-run", RunOptions(n_rows=120, locked=name == "locked"))
    compare(
        {
            f"report_{name}.txt": words(write_report(run).read_text(encoding="utf-8")),
            f"card_{name}.md": write_card(run).read_text(encoding="utf-8"),
        }
    )


def compare(found: dict[str, str]) -> None:
    for file, text in found.items():
        if os.environ.get("HONED_UPDATE_GOLDEN"):
            FROZEN.mkdir(exist_ok=True)
            (FROZEN / file).write_text(text, encoding="utf-8")
        assert text == (FROZEN / file).read_text(encoding="utf-8"), f"{file} changed"


def test_language_report_and_card_say_what_they_said(tmp_path: Path) -> None:
    run = make_language_run(tmp_path / "golden-run", LanguageRun(drop=0.4))
    compare(
        {
            "language_report.txt": words(write_language_report(run).read_text(encoding="utf-8")),
            "language_card.md": write_language_card(run).read_text(encoding="utf-8"),
        }
    )
