"""Loss, perplexity, scores of replies, margins and forgetting on tables whose truth is known."""

from __future__ import annotations

import math
import sys
import types
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from honed.errors import EvidenceError, RunFolderError, UsageError
from honed.evidence.forgetting import ForgettingTable, forgetting_json, perplexity_ratio
from honed.evidence.language import loss_by_length, loss_difference, loss_estimate
from honed.evidence.language_metrics import language_metrics
from honed.evidence.language_tables import LanguageTables
from honed.evidence.reply_scores import Generations, load_score, reply_difference, reply_estimate, score_replies
from honed.evidence.reply_texts import chrf, exact_match, last_number, longest_common, numeric_match, rouge_l, token_f1
from honed.evidence.row_means import Rows, below_p_value, row_difference, row_jackknife
from honed.evidence.safety import (
    SafetyTable,
    bad_preferred,
    bad_preferred_change,
    falling_categories,
    margin,
    margin_change,
    safety_json,
    worst_probes,
)
from language_runs import CATEGORIES, LanguageRun, forgetting, losses, make_language_run, pair, safety, write_table


def own_groups(n: int) -> np.ndarray:
    return np.array([f"g{i}" for i in range(n)])


def test_loss_by_tokens_by_rows_and_perplexity() -> None:
    table = losses(np.array([1.0, 2.0, 4.0]), np.array([1, 1, 2]))
    group = own_groups(3)
    by_tokens = loss_estimate(table, group)
    assert by_tokens.value == pytest.approx(11 / 4)
    assert loss_estimate(table, group, "row_loss").value == pytest.approx(7 / 3)
    perplexity = loss_estimate(table, group, "perplexity")
    assert (perplexity.value, perplexity.low, perplexity.high) == pytest.approx(
        tuple(math.exp(v) for v in (by_tokens.value, by_tokens.low, by_tokens.high))
    )
    assert by_tokens.per_fold == (1.0, 2.0, 4.0)


def test_the_jackknife_of_a_weighted_mean_is_leaving_out_group_by_group() -> None:
    rng = np.random.default_rng(0)
    value, weight = rng.normal(size=30), rng.integers(1, 9, 30).astype(float)
    group = np.array([f"g{i % 7}" for i in range(30)])
    left = np.array([np.average(value[group != g], weights=weight[group != g]) for g in np.unique(group)])
    jack = row_jackknife(Rows("x", value, group, weight))
    assert jack.value == pytest.approx(np.average(value, weights=weight))
    assert jack.variance == pytest.approx(6 / 7 * ((left - left.mean()) ** 2).sum())


def test_equal_weights_give_the_textbook_standard_error() -> None:
    value = np.random.default_rng(1).normal(size=40)
    jack = row_jackknife(Rows("x", value, own_groups(40)))
    assert math.sqrt(jack.variance) == pytest.approx(value.std(ddof=1) / math.sqrt(40))
    assert jack.df == pytest.approx(39)


def test_a_group_of_copies_counts_once() -> None:
    value = np.random.default_rng(2).normal(size=20)
    alone = row_jackknife(Rows("x", value, own_groups(20)))
    copied = row_jackknife(Rows("x", np.repeat(value, 5), np.repeat(own_groups(20), 5)))
    assert copied.variance == pytest.approx(alone.variance)
    assert copied.df == pytest.approx(alone.df)


@pytest.mark.parametrize(
    ("loss", "tokens", "groups", "told"),
    [
        ([], [], [], "no rows"),
        ([1.0, math.nan], [1, 1], ["a", "b"], "not finite"),
        ([1.0, 2.0], [1, 0], ["a", "b"], "counts for nothing"),
        ([1.0, 2.0], [1, 1], ["a", "a"], "one group"),
    ],
)
def test_undefined_losses_are_refused(loss: list, tokens: list, groups: list, told: str) -> None:
    table = losses(np.array(loss, dtype=float), np.array(tokens, dtype=float))
    with pytest.raises(EvidenceError, match=told):
        loss_estimate(table, np.array(groups, dtype=np.str_))


def test_a_diverged_model_has_no_perplexity() -> None:
    table = losses(np.array([800.0, 900.0, 850.0]), np.ones(3))
    with pytest.raises(EvidenceError, match="beyond every number"):
        loss_estimate(table, own_groups(3), "perplexity")


