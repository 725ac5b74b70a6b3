"""Rules 3 and 4 for label cleaning: a fold's labels never reach what it is taught, and no scored row is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models as m
import tuning_runs as tr
from honed.bases import ResolvedBase
from honed.data.decisions import Decision
from honed.data.fold_pairs import fold_pairs
from honed.data.targets import Targets
from honed.errors import EvidenceError, UsageError
from honed.events import Event
from honed.pipeline import cleaning
from honed.pipeline.bench import Bench
from honed.pipeline.cleaning import Taught, check_cleaning, teach, write_provenance
from honed.pipeline.tuning import open_bench, open_first, plan_settings, tune_and_cross_validate

FOLD = 1
VALUES: dict[str, Any] = {"epochs": 2, "batch_size": 20}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ResolvedBase:
    return m.save_tiny_base(tmp_path_factory.mktemp("base"), "bert")


def taught(
    base: ResolvedBase, folder: Path, mode: str, label: Any = None, decisions: Any = None
) -> tuple[Bench, Taught]:
    context = tr.tuning_context(base, folder, tr.tuning_config(base, clean=mode, **VALUES), label)
    bench = open_bench(context, plan_settings(context.config))
    features = np.random.default_rng(0).normal(size=(len(context.part), 6))
    return bench, teach(bench, context.config, features, decisions or {})


def spoilt(base: ResolvedBase, folder: Path, rows: str) -> np.ndarray[Any, Any]:
    context = tr.tuning_context(base, folder, tr.tuning_config(base, **VALUES))
    label = context.part.label.copy()
    split = context.plan.split(FOLD)
    chosen = split.test if rows == "test" else split.train[::2]
    label[chosen] = (label[chosen] + 1) % m.N_CLASSES
    return label


@pytest.mark.parametrize("mode", ["drop", "weight"])
def test_what_a_fold_is_taught_does_not_depend_on_the_labels_that_score_it(
    base: ResolvedBase, tmp_path: Path, mode: str
) -> None:
    """Planted fault: flags from the ordinary out-of-fold table would move, since its models learned from this fold."""
    _, honest = taught(base, tmp_path / "a", mode)
    bench, other = taught(base, tmp_path / "b", mode, label=spoilt(base, tmp_path / "c", "test"))
    assert honest.judged is not None and other.judged is not None
    plan = bench.context.plan
    learns = np.flatnonzero(plan.fold != FOLD)
    assert honest.judged[FOLD].rows.tolist() == learns.tolist(), "no opinion of the fold's own rows"
    assert np.array_equal(honest.judged[FOLD].errors.quality, other.judged[FOLD].errors.quality)
    assert np.array_equal(honest.targets[FOLD].weight[learns], other.targets[FOLD].weight[learns])
    # The comparison can fail: what the other folds, and the final model, are taught has moved.
    assert not np.array_equal(honest.judged[FOLD + 1].errors.quality, other.judged[FOLD + 1].errors.quality)
    assert not np.array_equal(honest.judged[None].errors.quality, other.judged[None].errors.quality)


def test_every_pair_leaves_out_both_of_its_folds(base: ResolvedBase, tmp_path: Path) -> None:
    plan = tr.tuning_context(base, tmp_path, tr.tuning_config(base, **VALUES)).plan
    pairs = fold_pairs(plan)
    assert len(pairs) == tr.FOLDS * (tr.FOLDS - 1) / 2
    for pair in pairs:
        assert set(plan.fold[pair.test].tolist()) == {pair.low, pair.high}
        assert not {pair.low, pair.high} & set(plan.fold[pair.train].tolist())
        assert len(pair.train) + len(pair.test) == len(plan)


def test_scored_rows_keep_their_labels_and_all_are_scored(base: ResolvedBase, tmp_path: Path) -> None:
    label = spoilt(base, tmp_path / "c", "train")
    bench, lessons = taught(base, tmp_path / "a", "drop", label=label)
    open_first(bench, plan_settings(bench.context.config))
    tuned = tune_and_cross_validate(bench, plan_settings(bench.context.config), lessons.targets)
    table = tuned.trained.predictions
    assert len(table) == len(label) and np.array_equal(table.label, label) and (table.weight == 1).all()
    counts = write_provenance(tmp_path / "p.parquet", bench.context.part, bench.context.plan, lessons, {})
    assert sum(one["n_left_out"] for one in counts.values()) > 0, "something was cleaned, or this test shows nothing"
    assert sum(one["n_relabelled"] for one in counts.values()) == 0


def test_a_decision_of_a_person_wins_and_is_told_with_its_source(base: ResolvedBase, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    decisions = {"row 0": Decision("relabel", 2), "row 1": Decision("drop", 1), "row 2": Decision("keep", 2)}
    bench, lessons = taught(base, tmp_path, "drop", decisions=decisions)
    for targets in lessons.targets.values():
        assert (targets.label[0], targets.weight[1], targets.weight[2]) == (2, 0.0, 1.0)
    write_provenance(tmp_path / "p.parquet", bench.context.part, bench.context.plan, lessons, decisions)
    told = [row for row in pq.read_table(tmp_path / "p.parquet").to_pylist() if row["source"] == "decision"]
    plan = bench.context.plan
    learning = {"row 0": {f"fold {k}" for k in range(tr.FOLDS) if k != plan.fold[0]} | {"final"}}
    assert {row["model"] for row in told if row["example_id"] == "row 0"} == learning["row 0"]
    assert {(row["given"], row["taught"]) for row in told if row["example_id"] == "row 0"} == {("a", "c")}


def test_without_cleaning_nobody_is_asked_and_nothing_changes(base: ResolvedBase, tmp_path: Path) -> None:
    _, lessons = taught(base, tmp_path, "review")
    assert not lessons.targets and lessons.judged is None


def test_a_killed_judgement_goes_on(base: ResolvedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judges' logits are kept: a resumed run does not train them again, and teaches the same."""
    _, first = taught(base, tmp_path, "drop")
    monkeypatch.setattr(Bench, "plain_loop", lambda *_: pytest.fail("the judges were trained again"))
    _, second = taught(base, tmp_path, "drop")
    assert first.judged is not None and second.judged is not None
    assert all(np.array_equal(first.targets[k].weight, second.targets[k].weight) for k in first.targets)


