"""What `--trials` is read as, what it refuses and why, and what is drawn from ranges."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pytest

from honed.config import make_config
from honed.errors import ConfigError, UsageError
from honed.pipeline.trial_sampling import DEFAULT_N_TRIALS, values_of
from honed.pipeline.trial_space import REFUSED, SWEPT, Choices, Range, Setting, parse_trials
from honed.pipeline.tuning import RATE_FACTORS, plan_settings

CONFIG = make_config({"method": "lora"})


def faults(text: str, **values: Any) -> str:
    with pytest.raises(ConfigError) as error:
        parse_trials(text, make_config({"method": "lora", **values}))
    return error.value.problem


def test_a_grid_holds_every_combination_with_values_of_their_own_type() -> None:
    axes = parse_trials("learning_rate=1e-4,3e-4 ; rank = 4,16;", CONFIG)
    assert axes == (Choices("learning_rate", (1e-4, 3e-4)), Choices("rank", (4, 16)))
    settings = plan_settings(CONFIG, "learning_rate=1e-4,3e-4;rank=4,16")
    assert [s.values for s in settings] == [
        {"learning_rate": rate, "rank": rank} for rate in (1e-4, 3e-4) for rank in (4, 16)
    ]
    config = settings[-1].apply(CONFIG)
    assert (config.learning_rate, config.method_options) == (3e-4, {"rank": 16})
    assert settings[-1].label == "learning_rate=0.0003, rank=16"
    assert plan_settings(CONFIG) == (Setting({}),) and Setting({}).apply(CONFIG) == CONFIG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depth=all,2", Choices("depth", ("all", 2))),
        ("rslora=true,false", Choices("rslora", (True, False))),
        ("target='q_proj,v_proj',attention", Choices("target", ("q_proj,v_proj", "attention"))),
        ("--batch-size=8,32", Choices("batch_size", (8, 32))),
        ("learning_rate=log(1e-5, 1e-2)", Range("learning_rate", "log", 1e-5, 1e-2)),
        ("rank=int(2,64)", Range("rank", "int", 2, 64)),
    ],
)
def test_values_and_ranges(text: str, expected: Choices | Range) -> None:
    assert parse_trials(text, CONFIG) == (expected,)


def test_all_faults_are_listed_at_once_with_the_nearest_name() -> None:
    problem = faults("lerning_rate=1e-4; rank=0,4; rank; depth=deep; rank=2; epochs=2,2; seed=1,2; alpha=log(0,1)")
    assert problem.startswith("--trials has 8 faults:\n  ")
    for expected in (
        "lerning_rate: unknown; did you mean learning_rate?", "rank: Input should be greater than or equal to 1",
        "'rank': write NAME=VALUE", "depth: input should be", "epochs: 2 stands there twice", "only the luckiest",
        "alpha: log(0,1) must begin above zero; use uniform",
    ):  # fmt: skip
        assert expected in problem, problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank=4,,8", "no list of values"),
        ("rank='4", "no list of values"),
        ("rank=lig(2,8)", "did you mean log?"),
        ("rank=int(8,2)", "must be below the second"),
        ("rank=int(2,8.5)", "whole numbers"),
        ("rank=log(2,8)", "use int(...) or logint(...)"),
        ("rank=int(0,8)", "greater than or equal to 1"),
        ("learning_rate=log(1e-5,100)", "less than 10"),
        ("learning_rate=log(a,b)", "are no numbers"),
        ("method=lora,full", "`honed compare`"),
        ("folds=3,5", "same rows and folds"),
        ("zzz=1", "lora has rank"),
        (" ; ", "names no option"),
    ],
)
def test_a_fault_says_what_to_write(text: str, expected: str) -> None:
    assert expected in faults(text)


def test_every_field_is_swept_or_refused() -> None:
    fields = set(type(CONFIG).model_fields) - {"method_options"}
    assert not set(SWEPT) & set(REFUSED)
    assert set(SWEPT) | set(REFUSED) <= fields
    for name in fields - set(SWEPT):
        assert "cannot be tried" in faults(f"{name}=1,2") or name == "seed"


def test_auto_tries_rates_around_those_of_the_range_test() -> None:
    auto = make_config({"method": "lora", "learning_rate": "auto"})
    settings = plan_settings(auto, "rank=4,16")
    assert [(s.values["rank"], s.rate_factor) for s in settings] == [(r, f) for r in (4, 16) for f in RATE_FACTORS]
    assert settings[0].label == "learning_rate=0.1 x range test, rank=4"
    assert "give one of the two" in faults("learning_rate=1e-3,1e-4", learning_rate="auto")


def test_trials_need_rows_to_choose_by() -> None:
    config = CONFIG.model_copy(update={"stop_frac": 0.0})
    with pytest.raises(UsageError, match=r"--stop-frac 0 leaves no rows by which one of 2 settings"):
        plan_settings(config, "rank=4,8")
    assert len(plan_settings(config, "rank=4")) == 1  # nothing to choose


def test_draws_cover_the_ranges_evenly_and_follow_the_seed_alone() -> None:
    pytest.importorskip("optuna", reason="NOT RUN: needs pip install 'honed[tune]'")
    axes = parse_trials("learning_rate=log(1e-5,1e-1); rank=logint(2,64); rslora=true,false", CONFIG)
    draws = values_of(axes, 16, seed=3)
    assert draws == values_of(axes, 16, seed=3) and draws != values_of(axes, 16, seed=4)
    assert len(draws) == 16 and all(2 <= d["rank"] <= 64 and isinstance(d["rank"], int) for d in draws)
    # A Sobol sequence of 16 has one point in each sixteenth; random draws would leave a third of them empty.
    sixteenth = [math.floor((math.log10(d["learning_rate"]) + 5) / 4 * 16) for d in draws]
    assert len(set(sixteenth)) >= 15
    assert sum(d["rslora"] for d in draws) == 8
    assert len(plan_settings(CONFIG, "dropout=uniform(0,0.5)")) == DEFAULT_N_TRIALS
    assert len(values_of(parse_trials("rank=int(2,4)", CONFIG), 16, seed=0)) == 3  # equal draws count once


def test_a_grid_too_large_to_try_is_drawn_from() -> None:
    axes = parse_trials("rank=1,2,3,4,5,6,7,8,9; alpha=1,2,3,4,5,6,7,8,9", CONFIG)
    with pytest.raises(ConfigError, match=r"81 settings; at most 64.*--n-trials 16"):
        values_of(axes, None, seed=0)
    assert len(values_of(axes, 81, seed=0)) == 81
    pytest.importorskip("optuna", reason="NOT RUN: needs pip install 'honed[tune]'")
    assert len(values_of(axes, 8, seed=0)) == 8
    with pytest.raises(ConfigError, match="--n-trials draws from --trials"):
        plan_settings(CONFIG, n_trials=4)


def test_ranges_without_optuna_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"pip install 'honed\[tune\]'"):
        plan_settings(CONFIG, "learning_rate=log(1e-5,1e-2)")
