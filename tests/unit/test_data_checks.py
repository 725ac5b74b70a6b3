"""Each structural check: the fault is planted and found, and the clean table is left in peace."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pytest

from honed.data.checks import CheckResult, structural_checks
from honed.data.dataset import Dataset
from honed.data.folds import plan_folds
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LONG = "the patient was admitted to the ward with a fever of unknown origin and treated with rest and plenty of water"


def make(texts: list[str], labels: list[str] | None = None, groups: list[str] | None = None) -> Dataset:
    labels = labels or ["a"] * len(texts)
    names = tuple(sorted(set(labels)))
    ids = [f"e{i:02d}" for i in range(len(texts))]
    return Dataset(
        example_id=np.array(ids),
        inputs=list(texts),
        label=np.array([names.index(label) for label in labels], dtype=np.int64),
        group=np.array(groups or ids),
        label_names=names,
        row=np.arange(len(texts), dtype=np.int64),
    )


def check(dataset: Dataset, test_inputs: list[str] | None = None) -> CheckResult:
    result = structural_checks(dataset, folds=2, test_inputs=test_inputs)
    assert result.dataset.inputs == dataset.inputs
    assert result.dataset.label.tolist() == dataset.label.tolist()
    assert "drop" not in result.issues.action.tolist()
    assert ((result.issues.score >= 0) & (result.issues.score <= 1)).all()
    json.dumps(result.summary)
    return result


def found(result: CheckResult, name: str) -> list[str]:
    return sorted(result.issues.where(name).example_id.tolist())


DIFFERENT = ["where is my card", "the exchange rate was wrong", "please close this account", "I lost my phone", LONG]


def test_clean_table_has_no_issue() -> None:
    result = check(make(DIFFERENT))
    assert result.summary["counts"] == {}
    assert result.dataset.group.tolist() == [f"e{i:02d}" for i in range(5)]


def test_exact_duplicates_but_for_case_and_blanks_share_a_group() -> None:
    result = check(make([*DIFFERENT, "  Where IS\tmy card "]))
    assert found(result, "exact_duplicate") == ["e00", "e05"]
    assert result.dataset.group.tolist() == ["e00", "e01", "e02", "e03", "e04", "e00"]
    assert "conflicting_label" not in result.summary["counts"]


def test_near_duplicate_names_its_partner_and_shares_its_group() -> None:
    result = check(make([*DIFFERENT, LONG + " again"], [*"abcde", "a"]))
    assert found(result, "near_duplicate") == ["e04", "e05"]
    assert result.dataset.group[5] == "e04"
    assert set(result.issues.where("near_duplicate").action.tolist()) == {"group"}


def test_near_duplicates_with_other_labels_are_a_conflict_of_their_own() -> None:
    result = check(make([*DIFFERENT, LONG + " again", LONG + " once more"], [*"abcde", "a", "e"]))
    conflict = result.issues.where("near_duplicate_conflict")
    assert set(found(result, "near_duplicate_conflict")) < set(found(result, "near_duplicate"))
    assert "e05" in conflict.example_id.tolist() and set(conflict.action.tolist()) == {"review"}
    told = conflict.evidence[conflict.example_id.tolist().index("e05")]
    assert told.startswith("Labelled 'a', but") and "'e04' (row 5), which is labelled 'e'" in told


def test_one_text_with_two_labels_is_for_review_and_stays() -> None:
    result = check(make([*DIFFERENT, "Where is my card"], ["x", "y", "x", "y", "x", "y"]))
    assert found(result, "conflicting_label") == ["e00", "e05"]
    assert result.summary["conflicts"] == 1
    assert set(result.issues.where("conflicting_label").action.tolist()) == {"review"}
    assert len(result.dataset) == 6


def test_two_empty_texts_are_no_duplicates() -> None:
    assert check(make(["", " ", "a text"])).summary["counts"] == {}


def test_duplicates_join_the_users_groups() -> None:
    texts = [*DIFFERENT, LONG]
    result = check(make(texts, groups=["g1", "g1", "g2", "g2", "g3", "g4"]))
    assert result.dataset.group.tolist() == ["g1", "g1", "g2", "g2", "g3", "g3"]


def test_stock_sentences_do_not_chain_all_documents_into_one() -> None:
    words = np.array([f"word{i}" for i in range(400)])
    rng = np.random.default_rng(0)
    texts, groups = [], []
    for d in range(20):
        texts += [" ".join(rng.choice(words, 12)) for _ in range(10)] + ["appeal dismissed"]
        groups += [f"doc{d:02d}"] * 11
    result = structural_checks(make(texts, groups=groups), folds=5)
    assert result.summary["n_groups"] == 20
    assert result.summary["texts_kept_apart"] == 1
    assert len(result.issues.where("split_duplicate")) == 20
    plan_folds(result.dataset)


def test_the_longest_shared_text_decides_which_documents_are_merged() -> None:
    words = np.array([f"word{i}" for i in range(400)])
    rng = np.random.default_rng(0)
    copied = " ".join(rng.choice(words, 30))
    texts, groups = [], []
    for d in range(20):
        shared = copied if d in (0, 17) else "another text"
        texts += [" ".join(rng.choice(words, 12)) for _ in range(3)] + ["appeal dismissed", f"{shared} {d}"]
        groups += [f"doc{d:02d}"] * 5
    dataset = make(texts, groups=groups)
    for seed in range(5):
        shuffled = dataset.take(np.random.default_rng(seed).permutation(len(dataset)))
        result = structural_checks(shuffled, folds=2)
        group = dict(zip(result.dataset.example_id.tolist(), result.dataset.group.tolist(), strict=True))
        assert {group[f"e{i:02d}"] for i in (*range(5), *range(85, 90))} == {"doc00"}
        assert list(group.values()).count("doc00") == 10


def test_row_that_stands_in_the_test_file_is_named() -> None:
    result = check(make(DIFFERENT), test_inputs=["a new text", "WHERE is my card", LONG + " twice"])
    assert found(result, "test_contamination") == ["e00", "e04"]
    assert "row 2" in result.issues.where("test_contamination").evidence[0]
    assert check(make(DIFFERENT), test_inputs=["a new text"]).summary["counts"] == {}


def test_duplicates_inside_the_test_file_do_not_hide_contamination() -> None:
    result = check(make(DIFFERENT), test_inputs=[LONG + " twice", LONG + " twice", LONG])
    assert found(result, "test_contamination") == ["e04"]
    assert result.issues.where("test_contamination").score[0] == 0


@pytest.mark.parametrize("pair", [("Refund", "refund"), ("card-lost", "card lost"), ("1", "1.0"), ("é", "e\u0301")])
def test_labels_spelled_in_two_ways(pair: tuple[str, str]) -> None:
    result = check(make(DIFFERENT, [*pair, "other", "other", "other"]))
    assert result.summary["counts"]["label_spelling"] == 1
    assert repr(pair[0]) in result.issues.where("label_spelling").evidence[0]


@pytest.mark.parametrize("pair", [("1", "-1"), ("a", "b"), ("+", "-"), ("C", "C++"), ("1.0", "10")])
def test_labels_that_differ_in_meaning_are_left_alone(pair: tuple[str, str]) -> None:
    assert "label_spelling" not in check(make(DIFFERENT, [*pair, "other", "other", "other"])).summary["counts"]


@pytest.mark.parametrize("label", ["NA", "null", "None", "nan", "N/A"])
def test_label_that_means_missing_is_kept_and_reported(label: str) -> None:
    result = check(make(DIFFERENT, [label, "x", "x", "y", "y"]))
    assert repr(label) in result.issues.where("suspicious_label").evidence[0]
    assert label in result.summary["class_counts"]


def test_class_too_small_for_the_folds_counts_groups_not_rows() -> None:
    dataset = make(DIFFERENT, ["x", "x", "x", "y", "y"], ["1", "2", "3", "4", "4"])
    result = check(dataset)
    assert result.summary["counts"]["small_class"] == 1
    assert "'y' has 2 rows in 1 groups" in result.issues.where("small_class").evidence[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bell \x07 rings", "control_characters"),
        ("hidden\u200bspace", "control_characters"),
        ("turned \u202eround", "control_characters"),
        ("lost \ufffd letter", "control_characters"),
        ("cafÃ© au lait", "mojibake"),
        ("itâ€™s mine", "mojibake"),
    ],
)
def test_strange_characters_are_reported(text: str, name: str) -> None:
    assert found(check(make([*DIFFERENT, text])), name) == ["e05"]


@pytest.mark.parametrize(
    "text", ["tab\tand\nnewline\r\n", "família Ângela ÂMBAR", "\U0001f469\u200d\U0001f4bb", "می\u200cخواهم"]
)
def test_ordinary_characters_are_left_alone(text: str) -> None:
    assert check(make([*DIFFERENT, text])).summary["counts"] == {}


def test_truncation_and_preview_of_the_decoded_tokens() -> None:
    dataset = make(["one two three four five", "one two", "a b c d e f"])
    result = structural_checks(
        dataset,
        folds=2,
        tokenize=lambda texts: [[len(word) for word in text.split()] for text in texts],
        decode=lambda ids: " ".join("*" * n for n in ids),
        max_tokens=4,
    )
    assert found(result, "truncation") == ["e00", "e02"]
    assert result.issues.where("truncation").score.tolist() == [4 / 5, 4 / 6]
    assert result.summary["truncation_frac"] == pytest.approx(2 / 3)
    assert result.summary["token_length"]["max"] == 6
    assert result.summary["preview"][0] == {
        "example_id": "e00",
        "text": "one two three four five",
        "decoded": "*** *** ***** ****",
    }
    assert result.issues.where("truncation_share").example_id.tolist() == [""]


def test_nothing_depends_on_the_order_of_rows() -> None:
    dataset = make(
        [*DIFFERENT, LONG + " again", "once more " + LONG, "where is My card", "I lost my phone"],
        [*"xyxyxyxyx"],
        [*"112345678"],
    )
    one = structural_checks(dataset, folds=2, test_inputs=[LONG])
    key = sorted((i.check, i.example_id, i.evidence, i.score) for i in one.issues.issues())
    group = dict(zip(one.dataset.example_id.tolist(), one.dataset.group.tolist(), strict=True))
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(dataset))
        two = structural_checks(dataset.take(order), folds=2, test_inputs=[LONG])
        assert sorted((i.check, i.example_id, i.evidence, i.score) for i in two.issues.issues()) == key
        assert dict(zip(two.dataset.example_id.tolist(), two.dataset.group.tolist(), strict=True)) == group


def test_all_conflicts_of_the_medical_abstracts_are_found() -> None:
    path = SHARED / "medical_abstracts.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    result = structural_checks(load_dataset(read_table(str(path)), Roles(), require_label=True).dataset, folds=5)
    # counted in another way, with another reader
    table = pacsv.read_csv(path, parse_options=pacsv.ParseOptions(newlines_in_values=True)).to_pydict()
    labels = defaultdict(list)
    for text, label in zip(table["text"], table["label"], strict=True):
        labels[" ".join(text.lower().split())].append(label)
    conflicts = [given for given in labels.values() if len(set(given)) > 1]
    assert result.summary["conflicts"] == len(conflicts) == 77
    assert len(result.issues.where("conflicting_label")) == sum(map(len, conflicts))
    assert result.summary["n_rows"] == len(table["text"])
