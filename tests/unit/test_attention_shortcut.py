"""The shortcut warning: a planted hospital is named, noise is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from honed.evidence.attention_shortcut import SAME_SOURCE, SUSPECTS, ScoredRows, shortcut_checks, shortcut_warning

N = 200


def rows(seed: int, names: tuple[str, ...] = ("normal", "sick"), group_size: int = 1) -> ScoredRows:
    rng = np.random.default_rng(seed)
    group = np.arange(N) // group_size
    label = rng.integers(0, len(names), N)
    return ScoredRows(label, names, rng.random(N) < 0.8, group % 5, np.array([f"g{g}" for g in group]))


def test_attention_outside_that_tells_the_label_is_warned_of() -> None:
    own = rows(0)
    outside = 0.1 + 0.1 * own.label + 0.05 * np.random.default_rng(1).random(N)
    checks = shortcut_checks({"outside the body": outside}, own)
    assert [check.target for check in checks] == ["being right", "label sick"]
    assert [check.is_warning for check in checks] == [False, True]
    told = shortcut_warning(checks)
    assert "region \u201coutside the body\u201d strongly predicts label sick: more of it, more often label sick" in told
    assert "another hospital" in told and "No sign" not in told
    json.dumps([check.to_json() for check in checks], allow_nan=False)


def test_attention_on_the_border_where_the_model_errs() -> None:
    own = rows(0)
    border = 0.3 - 0.1 * own.is_correct + 0.05 * np.random.default_rng(1).normal(size=N)
    border[:3] = np.nan
    check = shortcut_checks({"image border": border}, own)[0]
    assert check.is_warning and check.auc is not None and check.auc.n == N - 3 and check.auc.value < 0.2
    assert "less of it, more often right" in check.sentence


@pytest.mark.parametrize("group_size", [1, 4])
def test_noise_raises_no_alarm(group_size: int) -> None:
    alarms = 0
    for seed in range(100):
        own, rng = rows(seed, ("a", "b", "c"), group_size), np.random.default_rng(1000 + seed)
        common = np.repeat(rng.normal(size=N // group_size), group_size)
        shares = {name: common + rng.normal(size=N) for name in SUSPECTS}
        alarms += bool(shortcut_warning(shortcut_checks(shares, own)))
    assert alarms <= 11, "binomial(100, .05) exceeds 11 once in 300"


def test_a_question_that_cannot_be_asked_is_not_run() -> None:
    own = rows(0)
    right = ScoredRows(own.label, own.label_names, np.ones(N, dtype=bool), own.fold, own.group)
    check = shortcut_checks({"image border": np.random.default_rng(0).random(N)}, right)[0]
    assert check.auc is None and not check.is_warning and "not run, because" in check.sentence
    empty = shortcut_checks({"image border": np.full(N, np.nan)}, own)
    assert all("no scored rows" in check.sentence for check in empty) and shortcut_warning(empty) == ""


def test_that_folds_share_a_source_is_always_said() -> None:
    assert "only rows of another hospital" in SAME_SOURCE
