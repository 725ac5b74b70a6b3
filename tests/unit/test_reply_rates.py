"""Rates of generated replies: the truth comes back through a detector that errs, and the interval holds it."""

from __future__ import annotations

import numpy as np
import pytest

from honed.errors import EvidenceError
from honed.evidence.reply_rates import (
    REPLY_CLASSES,
    DetectorRows,
    ProbeReplies,
    reply_rates,
    reply_rates_json,
    worst_replies,
)

CONFUSION = np.array([[75, 3, 2, 20], [3, 90, 2, 5], [1, 2, 95, 2], [15, 4, 1, 80]])
"""Per hundred replies of each class: what the detector takes them for."""
HARMFUL = REPLY_CLASSES.index("harmful")


def detector(counts: np.ndarray, kind: str = "harm") -> DetectorRows:
    label, prediction = (np.repeat(own.ravel(), counts.ravel()) for own in np.indices(counts.shape))
    return DetectorRows(np.full(len(label), kind), np.arange(len(label)).astype(str), label, prediction)


def replies(base: np.ndarray, specialist: np.ndarray, rows: DetectorRows, kind: str = "harm") -> ProbeReplies:
    """base, specialist : the classes that the detector found."""
    n, eye = len(base), np.eye(len(REPLY_CLASSES))
    texts = {side: tuple(f"{side} reply {i}" for i in range(n)) for side in ("base", "specialist")}
    prob = {"base": eye[base], "specialist": eye[specialist]}
    ids, questions = (tuple(f"{word} {i}" for i in range(n)) for word in ("probe", "question"))
    return ProbeReplies(ids, ("medicine/dose",) * n, np.full(n, kind), questions, texts, prob, rows)


def found_of(rates: list[float]) -> np.ndarray:
    """The found classes of a thousand replies with these true rates, exactly as the confusion says."""
    counts = 1000 * np.array(rates) @ (CONFUSION / 100)
    assert np.allclose(counts, counts.round())
    return np.repeat(np.arange(len(rates)), counts.round().astype(int))


def test_a_known_confusion_gives_back_the_known_rates() -> None:
    true = {"base": [0.0, 0.2, 0.1, 0.7], "specialist": [0.4, 0.1, 0.0, 0.5]}
    table = replies(found_of(true["base"]), found_of(true["specialist"]), detector(CONFUSION * 10))
    rates = reply_rates(table, "harm")
    assert rates.share["base"]["harmful"] == pytest.approx(0.7 * 0.15 + 0.1 * 0.01 + 0.2 * 0.03)  # where there is none
    for side, own in true.items():
        assert [rates.side[side][name].value for name in REPLY_CLASSES] == pytest.approx(own, abs=1e-3)
    assert rates.change["harmful"].value == pytest.approx(0.4, abs=1e-3)
    assert rates.change["harmful"].low > 0.25 and rates.change["harmful"].p_value < 0.05


def test_a_detector_without_errors_changes_nothing() -> None:
    found = np.repeat([0, 1, 2, 3], [3, 5, 2, 10])
    rates = reply_rates(replies(found, found, detector(np.eye(4, dtype=int) * 200)), "harm")
    for name, share in rates.share["base"].items():
        assert rates.side["base"][name].value == pytest.approx(share)
        assert rates.side["base"][name].low < share < rates.side["base"][name].high
        assert rates.change[name].low < rates.change[name].value == 0 < rates.change[name].high


def test_the_same_tables_give_the_same_interval() -> None:
    table = replies(np.array([0, 3, 3, 1] * 5), np.array([3, 3, 0, 1] * 5), detector(CONFUSION))
    assert reply_rates_json(table) == reply_rates_json(table)


def test_an_uncertain_detector_widens_the_interval() -> None:
    """The same replies and the same shares of errors, known from 100 rows a class, or from 10 of them."""
    found = np.repeat([0, 3], [300, 700])
    sure, unsure = (
        reply_rates(replies(found, found, detector(counts)), "harm").side["base"]["harmful"]
        for counts in (CONFUSION * 10, (CONFUSION / 10).round().astype(int))
    )
    assert unsure.high - unsure.low > 2 * (sure.high - sure.low)


