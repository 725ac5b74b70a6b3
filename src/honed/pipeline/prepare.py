"""From the user's file to a checked dataset, a fold plan and the rows that training may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.bases import ResolvedBase, load_tokenizer
from honed.config import Config
from honed.data.checks import CheckSettings, check_dataset
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan, plan_folds
from honed.data.image_checks import image_checks
from honed.data.issue_table import IssueTable
from honed.data.loading import LoadedData, load_dataset
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.personal_columns import PersonalColumns
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.data.sample_checks import sample_checks
from honed.data.tables import write_parquet
from honed.data.token_checks import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa

DEMO_DATA, REPLY_DATA = "demo:licences", "probes:replies"
EMBEDDED = {DEMO_DATA: "demo", REPLY_DATA: "replies"}
"""Data that come with honed, and the name of a run on them."""


@dataclass(frozen=True)
class Prepared:
    """dataset: rows that can be scored, groups merged. facts: what `dataset.json` holds."""

    dataset: Dataset
    issues: IssueTable
    facts: dict[str, Any]


def roles_of(config: Config) -> Roles:
    """The columns that the configuration names."""
    return Roles(
        config.text, config.label, config.group, config.id, config.template, config.image, config.reader or None
    )


def read_source(source: str) -> pa.Table:
    """The table called `source`; `demo:licences` and `probes:replies` are embedded ones."""
    if source == DEMO_DATA:
        from honed.data.licences import load_licence_snippets

        return load_licence_snippets()
    if source == REPLY_DATA:
        from honed.recipes.reply_rows import load_reply_rows

        return load_reply_rows()
    return read_table(source)


def text_tokenizer(base: ResolvedBase | None, max_tokens: int) -> Tokenizer:
    """What the checks of tokens need of the base; without one, they do not run."""
    if base is None:
        return Tokenizer(None, None, max_tokens)
    tokenizer = load_tokenizer(base)
    fast: Any = getattr(tokenizer, "backend_tokenizer", None)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
        return ids

    def count(texts: Sequence[str]) -> list[int]:
        fast.no_truncation()  # both may be switched on by the base's own tokenizer.json
        fast.no_padding()
        return [len(encoding) for encoding in fast.encode_batch_fast(list(texts))]

    return Tokenizer(tokenize, tokenizer.decode, max_tokens, count if fast is not None else None)


def load(config: Config) -> LoadedData:
    """Read the labelled rows that the configuration names."""
    return load_dataset(read_source(config.data), roles_of(config), require_label=True)


def prepare(
    config: Config, base: ResolvedBase | None, loaded: LoadedData | None = None, finder: Finder = find_personal_batch
) -> Prepared:
    """Check the data, read here if they are not yet. Without a base, the checks that need a tokenizer are left out.

    finder : finds personal data.
    """
    loaded = loaded or load(config)
    test_inputs = None
    if config.test_file:
        test = load_dataset(read_table(config.test_file), roles_of(config), require_label=False)
        test_inputs = test.dataset.inputs
    if loaded.roles.image:
        checked = image_checks(loaded.dataset, folds=config.folds, test_inputs=test_inputs)
    else:
        tokenizer = text_tokenizer(base, config.max_tokens)
        test_texts = None if test_inputs is None else [test_inputs]
        checked = check_dataset(loaded.dataset, CheckSettings(config.folds, tokenizer, test_texts, finder))
    dataset = checked.dataset
    personal = PersonalColumns(finder)
    texts = {name: cells.tolist() for name, cells in dataset.traits.items() if cells.dtype.kind == "O"}
    personal.add(texts, {name: cells.tolist() for name, cells in dataset.columns.items()})
    in_columns = IssueTable.from_issues(personal.issues())
    checks = {**checked.summary, "personal_columns": personal.summary(), "not_run": []}
    checks["counts"] = dict(sorted({**checks["counts"], **in_columns.counts()}.items()))
    counts = Counter(dataset.label.tolist())
    facts = {
        "source": config.data,
        "n_rows": loaded.n_rows,
        "n_used": len(dataset),
        "fingerprint": dataset.fingerprint,
        "roles": vars(loaded.roles),
        "label_names": list(dataset.label_names),
        "class_counts": {name: counts[j] for j, name in enumerate(dataset.label_names)},
        "n_groups": len(set(dataset.group.tolist())),
        "checks": checks,
        "notes": list(loaded.notices),
    }
    return Prepared(dataset, IssueTable.concat(loaded.issues, in_columns, checked.issues), facts)


def with_sample_checks(prepared: Prepared, rows: Dataset) -> Prepared:
    """The same with what `sample_checks` finds in `rows`. A run gives its development rows: small models are fitted on
    labels here, and no label of the locked holdout may be among them.
    """
    told, not_run = sample_checks(rows)
    found = IssueTable.from_issues(told)
    checks = {**prepared.facts["checks"], "not_run": not_run}
    checks["counts"] = dict(sorted({**checks["counts"], **found.counts()}.items()))
    issues = IssueTable.concat(prepared.issues, found)
    return Prepared(prepared.dataset, issues, {**prepared.facts, "checks": checks})


def make_plan(config: Config, dataset: Dataset) -> FoldPlan:
    """Lock the holdout and make the folds."""
    return plan_folds(
        dataset,
        folds=config.folds,
        holdout_frac=config.holdout_frac,
        stop_frac=config.stop_frac,
        seed=config.seed,
    )


def development(dataset: Dataset, plan: FoldPlan) -> tuple[Dataset, FoldPlan]:
    """Dataset and plan without the holdout: training code never holds a locked row."""
    rows = plan.development
    part = replace(
        plan,
        example_id=plan.example_id[rows],
        group=plan.group[rows],
        fold=plan.fold[rows],
        stop=plan.stop[rows],
    )
    return dataset.take(rows), part


def write_texts(path: Path, dataset: Dataset) -> None:
    """Keep the texts, or the names of the images, beside the tables: the report shows the worst mistakes."""
    import pyarrow as pa

    columns = {
        "example_id": pa.array(dataset.example_id.tolist(), pa.string()),
        "text": pa.array([str(value) for value in dataset.inputs], pa.string()),
    }
    write_parquet(pa.table(columns), path)
