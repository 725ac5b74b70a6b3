"""Precision and recall on 1,000 rows of templates that the finder was not developed on, with floors below the figures.

The figures themselves are in docs/personal-data.md; `benchmarks/personal.py` prints them.
"""

from __future__ import annotations

import pytest

from honed.data.personal.find import find_personal_batch
from personal_rows import judge, personal_rows

# kind -> (precision, recall)
FLOORS = {
    "address": (0.95, 0.9),
    "birth_date": (0.97, 0.95),
    "card": (0.97, 0.97),
    "email": (0.97, 0.97),
    "iban": (0.97, 0.97),
    "ip": (0.9, 0.9),
    "name": (0.95, 0.65),
    "national_id": (0.97, 0.97),
    "phone": (0.85, 0.95),
    "record": (0.95, 0.9),
}


def test_precision_and_recall_on_held_out_templates() -> None:
    _, held_out = personal_rows()
    hits = find_personal_batch([row.text for row in held_out])
    scores = judge(held_out, [(i, hit.kind, hit.start, hit.end) for i, hit in hits])
    assert set(FLOORS) <= set(scores)
    assert set(scores) <= {*FLOORS, "profile"}
    for kind, (precision, recall) in FLOORS.items():
        assert scores[kind].n_true >= 15, f"{kind}: too few to judge"
        assert scores[kind].precision >= precision, kind
        assert scores[kind].recall >= recall, kind


def test_half_of_the_rows_are_traps_and_none_is_empty() -> None:
    for rows in personal_rows():
        without = sum(not row.spans for row in rows)
        assert 0.35 < without / len(rows) < 0.65
        assert all(row.text and all(row.text[start:end].strip() for _, start, end in row.spans) for row in rows)


def test_the_judge_counts_misses_and_false_alarms() -> None:
    rows = personal_rows()[0][:200]
    true = [(i, kind, start, end) for i, row in enumerate(rows) for kind, start, end in row.spans]
    assert all(score.precision == score.recall == 1 for score in judge(rows, true).values())
    email = judge(rows, [hit for hit in true if hit[1] != "email"])["email"]
    assert email.recall == 0
    shifted = judge(rows, [(i, kind, end, end + 1) for i, kind, _, end in true])
    assert all(score.precision == 0 for score in shifted.values())
    assert judge(rows, [*true, (0, "ip", 0, 1)])["ip"].precision < 1


def test_rows_depend_on_the_seed_alone() -> None:
    assert personal_rows(seed=1, n=50) == personal_rows(seed=1, n=50)
    assert personal_rows(seed=1, n=50) != personal_rows(seed=2, n=50)


def test_the_real_questions_of_bank_customers_hold_nothing_personal(shared_data: object) -> None:
    from honed.data.readers import read_table

    texts = read_table(f"{shared_data}/banking77.csv").column("text").to_pylist()
    assert find_personal_batch(texts) == []


@pytest.mark.parametrize("file", ["medical_abstracts.csv"])
def test_abstracts_raise_few_alarms(shared_data: object, file: str) -> None:
    from honed.data.readers import read_table

    texts = read_table(f"{shared_data}/{file}").column("text").to_pylist()
    hits = find_personal_batch(texts)
    assert len({i for i, _ in hits}) <= 0.01 * len(texts)
    assert {hit.kind for _, hit in hits} <= {"name"}
