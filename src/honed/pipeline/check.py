"""`honed check`: what is wrong with a file, before any training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from honed.bases import resolve
from honed.config import Config
from honed.data.folds import HOLDOUT
from honed.data.issue_table import IssueTable
from honed.data.personal.hit import Finder
from honed.data.personal_checks import personal_data
from honed.errors import BaseModelError, DataError, UsageError
from honed.pipeline.prepare import Prepared, make_plan, prepare


@dataclass(frozen=True)
class CheckedFile:
    """What `check` found.

    facts : as in `dataset.json`.    issues : every finding.
    fold_sizes : fold -> rows (-1: the holdout), or None if `infeasible` says why no folds can be made.
    not_run : a sentence for each check that could not run.
    """

    facts: dict[str, Any]
    issues: IssueTable
    fold_sizes: dict[int, int] | None
    infeasible: DataError | None
    not_run: tuple[str, ...]

    @property
    def is_usable(self) -> bool:
        """Whether `honed fit` would accept the file under the same flags."""
        return self.infeasible is None


def check(config: Config, *, needs_base: bool, finder: Finder | None = None) -> CheckedFile:
    """Check the data as `fit` would, without training.

    needs_base : whether a base that is not here is a fault; else the checks that need its tokenizer are left out.
    finder : finds personal data in place of the patterns alone.

    Raises DataError if the file cannot be read as labelled rows at all, UsageError for flags that do not fit it.
    """
    if not config.data:
        raise UsageError("No data were named.", remedy="`honed check FILE`.")
    not_run = []
    try:
        base = resolve(config.base, revision=config.revision)
    except BaseModelError as error:
        if needs_base:
            raise
        base = None
        not_run.append(f"Token lengths and preview: not run, because {error.problem} {error.remedy}".strip())
    prepared = prepare(config, base)
    if finder is not None:
        prepared = _with_personal_data(prepared, finder)
    sizes: dict[int, int] | None = None
    infeasible = None
    try:
        plan = make_plan(config, prepared.dataset)
        counts = Counter(plan.fold.tolist())
        sizes = {fold: counts[fold] for fold in (*range(plan.n_folds), HOLDOUT)}
    except DataError as error:
        infeasible = error
    return CheckedFile(prepared.facts, prepared.issues, sizes, infeasible, tuple(not_run))


def _with_personal_data(prepared: Prepared, finder: Finder) -> Prepared:
    """The findings with those of `finder` in place of what the patterns alone found."""
    found, summary = personal_data(prepared.dataset, finder)
    rest = [issue for issue in prepared.issues.issues() if issue.check != "personal_data"]
    issues = IssueTable.from_issues(rest + found)
    checks = {**prepared.facts["checks"], **summary, "counts": issues.counts()}
    return replace(prepared, issues=issues, facts={**prepared.facts, "checks": checks})