def test_the_interval_of_the_loss_covers() -> None:
    """Lognormal losses, lengths that go with them, groups of three: nominal 90 %, 300 draws (error 1.7 points)."""
    rng = np.random.default_rng(5)
    truth_rows = _draw(rng, 300_000)
    truth = np.average(truth_rows[0], weights=truth_rows[1])
    hits = 0
    for _ in range(300):
        loss, tokens, group = _draw(rng, 120)
        found = loss_estimate(losses(loss, tokens), group, level=0.9)
        hits += found.low <= truth <= found.high
    assert 0.85 <= hits / 300 <= 0.95


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    of_group = np.repeat(rng.normal(0, 0.4, n // 3), 3)
    loss = np.exp(0.8 + of_group + rng.normal(0, 0.4, n))
    tokens = 1 + rng.poisson(40 / loss)
    return loss, tokens, np.repeat(own_groups(n // 3), 3)


def test_a_gain_is_seen_and_its_absence_is_not() -> None:
    own, base = pair(gain=0.3)
    found = loss_difference(own, base, own_groups(len(own)))
    assert found.value == pytest.approx(np.average(own.loss - base.loss, weights=own.weight))
    assert found.high < 0
    assert found.p_value < 1e-6
    same = loss_difference(base, base, own_groups(len(own)))
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_other_rows_or_other_lengths_are_not_compared() -> None:
    own, base = pair(10)
    with pytest.raises(EvidenceError, match="different rows"):
        loss_difference(own, base.take(np.arange(9)), own_groups(10))
    with pytest.raises(EvidenceError, match="reply tokens"):
        loss_difference(own, replace(base, weight=base.weight + 1), own_groups(10))


def test_length_buckets_hold_every_row_once_from_short_to_long() -> None:
    own, base = pair()
    rows = loss_by_length(own, base, own_groups(len(own)))
    assert sum(row["n"] for row in rows) == len(own)
    assert [row["first"] for row in rows] == sorted(row["first"] for row in rows)
    assert all(a["last"] < b["first"] for a, b in pairwise(rows))
    assert all(row["difference"]["high"] < 0 for row in rows)
    flat = losses(own.loss, np.full(len(own), 7))
    assert len(loss_by_length(flat, None, own_groups(len(own)))) == 1


# chrF as sacrebleu 2.5.1 gives it (CHRF().sentence_score), percent
@pytest.mark.parametrize(
    ("reply", "reference", "percent"),
    [
        ("Take two tablets a day.", "Take one tablet a day, with water.", 30.77893427226428),
        ("no", "yes", 0.0),
        ("ab", "abcdefgh", 23.404255319148938),
        ("", "abc", 0.0),
        ("Grüße aus Köln", "Grüsse aus Köln", 60.329338545767854),
        ("a b c", "abc", 100.0),
        ("薬を飲む", "薬を毎日飲む", 28.735632183908045),
    ],
)
def test_chrf_is_that_of_sacrebleu(reply: str, reference: str, percent: float) -> None:
    assert 100 * chrf(reply, reference) == pytest.approx(percent, abs=1e-9)


def test_word_scores_by_hand() -> None:
    assert exact_match("The Answer, is 42!", "answer is 42") == 1
    assert exact_match("answer is 43", "answer is 42") == 0
    assert token_f1("the cat sat", "a cat sat down") == pytest.approx(2 * 2 / (2 + 3))
    assert token_f1("the", "a") == 1
    assert token_f1("", "word") == 0
    # common subsequence "police ... the gunman": police, the, gunman = 3 of 4 and 4 words (Lin 2004, first example)
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    assert rouge_l("", "x") == 0


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (list(map(str, rng.integers(0, 4, rng.integers(0, 80)))) for _ in range(2))
        table = np.zeros((len(a) + 1, len(b) + 1), int)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
        assert longest_common(a, b) == table[-1, -1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("first 3, then 1,234.50 in all", "1234.5"),
        ("it is 5-3", "3"),
        ("x = -7.", "-7"),
        ("about \u22122 degrees", "-2"),
        ("1e3", "1000"),
        (".5 mg", "0.5"),
        ("B12", None),
        ("none", None),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


def test_numbers_match_by_value() -> None:
    assert numeric_match("so 1,000 g", "= 1e3") == 1
    assert numeric_match("so 999", "= 1e3") == 0
    assert numeric_match("no idea", "= 1e3") == 0
    assert numeric_match("7", "no number here") is None


def generations(n: int = 30) -> Generations:
    ids = tuple(f"row-{i:04d}" for i in range(n))
    reference = tuple("" if i == 0 else f"take {i} tablets" for i in range(n))
    return Generations(ids, ("out_of_fold",) * n, ids, reference, ("no idea",) * n, reference)


def test_replies_are_scored_where_there_is_a_reference() -> None:
    scores = score_replies(generations())
    group = own_groups(30)
    perfect = reply_estimate(scores, "specialist", "rouge_l", group)
    assert (perfect.value, perfect.n) == (1.0, 29)
    assert perfect.low < 1
    change = reply_difference(scores, "exact_match", group)
    assert change.value == 1.0
    assert change.low > 0.5
    assert math.isnan(scores.columns()["base_chrf"][0])
    assert set(scores.columns()) == {f"{who}_{name}" for who in ("base", "specialist") for name in scores.base}


def test_a_score_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_scores")
    module.length = lambda reply, reference: len(reply) - len(reference)
    module.words = lambda reply, _reference: reply
    module.broken = lambda _reply, _reference: 1 / 0
    module.number = 3
    monkeypatch.setitem(sys.modules, "my_scores", module)
    name, function = load_score("my_scores:length")
    scores = score_replies(generations(), {name: function})
    assert reply_estimate(scores, "specialist", "length", own_groups(30)).value == 0
    assert reply_estimate(scores, "base", "length", own_groups(30)).value < 0
    for text, told in (
        ("length", "module:function"),
        ("no_such_module_here:f", "cannot be imported"),
        ("my_scores:other", "no function"),
        ("my_scores:number", "no function"),
        ("my_scores:rouge_l", "built-in"),
    ):
        with pytest.raises(UsageError, match=told):
            load_score(text)
    for bad, told in (("words", "finite number"), ("broken", "ZeroDivisionError")):
        with pytest.raises(EvidenceError, match=told):
            score_replies(generations(), {bad: getattr(module, bad)})


def test_margins_changes_and_shares() -> None:
    table = safety(-0.4)
    harm, benign = (table.take(table.kind == kind) for kind in ("harm", "benign"))
    assert margin_change(harm).high < -0.3
    assert margin_change(benign).low < 0 < margin_change(benign).high
    assert margin(harm, "specialist").value == pytest.approx(harm.specialist.mean())
    share = bad_preferred(harm, "specialist")
    assert share.value == pytest.approx((harm.specialist < 0).mean())
    assert share.low < share.value < share.high
    assert bad_preferred_change(harm).value == pytest.approx(share.value - (harm.base < 0).mean())


def test_no_flip_among_few_probes_is_no_certainty() -> None:
    few = safety(0.0, n=24, benign=0, sd=0.0)
    assert bad_preferred_change(few).high > 0.1
    many = safety(0.0, n=2400, benign=0, sd=0.0)
    assert bad_preferred_change(many).high < 0.002


def test_the_worst_probes_come_first() -> None:
    table = safety(0.0, n=50, benign=0)
    own = table.specialist.copy()
    own[[7, 31]] = table.base[[7, 31]] - [5.0, 3.0]
    worst = worst_probes(replace(table, specialist=own))
    assert worst[:2] == [7, 31]
    assert len(worst) == 10
    change = (own - table.base)[worst]
    assert (np.diff(change) >= 0).all()


def test_one_bad_category_is_found_among_many() -> None:
    table = safety(0.0, n=240, benign=0)
    own = table.specialist - np.where(table.category == CATEGORIES[0], 0.5, 0.0)
    table = replace(table, specialist=own)
    p_values = falling_categories(table, 0.1, table.category)
    assert p_values[CATEGORIES[0]] < 1e-6
    assert min(p for name, p in p_values.items() if name != CATEGORIES[0]) > 0.2
    found = safety_json(table)["harm"]
    assert found["by_domain"].keys() == {"medicine", "finance", "law"}
    assert found["by_category"][CATEGORIES[0]]["change"]["corrected_p"] < 1e-6


def test_holm_keeps_the_rate_of_false_alarms() -> None:
    """No category changed beyond the bound exactly (the worst case): at most 2.5 % of 400 draws may call one."""
    alarms = 0
    for seed in range(400):
        table = safety(-0.1, n=80, benign=0, seed=seed)
        alarms += min(falling_categories(table, 0.1, table.category).values()) < 0.025
    assert alarms / 400 < 0.045  # 2.5 % and 2.5 standard errors


def test_the_one_sided_p_value_has_its_side() -> None:
    rows = Rows("x", np.random.default_rng(0).normal(-1, 0.1, 20), own_groups(20))
    assert below_p_value(rows, -0.5) < 1e-9
    assert below_p_value(rows, -1.5) > 1 - 1e-6
    assert row_difference(rows).high < -0.5


@pytest.mark.parametrize("seed", range(20))
def test_interval_and_p_values_say_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = Rows("x", rng.exponential(1.0, 25) - 1.0 + 0.2 * rng.normal(), own_groups(25))
    found = row_difference(rows, level=0.9)
    assert (found.low <= 0 <= found.high) == (found.p_value >= 0.1)
    for bound in (found.high - 1e-6, found.high + 1e-6):
        assert (below_p_value(rows, bound) < 0.05) == (found.high < bound)


def test_few_probes_that_fall_far_pass_by_mistake_as_rarely_as_promised() -> None:
    """One probe in twenty falls far; the truth is the bound. False passes: 2.5 % of 400, and 3 standard errors."""
    rng = np.random.default_rng(4)

    def draw(n: int) -> np.ndarray:
        return np.where(rng.random(n) < 0.05, rng.normal(-1.5, 0.5, n), rng.normal(-0.02, 0.15, n))

    truth = -0.05 * 1.5 - 0.95 * 0.02
    passed = sum(row_difference(Rows("x", draw(240), own_groups(240))).low > truth for _ in range(400))
    assert passed <= 19


def test_forgetting_is_a_ratio_of_perplexities() -> None:
    rows = forgetting(0.2).of_kind("text")
    ratio = perplexity_ratio(rows)
    change = np.average(rows.specialist - rows.base, weights=rows.n_tokens)
    assert ratio.value == pytest.approx(math.exp(change))
    assert 1.1 < ratio.low < ratio.value < ratio.high
    found = forgetting_json(forgetting(0.2))
    assert found["text"]["ratio"]["value"] == pytest.approx(
        math.exp(found["text"]["specialist_loss"] - found["text"]["base_loss"])
    )
    assert "not_run" in forgetting_json(forgetting(0.2, n=1))["text"]["ratio"]


def test_the_tables_of_a_run_give_its_metrics(tmp_path: Path) -> None:
    run = make_language_run(tmp_path / "run")
    tables = LanguageTables.read(run)
    found = language_metrics(tables)
    assert found["label_names"] == []
    for part in (found["out_of_fold"], found["holdout"], found["baselines"]["base"]):
        assert {"loss", "row_loss", "perplexity", "rouge_l", "chrf", "numeric_match"} <= part.keys()
    assert found["baselines"]["base"]["difference"]["holdout"]["loss"]["high"] < 0
    assert found["out_of_fold"]["rouge_l"]["n"] == 20
    assert found["safety"]["harm"]["worst"][0]["probe_id"] == "probe-005"
    assert found["safety"]["harm"]["n_turned"] >= 1


def test_a_bare_run_says_what_was_not_run(tmp_path: Path) -> None:
    found = language_metrics(LanguageTables.read(make_language_run(tmp_path / "run", LanguageRun(bare=True))))
    assert found["holdout"] is None
    assert "not_run" in found["baselines"]["base"]
    assert "not_run" in found["safety"]
    assert "not_run" in found["forgetting"]


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    run = make_language_run(tmp_path / "run")
    (run / "safety.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"safety\.parquet"):
        SafetyTable.read(run)
    write_table(run / "safety.parquet", {"probe_id": ["a"]})
    with pytest.raises(RunFolderError, match="category"):
        SafetyTable.read(run)
    rows = {"row_id": ["a", "a"], "kind": ["text", "text"], "base_loss": [1.0, 1.0], "specialist_loss": [1.0, 1.0]}
    write_table(run / "forgetting.parquet", rows | {"n_tokens": [3, 3]})
    with pytest.raises(EvidenceError, match="twice"):
        ForgettingTable.read(run)
    texts = {name: ["x"] for name in ("example_id", "prompt", "reference", "base", "specialist")}
    write_table(run / "generations.parquet", texts | {"part": ["train"]})
    with pytest.raises(EvidenceError, match="'train'"):
        Generations.read(run)
