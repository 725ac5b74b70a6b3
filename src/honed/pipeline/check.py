"""`honed check`: what is wrong with a file, before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.bases import ResolvedBase, resolve
from honed.config import Config
from honed.data.folds import HOLDOUT, FoldPlan
from honed.data.issue_stream import IssueStream
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.readers import open_table, read_table
from honed.data.roles import resolve_roles
from honed.data.stored_rows import GUESS_ROWS
from honed.errors import BaseModelError, DataError, UsageError
from honed.events import Emitter, Listener
from honed.pipeline.assembly import conversation_reader
from honed.pipeline.check_stored import MAX_PLANNED_ROWS, check_stored
from honed.pipeline.conversations import (
    are_conversations,
    load_talk,
    prepare_conversations,
)
from honed.pipeline.prepare import EMBEDDED, Prepared, load, make_plan, prepare, roles_of, with_sample_checks
from honed.pipeline.settle import settled, with_task

if TYPE_CHECKING:
    import pyarrow as pa

# In memory a table takes about ten times its bytes: strings, cells, findings.
STREAM_FROM_BYTES = 32 << 20


@dataclass(frozen=True)
class CheckedFile:
    """What `check` found.

    facts : as in `dataset.json`.    issues : what each check found.
    fold_sizes : fold -> rows (-1: the holdout), or None if they were not made; `infeasible` says why none can be made.
    not_run : a sentence for each check that could not run.
    """

    facts: dict[str, Any]
    issues: IssueStream
    fold_sizes: dict[int, int] | None
    infeasible: DataError | None
    not_run: tuple[str, ...]

    @property
    def is_usable(self) -> bool:
        """Whether `honed fit` would accept the file under the same flags."""
        return self.infeasible is None


def check(
    config: Config,
    *,
    needs_base: bool,
    finder: Finder | None = None,
    out: Path | None = None,
    listeners: Sequence[Listener] = (),
) -> CheckedFile:
    """Check the data as `fit` would, without training. Files from `STREAM_FROM_BYTES` on are read in batches.

    needs_base : whether a base that is not here is a fault; else the checks that need its tokenizer are left out.
    finder : finds personal data in place of the patterns alone.        out : Parquet file for every finding.

    Raises DataError if the file cannot be read as labelled rows at all, UsageError for flags that do not fit it.
    """
    if not config.data:
        raise UsageError("No data were named.", remedy="`honed check FILE`.")
    emitter, finder = Emitter(tuple(listeners)), finder or find_personal_batch
    stream = None if config.data in EMBEDDED else open_table(config.data)
    not_run: list[str] = []
    sizes = infeasible = None
    plan_rows: Callable[[], FoldPlan | None]
    with IssueStream(out) as issues:
        head = None if stream is None else stream.head(GUESS_ROWS)
        prepared = None
        if head is not None and are_conversations(config, head):
            with emitter.stage("check", "Reading and checking the conversations"):
                prepared = _conversations(config, not_run, finder, needs_base=needs_base)
        elif stream and stream.n_bytes >= STREAM_FROM_BYTES and head is not None and not _names_images(head, config):
            base = _base(with_task(config, "text_classification"), not_run, needs_base=needs_base)
            stored = check_stored(config, base, stream, finder, issues.add, emitter)
            facts, plan_rows = stored.facts, stored.plan
        else:
            with emitter.stage("check", "Reading and checking the rows"):
                loaded = load(config)
                needs = needs_base or not loaded.roles.image  # images have no tokens
                base = _base(settled(config, loaded), not_run, needs_base=needs_base) if needs else None
                prepared = prepare(config, base, loaded, finder)
                prepared = with_sample_checks(prepared, prepared.dataset)  # no holdout is locked before a run
        if prepared is not None:
            facts, plan_rows = prepared.facts, partial(make_plan, config, prepared.dataset)
            for issue in prepared.issues.issues():
                issues.add(issue)
        try:
            if n_refused := facts["checks"].get("n_unreadable"):
                raise _refused(n_refused)
            plan = plan_rows()
        except DataError as error:
            infeasible = error
        else:
            if plan is None:
                not_run.append(
                    f"Sizes of the folds: not run, because {facts['n_used']:,} rows are more than {MAX_PLANNED_ROWS:,};"
                    " folds can be made, and `honed fit` makes them."
                )
            else:
                counts = Counter(plan.fold.tolist())
                sizes = {fold: counts[fold] for fold in (*range(plan.n_folds), HOLDOUT)}
        issues.finish()
        not_run += facts["checks"]["not_run"]
    return CheckedFile(facts, issues, sizes, infeasible, tuple(not_run))


def _conversations(config: Config, not_run: list[str], finder: Finder, *, needs_base: bool) -> Prepared:
    loaded = load_talk(config, read_table(config.data))
    config = settled(config, loaded)
    base = _base(config, not_run, needs_base=needs_base)
    reader = conversation_reader(base, config.max_tokens, config.train_on) if base else None
    return prepare_conversations(config, reader, loaded, finder)


def _refused(n_rows: int) -> DataError:
    return DataError(
        f"The chat template of the base refuses {n_rows} row{'s' if n_rows > 1 else ''}.",
        cause="See the finding template_refuses.",
        remedy="Mend or remove them, or use a base whose template takes them.",
    )


def _names_images(head: pa.Table, config: Config) -> bool:
    return resolve_roles(head, roles_of(config), require_label=True).roles.image is not None


def _base(config: Config, not_run: list[str], *, needs_base: bool) -> ResolvedBase | None:
    try:
        return resolve(config.base, revision=config.revision)
    except BaseModelError as error:
        if needs_base:
            raise
        not_run.append(f"Token lengths and preview: not run, because {error.problem} {error.remedy}".strip())
        return None
