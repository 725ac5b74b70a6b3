"""Leaks: does one trait of the rows, alone, tell their class? A cheap model on each trait answers, out of fold.

Only traits are judged here, never what a text means; nothing that is fitted here is kept or used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue
from honed.data.leak_words import leak_issue, marker_issue, row_order_issue
from honed.data.markers import find_markers
from honed.data.sampling import drawn, sample_groups
from honed.data.surface_traits import own_texts, surface_traits
from honed.data.trait_scores import TraitScore, judged_rows, score_trait
from honed.data.traits import Role, Trait, column_traits, measured_trait

MAX_ROWS = 12_000
MAX_COLUMNS = 200
FALSE_ALARMS = 0.01
"""Probability of any false alarm in a dataset without a leak: half of it for telling all classes, half for one."""
MIN_ROWS = 50
MIN_CLASS_GROUPS = 10
MIN_SKILL: dict[Role, float] = {"column": 0.1, "measured": 0.1, "order": 0.1, "surface": 0.15, "joined": 0.95}
"""How far above chance (0) towards perfection (1) a trait must stand to be worth telling.

Length, case and marks of real texts follow their subject a little (up to .12 on five real sets), so more is asked of
them; a joined column is there to tell the class, and is a leak only if it hardly errs.
"""
MIN_GAIN: dict[Role, float] = {"column": 0.35, "measured": 0.35, "order": 0.35, "surface": 0.5, "joined": 0.95}
"""Likewise for a trait that tells one class of several from the rest: recall less share of false alarms."""
_REPEATED_CHARACTERS = 20
_REPEATED_ROWS = 0.5
_RUNNING = 0.99


def trait_leaks(dataset: Dataset, n_all: int | None = None) -> tuple[list[Issue], list[str]]:
    """`label_giveaway`, `trait_leak` and `row_order`, worst first; and a sentence for what could not be judged.

    Judged are the columns that play no part, measured traits, the surface of the texts, and the order of the rows.

    dataset : its groups must be the merged ones, lest copies of a text stand on both sides of a fold. At most 12,000
        rows are used, whole groups of them, and the first 200 columns.
    n_all : rows of the file, if the dataset is already a sample of them.

    Promises: independent of the order of the rows (but for their `row` numbers, which are a trait).
    """
    labelled = dataset.take(np.flatnonzero(dataset.label >= 0))
    labelled = labelled.take(np.argsort(labelled.row, kind="stable"))  # their order in the file is a trait
    rows = _judgeable(labelled.take(sample_groups(labelled.group, MAX_ROWS)))
    if rows is None:
        few = f"it needs {MIN_ROWS} rows and two classes with {MIN_CLASS_GROUPS} groups each"
        return [], [f"Leaks of the label through a trait: not run, because {few}."]
    judged = judged_rows(rows)
    names = [*rows.columns, *rows.traits]
    not_run = []
    if len(names) > MAX_COLUMNS:
        not_run.append(f"Leaks through columns {names[MAX_COLUMNS]!r} and after: not run, {MAX_COLUMNS} are examined.")
    scores = [(trait, score_trait(trait, judged)) for trait in _traits(rows, names[:MAX_COLUMNS])]
    level = FALSE_ALARMS / 2 / len(scores)
    told = [(trait, score) for trait, score in scores if _is_leak(trait, score, level)]
    seen = drawn(len(rows), n_all or len(labelled))
    issues = [
        row_order_issue(rows, score, seen)
        if trait.role == "order"
        else leak_issue(trait, score, rows.label_names, seen)
        for trait, score in _most_telling(told)
    ]
    texts = own_texts(rows)
    markers = find_markers(texts, judged.label, judged.group, judged.n_classes) if texts else []
    issues += [marker_issue(marker, rows.label_names, seen) for marker in markers]
    return sorted(issues, key=lambda issue: (issue.score, issue.evidence)), not_run


def _judgeable(rows: Dataset) -> Dataset | None:
    """The rows of the classes with groups enough, these classes numbered anew; None if too few are left."""
    pairs = set(zip(rows.label.tolist(), rows.group.tolist(), strict=True))
    n_groups = np.bincount([label for label, _ in pairs], minlength=len(rows.label_names))
    kept = np.flatnonzero(n_groups >= MIN_CLASS_GROUPS)
    rows = rows.take(np.flatnonzero(np.isin(rows.label, kept)))
    if len(kept) < 2 or len(rows) < MIN_ROWS:
        return None
    names = tuple(rows.label_names[j] for j in kept)
    return replace(rows, label=np.searchsorted(kept, rows.label), label_names=names)


def _traits(rows: Dataset, names: Sequence[str]) -> list[Trait]:
    """Every trait of rows that stand in the order of the file."""
    texts = own_texts(rows)
    traits = surface_traits(texts) if texts else []
    for name in names:
        if name in rows.columns:
            traits += column_traits(name, rows.columns[name].tolist(), role="joined")
        elif rows.traits[name].dtype.kind == "f":
            traits.append(measured_trait(name, rows.traits[name]))
        elif not _repeats_text(rows.traits[name].tolist(), texts):
            traits += [trait for trait in column_traits(name, rows.traits[name].tolist()) if not _is_running(trait)]
    return [*traits, _order_trait(rows)]


def _order_trait(rows: Dataset) -> Trait:
    """(n, 2): the place of each row in the file, and the class of the nearest row before it of another group."""
    group, label = rows.group.tolist(), rows.label.tolist()
    before = np.full(len(label), -1.0)
    for i in range(1, len(label)):
        before[i] = before[i - 1] if group[i] == group[i - 1] else label[i - 1]
    return Trait("the order of the rows", np.column_stack([rows.row, before]), "order", "order")


def _is_running(trait: Trait) -> bool:
    """Whether a number rises or falls from row to row: it then says what the order of the rows says."""
    if trait.is_text or trait.values.shape[1:] != (1,):
        return False
    steps = np.diff(trait.values[:, 0])
    return bool(max((steps > 0).mean(), (steps < 0).mean()) > _RUNNING)


def _repeats_text(cells: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a column is the text once more: in lower case, or a longer or shorter version of it."""
    if not texts:
        return False
    n_same = 0
    for cell, text in zip(cells, texts, strict=True):
        a, b = cell.casefold().strip(), text.casefold().strip()
        n_same += a == b or (min(len(a), len(b)) >= _REPEATED_CHARACTERS and (a in b or b in a))
    return n_same > _REPEATED_ROWS * len(texts)


def _is_leak(trait: Trait, score: TraitScore, level: float) -> bool:
    if score.p <= level and score.skill >= MIN_SKILL[trait.role]:
        return True
    is_told = (score.class_p <= level / len(score.class_p)) & (score.gain >= MIN_GAIN[trait.role])
    return bool(is_told.any())


def _most_telling(told: Sequence[tuple[Trait, TraitScore]]) -> list[tuple[Trait, TraitScore]]:
    """Of the traits of one source (a column: its values, its gaps, the number inside) the one with the most skill.

    The simplest comes first, and wins unless another is clearly better: a column whose gaps alone tell the class is
    reported for its gaps.
    """
    best: dict[str, tuple[Trait, TraitScore]] = {}
    for trait, score in told:
        if trait.source not in best or score.skill > best[trait.source][1].skill + MIN_SKILL["column"]:
            best[trait.source] = (trait, score)
    return list(best.values())
