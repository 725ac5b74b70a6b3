"""Parity: an honest export passes, and every planted fault is named by the check that it belongs to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from honed.errors import EvidenceError, UsageError
from honed.evidence.parity import Parity, Reading, parity
from honed.evidence.parity_terms import TOLERANCES, ParityRows, ParityTerms

N, C, HIDDEN = 240, 4, 64
NAMES = ("pay", "refund", "law", "other")
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(N, HIDDEN))
HIDDEN_WEIGHT = RNG.normal(size=(HIDDEN, HIDDEN)) / np.sqrt(HIDDEN)
HEAD_WEIGHT = RNG.normal(size=(HIDDEN, C)) / np.sqrt(HIDDEN)
TOKENS = [RNG.integers(5, 1000, size=RNG.integers(3, 30)).tolist() for _ in range(N)]


def program(dtype: type = np.float32) -> np.ndarray:
    """The logits of a small network that computes in this number format."""
    hidden = np.tanh(FEATURES.astype(dtype) @ HIDDEN_WEIGHT.astype(dtype))
    return (hidden @ HEAD_WEIGHT.astype(dtype)).astype(np.float64)


def rounded_to_bfloat16(logits: np.ndarray) -> np.ndarray:
    bits = logits.astype(np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


MEASURED = Reading(program(), NAMES, TOKENS)
LABEL = np.where(RNG.random(N) < 0.7, MEASURED.logits.argmax(axis=1), RNG.integers(0, C, N))
IDS = np.array([f"row {i}" for i in range(N)])
ROWS = ParityRows(IDS, IDS, LABEL)


def outcomes(found: Parity) -> dict[str, str]:
    return {check.name: check.outcome for check in found.checks}


def test_the_same_network_in_other_kernels_is_the_same() -> None:
    hidden = np.tanh(np.einsum("ij,jk->ik", FEATURES.astype(np.float32), HIDDEN_WEIGHT.astype(np.float32)))
    logits = np.stack([row[::-1] @ HEAD_WEIGHT.astype(np.float32)[::-1] for row in hidden])
    assert not np.array_equal(logits, MEASURED.logits)
    found = parity(MEASURED, replace(MEASURED, logits=logits), ROWS)
    assert outcomes(found) == dict.fromkeys(("head", "label_names", "tokens", "logits", "labels", "score"), "same")
    assert found.verdict == "PASS" and found.passed and not found.failed


def test_a_dropped_head_is_caught() -> None:
    found = parity(MEASURED, replace(MEASURED, logits=FEATURES), ROWS)
    assert outcomes(found) == {
        "head": "different", "label_names": "same", "tokens": "same", "logits": "not run", "labels": "not run",
        "score": "not run",
    }  # fmt: skip
    assert "4 logits a row, the export 64" in found.check("head").sentence
    assert "because the heads have different shapes" in found.check("score").sentence
    assert found.failed


def test_a_head_drawn_anew_is_caught_though_its_shape_is_right() -> None:
    fresh = np.tanh(FEATURES @ HIDDEN_WEIGHT) @ np.random.default_rng(9).normal(size=(HIDDEN, C)) / 8
    found = parity(MEASURED, replace(MEASURED, logits=fresh), ROWS)
    assert outcomes(found) | {"tokens": "same"} == {
        "head": "same", "label_names": "same", "tokens": "same", "logits": "different", "labels": "different",
        "score": "different",
    }  # fmt: skip


def test_a_token_table_of_another_shape_is_a_finding_about_the_head() -> None:
    found = parity(MEASURED, replace(MEASURED, logits=np.zeros((N, 7, HIDDEN))), ROWS)
    assert "the export 7 x 64" in found.check("head").sentence


@pytest.mark.parametrize("dtype", sorted(TOLERANCES))
def test_a_wrong_scaling_is_caught_and_named(dtype: str) -> None:
    found = parity(MEASURED, replace(MEASURED, logits=MEASURED.logits * 1.05), ROWS, ParityTerms(dtype=dtype))
    assert found.check("logits").outcome == "different"
    assert "measured ones times 1.05" in found.check("logits").sentence
    assert found.check("labels").outcome == "same"  # so labels alone would have let it through
    assert found.failed


def test_what_moves_every_logit_a_little_is_caught_by_the_mean() -> None:
    even = replace(MEASURED, logits=np.sign(MEASURED.logits))  # no logit stands out, so neither does its difference
    found = parity(even, replace(even, logits=even.logits * 1.05), ROWS, ParityTerms(dtype="bfloat16")).check("logits")
    assert found.figures["max_abs"] < found.figures["max_allowed"]
    assert found.outcome == "different"


def test_other_token_ids_are_caught_with_the_place_where_they_part() -> None:
    stale = [list(ids) for ids in TOKENS]
    stale[17][2] += 1
    stale[40] = stale[40][:-1]
    found = parity(MEASURED, replace(MEASURED, tokens=stale), ROWS)
    check = found.check("tokens")
    assert (check.outcome, dict(check.figures)) == (
        "different",
        {"n_differing": 2, "example_id": "row 17", "position": 2},
    )
    shorter = parity(MEASURED, replace(MEASURED, tokens=[*TOKENS[:-1], TOKENS[-1][:-1]]), ROWS).check("tokens")
    assert shorter.figures["position"] == len(TOKENS[-1]) - 1
    assert "the export has the end" in shorter.sentence


@pytest.mark.parametrize("shrink", [1.0, 1e-3], ids=["usual logits", "tiny logits"])
def test_half_precision_served_where_float32_was_measured_is_caught(shrink: float) -> None:
    reference = replace(MEASURED, logits=MEASURED.logits * shrink)
    for half in (
        program(np.float16) * shrink,  # computed in half precision throughout
        MEASURED.logits.astype(np.float16).astype(np.float64) * shrink,  # only the last step rounded
        rounded_to_bfloat16(MEASURED.logits) * shrink,
    ):
        found = parity(reference, replace(MEASURED, logits=half), ROWS)
        assert found.check("logits").outcome == "different"
        assert found.failed


def test_half_precision_asked_for_is_accepted() -> None:
    for dtype, logits in (("float16", program(np.float16)), ("bfloat16", rounded_to_bfloat16(MEASURED.logits))):
        found = parity(MEASURED, replace(MEASURED, logits=logits), ROWS, ParityTerms(dtype=dtype))
        assert found.verdict == "PASS", found.checks


def test_float32_served_where_float64_was_measured_is_caught() -> None:
    reference = replace(MEASURED, logits=program(np.float64))
    assert parity(reference, MEASURED, ROWS, ParityTerms(dtype="float64")).failed
    assert parity(reference, MEASURED, ROWS).passed


def test_swapped_label_names_are_caught() -> None:
    found = parity(MEASURED, replace(MEASURED, label_names=("refund", "pay", "law", "other")), ROWS)
    assert [name for name, outcome in outcomes(found).items() if outcome != "same"] == ["label_names"]
    assert "class 0 is 'pay' here and 'refund' in the export" in found.check("label_names").sentence
    assert found.failed


def test_other_label_names_are_told() -> None:
    found = parity(MEASURED, replace(MEASURED, label_names=("LABEL_0", "refund", "law", "other")), ROWS)
    assert "only measured: 'pay'; only in the export: 'LABEL_0'" in found.check("label_names").sentence


def test_a_tie_may_flip_within_the_tolerance_and_nothing_else_may() -> None:
    logits = MEASURED.logits.copy()
    logits[3] = [1.0, 1.0 + 1e-6, -1.0, 0.0]
    reference = replace(MEASURED, logits=logits)
    turned = logits.copy()
    turned[3, 1] -= 2e-6
    found = parity(reference, replace(MEASURED, logits=turned), ROWS).check("labels")
    assert found.outcome == "same"
    assert (found.figures["n_flips"], found.figures["n_ties_flipped"]) == (1, 1)
    turned[3, 3] = 1.2  # to a class that was no rival
    found = parity(reference, replace(MEASURED, logits=turned), ROWS).check("labels")
    assert found.outcome == "different"
    assert "row 3" in found.sentence


def test_a_logit_that_is_not_finite_is_a_finding() -> None:
    broken = MEASURED.logits.copy()
    broken[5, 1] = np.nan
    found = parity(MEASURED, replace(MEASURED, logits=broken), ROWS)
    assert found.failed
    assert "'row 5'" in found.check("logits").sentence
    assert found.check("labels").outcome == "not run"


def test_what_could_not_run_says_why_and_caps_the_verdict() -> None:
    found = parity(MEASURED, replace(MEASURED, tokens=None), replace(ROWS, label=None))
    assert "Not run, because the program was given token ids" in found.check("tokens").sentence
    assert "Not run, because the holdout is still shut" in found.check("score").sentence
    assert found.verdict == "INCONCLUSIVE"
    assert not found.passed and not found.failed
    one_group = parity(MEASURED, MEASURED, replace(ROWS, group=np.full(N, "g")))
    assert one_group.check("score").outcome == "not run"


def test_the_score_is_the_paired_difference_of_the_metric() -> None:
    theirs = np.roll(MEASURED.logits, 1, axis=1)
    found = parity(MEASURED, replace(MEASURED, logits=theirs), ROWS, ParityTerms(metric="accuracy")).check("score")
    fall = (theirs.argmax(1) == LABEL).mean() - (MEASURED.logits.argmax(1) == LABEL).mean()
    assert found.figures["value"] == pytest.approx(fall)
    assert found.figures["low"] < fall < found.figures["high"]
    assert found.outcome == "different"


QUANTISED = ParityTerms(is_quantised=True, metric="accuracy")


def quantised(noise: float, rows: int = N) -> Parity:
    rng = np.random.default_rng(1)
    logits = MEASURED.logits[:rows] + noise * rng.normal(size=(rows, C))
    part = ParityRows(IDS[:rows], IDS[:rows], LABEL[:rows])
    reference = Reading(MEASURED.logits[:rows], NAMES, TOKENS[:rows])
    return parity(reference, replace(reference, logits=logits), part, QUANTISED)


def test_int8_is_judged_by_score_and_labels_not_by_logits() -> None:
    found = quantised(0.005)
    assert outcomes(found) == {
        "head": "same", "label_names": "same", "tokens": "same", "logits": "reported", "labels": "same",
        "score": "same",
    }  # fmt: skip
    assert found.passed
    worthless = quantised(5.0)
    assert worthless.check("score").outcome == "different"
    assert worthless.check("labels").outcome == "different"
    assert worthless.failed


def test_int8_on_few_rows_is_not_called_equal() -> None:
    found = quantised(0.005, rows=20)
    assert found.check("labels").figures["agreement"] == 1
    assert found.check("score").outcome == "open"  # 20 equal answers do not exclude a loss of two points
    assert found.verdict == "INCONCLUSIVE"


def test_int8_keeps_the_checks_of_head_names_and_tokens() -> None:
    swapped = replace(MEASURED, label_names=NAMES[::-1])
    assert parity(MEASURED, swapped, ROWS, QUANTISED).failed


def test_a_loss_in_a_metric_where_less_is_better_has_the_right_sign() -> None:
    terms = ParityTerms(is_quantised=True, metric="log_loss")
    sharper = replace(MEASURED, logits=MEASURED.logits * 8)  # overconfident: log loss rises, labels stay
    for asked in (terms, replace(terms, is_quantised=False)):
        found = parity(MEASURED, sharper, ROWS, asked).check("score")
        assert found.figures["value"] > 0
        assert found.outcome == "different"
        assert parity(sharper, MEASURED, ROWS, asked).check("score").outcome == "same"


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(EvidenceError, match="no rows"):
        parity(MEASURED, MEASURED, ParityRows(IDS[:0], IDS[:0]))
    with pytest.raises(EvidenceError, match="candidate gives logits of 3 rows where 240"):
        parity(MEASURED, replace(MEASURED, logits=MEASURED.logits[:3]), ROWS)
    with pytest.raises(EvidenceError, match="7 labels were given for 240 rows"):
        parity(MEASURED, MEASURED, replace(ROWS, label=LABEL[:7]))
    with pytest.raises(EvidenceError, match="outside the 4 classes"):
        parity(MEASURED, MEASURED, replace(ROWS, label=LABEL + 1))
    with pytest.raises(EvidenceError, match="reference's own logits"):
        parity(replace(MEASURED, logits=MEASURED.logits * np.nan), MEASURED, ROWS)
    with pytest.raises(UsageError, match="float8"):
        parity(MEASURED, MEASURED, ROWS, ParityTerms(dtype="float8"))


def test_parity_json_holds_plain_types_with_the_promised_keys() -> None:
    found = json.loads(json.dumps(parity(MEASURED, MEASURED, ROWS).to_json(), allow_nan=False))
    assert list(found) == [
        "verdict", "n", "dtype", "is_quantised", "tolerance", "metric", "level", "max_drop", "min_agreement", "checks",
    ]  # fmt: skip
    assert found["tolerance"]["max_frac"] == TOLERANCES["float32"].max_frac
    assert {tuple(check) for check in found["checks"]} == {("check", "outcome", "sentence", "figures")}
    assert json.loads(json.dumps(quantised(0.01).to_json()))["tolerance"] is None
