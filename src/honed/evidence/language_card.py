"""The model card (README.md of the run folder) of a specialist that answers in words."""

from __future__ import annotations

from pathlib import Path

from honed.evidence.card import base_id_of, card_environment, front_matter
from honed.evidence.language_views import (
    forgetting_view,
    language_about,
    language_scores_view,
    language_verdict,
    probes_of,
    safety_view,
    training_view,
)
from honed.evidence.report import run_title
from honed.evidence.run_facts import RunFacts, read_run, write_text


def write_language_card(run: Path) -> Path:
    """Write `run/README.md` from the other files of the run folder; returns its path.

    Raises RunFolderError if a mandatory file is missing or any is truncated, OutputError if the card cannot be written.
    """
    return write_text(run / "README.md", render_language_card(read_run(run)))


def render_language_card(facts: RunFacts) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads."""
    base_id, probes = base_id_of(facts), probes_of(facts)
    return (
        card_environment()
        .get_template("language_card.md.j2")
        .render(
            front_matter=front_matter(base_id, facts, "text-generation"),
            title=run_title(facts),
            base_id=base_id,
            verdict=language_verdict(facts),
            about=language_about(facts),
            scores=language_scores_view(facts),
            safety=[safety_view(facts, probes, kind) for kind in ("harm", "benign")],
            forgetting=forgetting_view(facts),
            training=training_view(facts),
            max_tokens=facts.adapter.get("max_tokens") or facts.config.get("max_tokens"),
        )
    )
