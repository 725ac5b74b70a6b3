"""What is said of a leak: how much the trait tells, and what that means for what the user is about to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.markers import Marker
from honed.data.personal.find import mask
from honed.data.trait_scores import TraitScore
from honed.data.traits import Trait

GIVEAWAY = 0.95
"""Skill from which a trait does not only hint at the label but gives it away."""
_LITTLE_SKILL = 0.1
"""Below it a trait is told for the one class that it finds."""
_BLOCK_ROWS = 20
_NAME_CHARACTERS = 40
_MEANING = {
    "column": "honed does not read it: --template may join it if it is known before the label is, else it must not.",
    "joined": "The template joins it to the text, so the model reads the answer: leave it out.",
    "surface": "Is that the nature of the classes, or how they were collected? The model can score by it.",
    "measured": "The model may learn it instead of what the input shows.",
}


def leak_issue(trait: Trait, score: TraitScore, label_names: Sequence[str], seen: str) -> Issue:
    """`label_giveaway` or `trait_leak` for one trait.

    seen : on how many rows it rests, as `sampling.drawn` says it.
    """
    name = trait.name[0].upper() + trait.name[1:]
    j = int(np.argmax(score.gain))
    told = f"alone reaches balanced accuracy {score.balanced_accuracy:.2f} where chance is {score.chance:.2f}"
    strength = max(score.skill, 0.0)
    if score.skill < _LITTLE_SKILL:
        told = (
            f"alone finds {score.recall[j]:.0%} of class {shorten(label_names[j], _NAME_CHARACTERS)!r} with"
            f" {score.false_alarm[j]:.1%} false alarms"
        )
        strength = float(score.gain[j])
    is_giveaway = score.skill >= GIVEAWAY
    if is_giveaway:
        told = f"gives the label away: it {told}"
    check = "label_giveaway" if is_giveaway else "trait_leak"
    return Issue(check, max(1 - strength, 0.0), "review", f"{name} {told}{seen}. {_MEANING[trait.role]}")


def marker_issue(marker: Marker, label_names: Sequence[str], seen: str) -> Issue:
    """`trait_leak` for a mark that stands in the texts of one class only."""
    place = {"first": "begins", "last": "ends", "anywhere": "stands in"}[marker.place]
    evidence = (
        f"{shorten(mask(marker.mark), _NAME_CHARACTERS)!r} {place} {marker.recall:.0%} of the texts of class"
        f" {shorten(label_names[marker.label], _NAME_CHARACTERS)!r}, and {marker.n - marker.n_class} others{seen}."
        " If a form or a script put it there, the model learns it instead of the text."
    )
    return Issue("trait_leak", 1 - marker.recall, "review", evidence)


def row_order_issue(rows: Dataset, score: TraitScore, seen: str) -> Issue:
    """`row_order`: what it means that the order of the rows tells their class.

    rows : in the order of the file.
    """
    n_blocks = 1 + int(np.count_nonzero(np.diff(rows.label)))
    if n_blocks * _BLOCK_ROWS <= len(rows):
        evidence = (
            f"Rows of one class stand together: {n_blocks:,} blocks in {len(rows):,} rows{seen}. honed's folds do not"
            " follow the order; a split that does would mislead, and a running number gives the class away."
        )
        return Issue("row_order", 0.9, "none", evidence)
    evidence = (
        "Its place in the file, or the class of the row before it, tells a row's class: balanced accuracy"
        f" {score.balanced_accuracy:.2f} where chance is {score.chance:.2f}{seen}. If rows came in batches or pairs,"
        " name these with --group."
    )
    return Issue("row_order", 1 - max(score.skill, 0.0), "review", evidence)
