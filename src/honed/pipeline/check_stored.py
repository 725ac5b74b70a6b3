"""`honed check` of a table that is larger than memory: the checks of `fit`, on rows that stay on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from honed.bases import ResolvedBase
from honed.config import Config
from honed.data.checks import CheckedRows, CheckSettings, check_rows
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan, check_parts
from honed.data.issue_table import Issue
from honed.data.personal.hit import Finder
from honed.data.readers import open_table
from honed.data.sample_checks import MAX_ROWS, sample_checks
from honed.data.stored_rows import StoredRows, regrouped, store_rows, stream_texts, streamed_fingerprint
from honed.data.table_stream import TableStream
from honed.events import Emitter
from honed.pipeline.prepare import make_plan, roles_of, text_tokenizer

# Folds of more rows are not made just to tell their sizes: ten seconds and a gigabyte for each million.
MAX_PLANNED_ROWS = 200_000


@dataclass(frozen=True)
class StoredCheck:
    """facts : as in `dataset.json`.

    plan : makes the folds; None if there are more than `MAX_PLANNED_ROWS` rows, for which folds can be made. Raises
        DataError if they cannot.
    """

    facts: dict[str, Any]
    plan: Callable[[], FoldPlan | None]


def check_stored(
    config: Config,
    base: ResolvedBase | None,
    stream: TableStream,
    finder: Finder,
    tell: Callable[[Issue], None],
    emitter: Emitter,
) -> StoredCheck:
    """Check the rows of a stream as `prepare` checks those of a table; `tell` hears each finding."""
    with emitter.stage("read", "Reading the rows"):
        stored = store_rows(stream, roles_of(config), emitter, finder)
    in_columns = stored.personal.issues(stored.unread)
    for issue in chain(stored.left_out(), in_columns):
        tell(issue)
    rows = stored.rows
    test_texts = stream_texts(open_table(config.test_file), roles_of(config)) if config.test_file else None
    settings = CheckSettings(config.folds, text_tokenizer(base, config.max_tokens), test_texts, finder)
    checked = check_rows(rows, settings, tell, emitter)
    with emitter.stage("sample", "Looking for leaks, groups, outliers and languages in a sample"):
        found, not_run = sample_checks(rows.sample(MAX_ROWS, checked.group, checked.bearer), len(rows))
        for issue in found:
            tell(issue)
    counts = Counter(checked.summary["counts"]) + Counter(issue.check for issue in (*in_columns, *found))
    with emitter.stage("fingerprint", "Taking the fingerprint of the rows"):
        fingerprint = streamed_fingerprint(regrouped(rows, checked.bearer), len(rows))
    facts = {
        "source": config.data,
        "n_rows": stored.n_rows,
        "n_used": len(rows),
        "fingerprint": fingerprint,
        "roles": vars(stored.roles),
        "label_names": list(rows.label_names),
        "class_counts": checked.summary["class_counts"],
        "n_groups": checked.summary["n_groups"],
        "checks": {
            **checked.summary,
            "personal_columns": stored.personal.summary(stored.unread),
            "counts": dict(sorted(counts.items())),
            "not_run": not_run,
        },
        "notes": list(stored.notices),
    }
    return StoredCheck(facts, partial(_plan, config, rows, checked))


def _plan(config: Config, rows: StoredRows, checked: CheckedRows) -> FoldPlan | None:
    if len(rows) <= MAX_PLANNED_ROWS:
        return make_plan(config, _without_texts(rows, checked))
    check_parts(rows, checked.group, folds=config.folds, holdout_frac=config.holdout_frac, stop_frac=config.stop_frac)
    return None


def _without_texts(rows: StoredRows, checked: CheckedRows) -> Dataset:
    """All that the folds depend on."""
    batches = [replace(batch, inputs=[]) for batch in regrouped(rows, checked.bearer)]
    return Dataset(
        example_id=np.concatenate([batch.example_id for batch in batches]),
        inputs=[""] * len(rows),
        label=rows.label,
        group=np.concatenate([batch.group for batch in batches]),
        label_names=rows.label_names,
        row=rows.row,
    )
