"""Unnamed groups, rows unlike all others, languages, misspelled classes: planted ones are told, clean data are not."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest

from honed.data.dataset import Dataset
from honed.data.group_hints import group_hints
from honed.data.label_typos import edit_distance, label_typos
from honed.data.languages import NOT_INSTALLED, languages
from honed.data.outliers import MAX_TOLD, outliers
from honed.data.sample_checks import sample_checks

COMMON = [
    "the",
    "patient",
    "was",
    "seen",
    "today",
    "and",
    "reports",
    "no",
    "change",
    "since",
    "the",
    "last",
    "visit",
    "to",
    "our",
    "clinic",
    "in",
    "the",
    "city",
]
OWN = [f"term{i}" for i in range(400)]


def rows(
    texts: list[str], label: list[int] | None = None, traits: dict[str, list[str]] | None = None,
    names: tuple[str, ...] = ("no", "yes"),
) -> Dataset:  # fmt: skip
    n = len(texts)
    ids = np.array([f"r{i}" for i in range(n)])
    own = np.array(label if label is not None else np.arange(n) % len(names))
    cells = {name: np.array(column, dtype=np.object_) for name, column in (traits or {}).items()}
    return Dataset(ids, texts, own, ids, names, np.arange(n), traits=cells)


def notes(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.permutation(COMMON), *rng.choice(OWN, 4)]) for _ in range(n)]


# -- groups ----------------------------------------------------------------------------------------------------------


def test_a_column_named_like_a_person_is_told_with_the_flag_and_the_number_of_groups() -> None:
    patients = [f"p{i // 4}" for i in range(120)]
    (issue,) = group_hints(rows(notes(120), traits={"patient_no": patients}))
    assert issue.check == "group_hint" and issue.action == "review"
    assert "--group patient_no" in issue.evidence and "30 groups" in issue.evidence


def test_a_group_that_is_a_person_is_not_named() -> None:
    people = [("Zorblax Quux", "Jane Doe", "Peter Parker")[j % 3] + f" {chr(65 + j)}" for j in range(26)]
    (issue,) = group_hints(rows(notes(104), traits={"customer": [people[i // 4] for i in range(104)]}))
    assert "[name of a person]" in issue.evidence
    assert not any(part in issue.evidence for person in people for part in person.split()[:2])


def test_a_column_whose_rows_are_alike_is_told_whatever_its_name() -> None:
    rng = np.random.default_rng(1)
    case = rng.integers(0, 30, 120)
    texts = [f"{text} {' '.join(OWN[j * 10 : j * 10 + 6])}" for text, j in zip(notes(120), case, strict=True)]
    (issue,) = group_hints(rows(texts, traits={"zz": [f"k{j}" for j in case]}))
    assert "'zz'" in issue.evidence and "more alike than others of their class" in issue.evidence


def test_what_ids_begin_with_is_told() -> None:
    names = [f"case{i // 4}_img{i % 4}.png" for i in range(120)]
    assert any(
        "begins with" in i.evidence and "'case" in i.evidence
        for i in group_hints(rows(notes(120), traits={"file": names}))
    )


def test_groups_that_are_kept_already_are_not_told() -> None:
    patients = [f"p{i // 4}" for i in range(120)]
    grouped = rows(notes(120), traits={"patient_no": patients})
    object.__setattr__(grouped, "group", np.array(patients))
    assert not group_hints(grouped)


@pytest.mark.parametrize("seed", range(8))
def test_columns_that_group_nothing_are_not_told(seed: int) -> None:
    rng = np.random.default_rng(seed)
    traits = {"colour": [str(c) for c in rng.integers(0, 40, 160)], "when": [str(d) for d in rng.integers(0, 9, 160)]}
    assert not group_hints(rows(notes(160, seed), traits=traits))


# -- outliers --------------------------------------------------------------------------------------------------------


def test_pasted_rubbish_comes_first_and_little_else_is_told() -> None:
    texts = notes(300)
    texts[17], texts[203] = "xqzv kjwq zzxqj vvkqx qqzj wkvx", "0x7f3a 0x91bc 0xdead 0xbeef 0x1234 0x77ab"
    told = [issue.row for issue in outliers(rows(texts))]
    assert set(told[:2]) == {17, 203} and len(told) <= 4


@pytest.mark.parametrize("seed", range(5))
def test_even_texts_have_no_outliers(seed: int) -> None:
    assert not outliers(rows(notes(300, seed)))


def test_outliers_by_features_are_capped_and_say_how_many_more_there_are() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 8)) * 0.05 + np.repeat(np.eye(8), 250, axis=0)
    far = rng.choice(2000, 40, replace=False)
    features[far] = rng.normal(size=(40, 8)) * 3
    found = outliers(rows(["x"] * 2000), features=features)
    assert 0 < len(found) <= MAX_TOLD and {issue.row for issue in found} <= set(far.tolist())


# -- languages -------------------------------------------------------------------------------------------------------

ENGLISH = "The card has not arrived yet and nobody could tell me when it will be delivered to my address."
GERMAN = "Die Karte ist noch nicht angekommen und niemand konnte mir sagen, wann sie an meine Adresse geliefert wird."


def test_rows_in_another_language_are_told_and_short_texts_are_not_judged() -> None:
    pytest.importorskip("py3langid", reason="NOT RUN: needs pip install 'honed[languages]'")
    found = languages(rows([f"{ENGLISH} {i}" for i in range(60)] + [GERMAN, "Ja", "42"]))
    assert [(issue.check, issue.row) for issue in found.issues] == [("other_language", 60)]
    assert found.n_judged == 61 and next(iter(found.shares)) == "en"


def test_a_mix_without_a_main_language_is_told_once() -> None:
    pytest.importorskip("py3langid", reason="NOT RUN: needs pip install 'honed[languages]'")
    found = languages(rows([f"{ENGLISH} {i}" for i in range(30)] + [f"{GERMAN} {i}" for i in range(30)]))
    assert [issue.check for issue in found.issues] == ["language_mix"] and "en 50%" in found.issues[0].evidence


def test_without_the_package_it_is_said_that_languages_were_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.data.languages import _identifier

    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    _, not_run = sample_checks(rows(notes(120)))
    _identifier.cache_clear()
    assert NOT_INSTALLED in not_run


# -- misspelled classes ----------------------------------------------------------------------------------------------


def typos(names: tuple[str, ...], counts: tuple[int, ...]) -> list[str]:
    label = np.repeat(np.arange(len(names)), counts).tolist()
    return [issue.evidence for issue in label_typos(rows(["t"] * len(label), label, names=names))]


@pytest.mark.parametrize(
    "names",
    [("transfered", "transferrd"), ("refund", "refnud"), ("cardiology", "cardiolgy"), ("complaint", "complaints")],
)
def test_a_slip_of_the_keyboard_is_told(names: tuple[str, str]) -> None:
    (told,) = typos(names, (100, 4))
    assert all(repr(name) in told for name in names)


@pytest.mark.parametrize(
    "names",
    [("grade 1", "grade 2"), ("type A", "type B"), ("positive", "negative"), ("hypertension", "hypotension"),
     ("weight", "height"), ("male", "female"), ("T1", "T2"), ("mild", "wild")],
)  # fmt: skip
def test_meaning_is_no_slip(names: tuple[str, str]) -> None:
    assert not typos(names, (100, 4))


def test_two_frequent_classes_are_not_one_misspelled() -> None:
    assert not typos(("contract", "contrast"), (100, 90))


@pytest.mark.parametrize(
    ("a", "b", "n"), [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abcd", 1), ("kitten", "sitting", 3)]
)
def test_edit_distance_is_that_of_the_definition(a: str, b: str, n: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == n


@pytest.mark.parametrize("name", ["banking77", "legal_roles", "medical_abstracts"])
def test_real_classes_stay_quiet(name: str, shared_data: object) -> None:
    import csv
    from pathlib import Path

    with (Path(str(shared_data)) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        counts = Counter(row["label"] for row in csv.DictReader(file))
    assert not typos(tuple(counts), tuple(counts.values()))