def test_a_judge_that_cannot_be_fitted_is_told_and_not_passed_over(
    base: ResolvedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, *_: Any, **__: Any) -> Any:
        raise EvidenceError(f"{name} fell ill.")

    monkeypatch.setattr(cleaning, "out_of_fold_baseline", broken)
    events: list[Event] = []
    context = tr.tuning_context(base, tmp_path, tr.tuning_config(base, clean="drop", **VALUES), None, [events.append])
    bench = open_bench(context, plan_settings(context.config))
    lessons = teach(bench, context.config, np.zeros((len(context.part), 2)), {})
    assert lessons.judged is not None, "the specialist still judges"
    told = [event.message for event in events if event.kind == "warning"]
    assert [message.split(":")[0] for message in told] == [
        "tfidf_logreg does not judge labels", "linear_probe does not judge labels",
    ]  # fmt: skip
    assert all("not run, because" in message and "fell ill" in message for message in told)


def test_a_stop_part_always_weighs_something(base: ResolvedBase, tmp_path: Path) -> None:
    from honed.pipeline.cleaning import with_stop

    plan = tr.tuning_context(base, tmp_path, tr.tuning_config(base, **VALUES)).plan
    stop = plan.split(FOLD).stop
    nothing = Targets(np.zeros(len(plan), dtype=np.int64), np.zeros(len(plan)))
    assert with_stop(nothing, plan, FOLD).weight[stop].sum() == len(stop)
    assert with_stop(replace(nothing, weight=np.ones(len(plan))), plan, FOLD).weight.sum() == len(plan)


def test_two_folds_leave_nobody_to_judge_and_fifty_too_many(base: ResolvedBase) -> None:
    config = tr.tuning_config(base, clean="drop")
    for folds, said in ((2, "at least 3 folds"), (50, "1225 with --folds 50")):
        with pytest.raises(UsageError, match=said):
            check_cleaning(config.model_copy(update={"folds": folds}))
