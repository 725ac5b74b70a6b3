"""Promises of the finder and of redaction, for texts and tables that nobody thought of."""

from __future__ import annotations

import csv
import io
import json
import string
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from honed.data import redaction
from honed.data.personal.find import find_personal, find_personal_batch, mask
from honed.data.personal.folding import fold
from honed.data.personal.hit import KINDS
from honed.data.personal.pseudonyms import Pseudonyms
from honed.data.redaction import redact_file

PERSONAL = st.sampled_from(
    """a@example.org|4539 5787 6362 1486|GB82 WEST 1234 5698 7654 32|536-22-8726|Dr. Grayson|born 12.03.1985|Sarah Jones
tel. 020 7946 0958|+44 20 7946 0958|203.0.113.77|MRN 00123456|12 Mill Road, Leeds LS1 4AB""".replace("\n", "|").split(
        "|"
    )
)
ANY = st.text(max_size=30)
MIXED = st.lists(st.one_of(PERSONAL, ANY, st.text(string.digits + " .-/+@,()\n", max_size=20)), max_size=6).map(
    " ".join
)


@given(MIXED)
def test_hits_lie_in_the_text_in_order_and_apart(text: str) -> None:
    hits = find_personal(text)
    assert all(0 <= hit.start < hit.end <= len(text) and 0 < hit.score <= 1 and hit.kind in KINDS for hit in hits)
    assert all(one.end <= other.start for one, other in pairwise(hits))
    assert find_personal(text) == hits


@given(ANY)
def test_a_folded_text_leads_back_to_where_it_stood(text: str) -> None:
    folded = fold(text)
    for i in range(len(folded.text)):
        start, end = folded.span(i, i + 1)
        assert end == start + 1
        assert fold(text[start:end]).text == folded.text[i]


@given(MIXED)
def test_a_mask_keeps_what_is_not_personal(text: str) -> None:
    shown, hits = mask(text), find_personal(text)
    rest = text
    for hit in reversed(hits):
        rest = rest[: hit.start] + f"[{KINDS[hit.kind].one}]" + rest[hit.end :]
    assert shown == rest


@given(st.lists(MIXED, max_size=5))
def test_redacted_texts_hold_nothing_and_stay_as_they_are(texts: list[str]) -> None:
    once = Pseudonyms().replace(texts, [None] * len(texts))
    assert find_personal_batch(once) == []
    assert Pseudonyms().replace(once, [None] * len(once)) == once
    for text, redacted in zip(texts, once, strict=True):
        assert redacted == text or find_personal(text)


# What csv writes and reads without loss: no lone surrogates in UTF-8, no NUL, no lone carriage return.
CELL = MIXED.map(lambda text: text.encode("utf-8", "ignore").decode().replace("\x00", "").replace("\r", ""))


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.sampled_from(",;|"), st.integers(1, 60))
def test_a_csv_copy_reads_as_its_cells_redacted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, part: int
) -> None:
    """Reference: parse with csv, redact each cell; here the bytes are edited in parts of any size."""
    folder = Path(tmp_path_factory.mktemp("csv"))
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("first", "second"), *rows])
    (folder / "a.csv").write_text(file.getvalue(), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_PART_CHARACTERS", part)
        redact_file(str(folder / "a.csv"), folder / "b.csv", find_personal_batch)
    with (folder / "b.csv").open(encoding="utf-8", newline="") as copy:
        read = list(csv.reader(copy, delimiter=delimiter))
    cells = [cell for row in rows for cell in row]
    redacted = Pseudonyms().replace(cells, ["first", "second"] * len(rows))
    assert [cell for row in read[1:] for cell in row] == redacted


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**16), 10**16), MIXED),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, min_size=1), min_size=1, max_size=4))
def test_a_json_copy_reads_as_its_texts_redacted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = Path(tmp_path_factory.mktemp("json"))
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    redact_file(str(folder / "a.jsonl"), folder / "b.jsonl", find_personal_batch)
    copied = [json.loads(line) for line in (folder / "b.jsonl").read_text(encoding="utf-8").splitlines()]
    leaves = list(_leaves(rows))
    replaced = iter(Pseudonyms().replace([str(leaf) for leaf in leaves], [None] * len(leaves)))
    expected = [leaf if str(leaf) == new else new for leaf, new in zip(leaves, replaced, strict=True)]
    assert list(_leaves(copied)) == expected


def _leaves(value: object) -> list[object]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [] if value is None or isinstance(value, bool) else [value]
