"""The model card (README.md of the run folder), made from the run folder alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from honed.evidence.report_clinical import clinical_view
from honed.evidence.report_data import about_view, settings
from honed.evidence.report_fit import calibration_view
from honed.evidence.report_format import visible
from honed.evidence.report_labels import flagged_words
from honed.evidence.report_scores import scores_view, verdict_view
from honed.evidence.run_facts import RunFacts, read_run, write_text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_TRAINING = (
    "method",
    "method_options",
    "head",
    "layers",
    "depth",
    "max_tokens",
    "epochs",
    "batch_size",
    "learning_rate",
    "head_learning_rate",
    "folds",
    "holdout_frac",
    "stop_frac",
    "seed",
)
_READ = ("image_size", "image_fit", "views", "augment", "average_views")
_TRAINING_OF_IMAGES = tuple(own for name in _TRAINING for own in (_READ if name == "max_tokens" else (name,)))
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|$&~]|^[#+-])")


def write_card(run: Path) -> Path:
    """Write `run/README.md` from the other files of the run folder; returns its path.

    Raises RunFolderError if a mandatory file is missing or truncated, OutputError if the card cannot be written.
    """
    return write_text(run / "README.md", render_card(read_run(run)))


def render_card(facts: RunFacts) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads."""
    source = str(facts.dataset.get("source") or facts.config.get("data") or "data")
    base_id = base_id_of(facts)
    is_image = facts.config.get("task") == "image_classification"
    return (
        card_environment()
        .get_template("card.md.j2")
        .render(
            front_matter=front_matter(base_id, facts, "image-classification" if is_image else "text-classification"),
            kind="image" if is_image else "text",
            is_whole_base=facts.config.get("layers") in (None, "auto", "all"),
            title=source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1],
            run_name=facts.run.resolve().name,
            base_id=base_id,
            revision=str(facts.adapter.get("base_revision") or facts.adapter.get("revision") or ""),
            head=str(facts.adapter.get("head") or facts.config.get("head") or "unknown"),
            max_tokens=facts.adapter.get("max_tokens") or facts.config.get("max_tokens"),
            temperature=_temperature(facts),
            label_names=facts.label_names,
            verdict=verdict_view(facts),
            about=about_view(facts),
            flagged=flagged_words(facts),
            scores=scores_view(facts),
            clinical=clinical_view(facts),
            calibration=calibration_view(facts),
            training=settings(facts.config, _TRAINING_OF_IMAGES if is_image else _TRAINING),
        )
    )


def _temperature(facts: RunFacts) -> float:
    for source in (facts.adapter.get("temperature"), (facts.metrics.get("calibration") or {}).get("temperature")):
        if isinstance(source, int | float) and source > 0:
            return round(float(source), 6)
    return 1.0


def base_id_of(facts: RunFacts) -> str:
    """The id by which the world knows the base."""
    ids = [facts.adapter.get(key) for key in ("base_hub_id", "base_id", "base")]
    return str(next(filter(None, [*ids, facts.config.get("base")]), "unknown"))


def front_matter(base_id: str, facts: RunFacts, task: str) -> str:
    """The YAML that the Hugging Face hub reads. task : its name of the pipeline."""
    import yaml

    fields = {
        "library_name": "peft",
        "base_model": base_id,
        "pipeline_tag": task,
        "tags": ["honed", "peft", str(facts.config.get("method", "lora")), task],
    }
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text.rstrip()


def inline(text: object) -> str:
    """Foreign text for one line of Markdown: no mark-up, no HTML, no line break, nothing invisible."""
    flat = " ".join(visible(str(text)).split())
    return _MARKDOWN.sub(r"\\\1", flat).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def python_literal(text: object) -> str:
    """A Python string literal that is safe inside a fenced code block."""
    return ascii(str(text)).replace("`", "\\x60")


@cache
def card_environment() -> Environment:
    """Jinja for Markdown: it escapes nothing by itself, so templates pass every foreign value through `inline`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown, not HTML: every foreign value goes through `inline` or `python_literal` in the template
    env = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["inline"] = inline
    env.filters["literal"] = python_literal
    return env
