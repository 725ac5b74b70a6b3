"""The checks that cost too much for every row of a large file: made on a bounded sample of whole groups."""

from __future__ import annotations

from honed.data.dataset import Dataset
from honed.data.group_hints import group_hints
from honed.data.issue_table import Issue
from honed.data.languages import languages
from honed.data.outliers import outliers
from honed.data.surface_traits import own_texts
from honed.data.trait_leaks import MAX_ROWS, trait_leaks

__all__ = ["MAX_ROWS", "sample_checks"]


def sample_checks(rows: Dataset, n_all: int | None = None) -> tuple[list[Issue], list[str]]:
    """Leaks of the label, groups that nobody named, rows unlike all others, languages; and what could not run.

    rows : with merged groups.    n_all : rows of the file, if these are a sample of them.
    """
    issues, not_run = trait_leaks(rows, n_all)
    issues += group_hints(rows)
    if own_texts(rows):
        found = languages(rows, n_all)
        issues += outliers(rows, n_all) + found.issues
        not_run += [found.not_run] if found.not_run else []
    return issues, not_run