def test_rows_of_one_group_count_as_one_look() -> None:
    rows = detector(CONFUSION)
    lumped = DetectorRows(rows.kind, (np.arange(len(rows.kind)) % 8).astype(str), rows.label, rows.prediction)
    clumped = DetectorRows(rows.kind, rows.prediction.astype(str), rows.label, rows.prediction)
    found = np.repeat([0, 3], [300, 700])
    width = [
        (own.high - own.low)
        for own in (reply_rates(replies(found, found, r), "harm").side["base"]["harmful"] for r in (lumped, clumped))
    ]
    assert width[1] > 1.5 * width[0]


@pytest.mark.parametrize(
    ("base", "specialist"),
    [([0.05, 0.3, 0.1, 0.55], [0.4, 0.2, 0.05, 0.35]), ([0, 0.3, 0.1, 0.6], [0, 0.3, 0.1, 0.6])],
)
def test_intervals_hold_the_truth_as_often_as_they_say(base: list[float], specialist: list[float]) -> None:
    """24 simulated runs of 60 prompts, each with a detector of its own; without correction most would miss."""
    rng = np.random.default_rng(3)
    chance = CONFUSION / CONFUSION.sum(axis=1, keepdims=True)

    def sort(true: np.ndarray) -> np.ndarray:
        return (rng.random(len(true))[:, None] > chance[true].cumsum(axis=1)).sum(axis=1).clip(0, 3)

    n_runs, held, held_change = 24, 0, 0
    for _ in range(n_runs):
        true = [rng.choice(4, p=own, size=60) for own in (base, specialist)]
        label = np.repeat(np.arange(4), 150)
        rows = DetectorRows(np.full(len(label), "harm"), np.arange(len(label)).astype(str), label, sort(label))
        rates = reply_rates(replies(sort(true[0]), sort(true[1]), rows), "harm")
        own, change = rates.side["specialist"]["harmful"], rates.change["harmful"]
        held += own.low - 0.01 <= specialist[HARMFUL] <= own.high
        held_change += change.low <= specialist[HARMFUL] - base[HARMFUL] <= change.high
    assert min(held, held_change) >= 20  # of 24 at 95 %: fewer in one case of 150


def test_harmless_prompts_have_no_harmful_class() -> None:
    counts = np.array([[0, 0, 0, 0], [1, 90, 2, 7], [0, 1, 98, 1], [4, 3, 3, 90]])
    found = np.repeat([0, 1, 2, 3], [1, 2, 6, 15])
    rates = reply_rates(replies(found, found, detector(counts, "benign"), "benign"), "benign")
    assert rates.classes == ("no_answer", "refusal", "sound")
    assert sum(rates.side["base"][name].value for name in rates.classes) == pytest.approx(1)
    told = reply_rates_json(replies(found, found, detector(counts, "benign"), "benign"))
    assert set(told) == {"benign"} and "harmful" not in told["benign"]["detector"]


def test_rows_without_a_kind_serve_both() -> None:
    rows = detector(CONFUSION, kind="")
    found = np.array([0, 3] * 10)
    assert reply_rates(replies(found, found, rows), "harm").n == 20


def test_a_detector_that_cannot_tell_is_not_believed() -> None:
    blind = np.array([[50, 0, 0, 50], [0, 100, 0, 0], [0, 0, 100, 0], [50, 0, 0, 50]])
    found = np.array([0, 3] * 10)
    with pytest.raises(EvidenceError, match="'harmful' as often"):
        reply_rates(replies(found, found, detector(blind)), "harm")
    assert "not run, because" in reply_rates_json(replies(found, found, detector(blind)))["harm"]["not_run"]
    with pytest.raises(EvidenceError, match="1 replies"):
        reply_rates(replies(found[:1], found[:1], detector(CONFUSION)), "harm")


def test_the_worst_reply_stands_first() -> None:
    table = replies(np.array([3, 3, 3]), np.array([3, 0, 3]), detector(CONFUSION))
    assert worst_replies(table, "harm", 2) == [1, 0]
    assert worst_replies(table, "benign", 2) == []
