"""A redacted copy: consistent pseudonyms, every other byte as it was, the original untouched, nothing overwritten."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from honed.data import redaction
from honed.data.checks import structural_checks
from honed.data.dataset import Dataset
from honed.data.personal.find import find_personal, find_personal_batch
from honed.data.personal.hit import Hit
from honed.data.personal.pseudonyms import Pseudonyms
from honed.data.readers import read_table
from honed.data.redaction import Redacted, redact_file
from honed.errors import DataError, OutputError, UsageError

CSV = (
    "\ufeffid;text;label;patient_name;score\r\n"
    'alice@example.org;"Call me on 020 7946 0958 or write to Alice@Example.org; ""bye""";a;Zoe Quux;1.50\r\n'
    "bob@example.org;Order 4539578763621486;b;N/A;01\r\n"
    "\r\n"
    'x;"two\r\nlines, my card 4539-5787-6362-1486";a;zoe  QUUX;\r\n'
    'y;a 5" pipe and "quotes";b;;2\r\n'
    "alice@example.org;last line, without an end;a;Dan;3"
)
REDACTED = (
    "\ufeffid;text;label;patient_name;score\r\n"
    '<EMAIL_1>;"Call me on <PHONE_1> or write to <EMAIL_1>; ""bye""";a;<NAME_1>;1.50\r\n'
    "<EMAIL_2>;Order 4539578763621486;b;N/A;01\r\n"
    "\r\n"
    'x;"two\r\nlines, my card <CARD_1>";a;<NAME_1>;\r\n'
    'y;a 5" pipe and "quotes";b;;2\r\n'
    "<EMAIL_1>;last line, without an end;a;<NAME_2>;3"
)


def copy(tmp_path: Path, content: str | bytes, name: str, columns: Sequence[str] | None = None) -> tuple[str, Redacted]:
    source, target = tmp_path / name, tmp_path / f"copy-{name}"
    data = content.encode() if isinstance(content, str) else content
    source.write_bytes(data)
    redacted = redact_file(str(source), target, find_personal_batch, columns)
    assert source.read_bytes() == data, "the original is only read"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, target.name]), "no half file stays"
    return target.read_bytes().decode(), redacted


@pytest.mark.parametrize("part", [1, 2, 7, 64, 1 << 20])
def test_csv_is_edited_and_not_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(redaction, "_PART_CHARACTERS", part)
    written, redacted = copy(tmp_path, CSV, "data.csv")
    assert written == REDACTED
    assert redacted.n_replaced == {"email": 4, "phone": 1, "card": 1, "name": 3}
    assert redacted.n_distinct == {"email": 2, "phone": 1, "card": 1, "name": 2}


def test_rows_that_belong_together_still_do(tmp_path: Path) -> None:
    lines = [f"user{i % 5}@example.org,text {i}" for i in range(40)]
    written, _ = copy(tmp_path, "group,text\n" + "\n".join(lines), "data.csv")
    before = [line.split(",")[0] for line in lines]
    after = [line.split(",")[0] for line in written.splitlines()[1:]]
    assert "@" not in written
    assert [before.index(group) for group in before] == [after.index(group) for group in after]


def test_only_the_named_columns(tmp_path: Path) -> None:
    written, redacted = copy(tmp_path, "a,b\nx@example.org,y@example.org\n", "data.csv", ["b"])
    assert written == "a,b\nx@example.org,<EMAIL_1>\n"
    assert redacted.n_replaced == {"email": 1}
    with pytest.raises(UsageError, match=r"'c', but .*data\.csv has no such column"):
        redact_file(str(tmp_path / "data.csv"), tmp_path / "other.csv", find_personal_batch, ["c"])
    assert not (tmp_path / "other.csv").exists()


def test_a_pseudonym_that_needs_quotes_gets_them(tmp_path: Path) -> None:
    written, _ = copy(tmp_path, 'a\tb\n"say ""x@example.org"", ok"\t1\n', "data.tsv")
    assert written == 'a\tb\n"say ""<EMAIL_1>"", ok"\t1\n'


JSONL = (
    '{"text": "write to a@example.org", "n": 1.50, "meta": {"patient_name": "Zoe", "tags": ["b@example.org", null]}}\n'
    "\n"
    '{ "text":"caf\\u00e9 \\ud83d\\ude00", "n":1e3 , "phone":2025550143,"ok":true}\r\n'
    '{"text": "caf\\u00e9 of a@example.org, \\ud83d\\ude00"}'
)


@pytest.mark.parametrize("part", [1, 40, 1 << 20])
def test_json_lines_are_edited_and_not_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(redaction, "_PART_CHARACTERS", part)
    written, redacted = copy(tmp_path, JSONL, "data.jsonl")
    lines = written.split("\n")
    assert lines[0] == (
        '{"text": "write to <EMAIL_1>", "n": 1.50, "meta": {"patient_name": "<NAME_1>", "tags": ["<EMAIL_2>", null]}}'
    )
    assert lines[2] == '{ "text":"caf\\u00e9 \\ud83d\\ude00", "n":1e3 , "phone":"<PHONE_1>","ok":true}\r'
    assert json.loads(lines[3]) == {"text": "café of <EMAIL_1>, 😀"}
    assert redacted.n_replaced == {"email": 3, "name": 1, "phone": 1}


def test_a_json_array(tmp_path: Path) -> None:
    written, _ = copy(
        tmp_path, '[\n {"email": "a@example.org",\n  "a": 1},\n {"a": "Dr. Grayson"}\n]\n', "data.json", ["a"]
    )
    assert written == '[\n {"email": "a@example.org",\n  "a": 1},\n {"a": "Dr. <NAME_1>"}\n]\n'


def test_parquet_keeps_types_and_what_is_no_text(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "text": ["a@example.org", None, "Dr. Grayson"],
            "kind": pa.array(["x", "b@example.org", "x"]).dictionary_encode(),
            "chat": pa.array([[{"role": "user", "content": "a@example.org"}], None, []]),
            "phone": pa.array([2025550143, None, 2025550144], pa.int64()),
            "n": [1.5, 2.5, 3.5],
        }
    )
    source, target = tmp_path / "data.parquet", tmp_path / "copy.parquet"
    pq.write_table(table, source)
    redacted = redact_file(str(source), target, find_personal_batch)
    assert pq.read_table(target).to_pydict() == {
        "text": ["<EMAIL_1>", None, "Dr. <NAME_1>"],
        "kind": ["x", "<EMAIL_2>", "x"],
        "chat": [[{"role": "user", "content": "<EMAIL_1>"}], None, []],
        "phone": ["<PHONE_1>", None, "<PHONE_2>"],
        "n": [1.5, 2.5, 3.5],
    }
    assert redacted.not_scanned == ("n",)
    schema = pq.read_schema(target)
    assert schema.field("kind").type == table.schema.field("kind").type
    assert schema.field("phone").type == pa.string(), "a pseudonym is no number"


def test_nothing_is_overwritten_and_no_other_format_is_made_up(tmp_path: Path) -> None:
    source = tmp_path / "data.csv"
    source.write_text("a\nx\n")
    for target, error, message in (
        (source, OutputError, "exists; nothing was overwritten"),
        (tmp_path / "copy.parquet", UsageError, "ends with .parquet, but .*data.csv with .csv"),
        (tmp_path / "no" / "copy.csv", OutputError, "there is no folder"),
    ):
        with pytest.raises(error, match=message):
            redact_file(str(source), target, find_personal_batch)
    with pytest.raises(UsageError, match="needs a file to copy, and org/name is none"):
        redact_file("org/name", tmp_path / "copy.csv", find_personal_batch)
    assert source.read_text() == "a\nx\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b'a,b\n"never closed, x@example.org\n', "never closed"),
        ("a.csv", b'a,b\n"x"y,z\n', "text after it"),
        ("a.csv", b"a,b\n\xff,x\n", "not UTF-8"),
        ("a.jsonl", b'{"a": x@example.org}\n', "where JSON is needed"),
    ],
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        redact_file(str(tmp_path / name), tmp_path / f"copy-{name}", find_personal_batch)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_check_finds_nothing_in_the_copy(tmp_path: Path) -> None:
    from personal_rows import personal_rows

    rows = [row.text for half in personal_rows(n=400) for row in half]
    file = io.StringIO()
    csv.writer(file).writerows([["text"], *([text] for text in rows)])
    copy(tmp_path, file.getvalue(), "data.csv")
    texts = read_table(str(tmp_path / "copy-data.csv")).column("text").to_pylist()
    assert find_personal_batch(texts) == []
    clean = [text for text, before in zip(texts, rows, strict=True) if not find_personal(before)]
    assert clean == [text for text in rows if not find_personal(text)], "rows without a hit stay as they were"
    assert len(clean) > 200


def test_what_a_replacement_uncovers_is_replaced_too() -> None:
    def first_letter(texts: Sequence[str]) -> list[tuple[int, Hit]]:
        return [(i, Hit("name", 0, 1, 1.0)) for i, text in enumerate(texts) if text[:1].isalpha()]

    assert Pseudonyms(first_letter).replace(["ab", "<NAME_7>"], [None, None]) == ["<NAME_1>b", "<NAME_7>"]

    def any_letter(texts: Sequence[str]) -> list[tuple[int, Hit]]:
        places = [(i, text.find("z")) for i, text in enumerate(texts)]
        return [(i, Hit("name", place, place + 1, 1.0)) for i, place in places if place >= 0]

    assert Pseudonyms(any_letter).replace(["zxz"], [None]) == ["<NAME_1>x<NAME_1>"]


def test_spellings_of_one_value_are_one() -> None:
    names = Pseudonyms()
    same = [
        ("email", "A@Example.org", "a@example.ORG"), ("card", "4539 5787 6362 1486", "4539578763621486"),
        ("phone", "+44 (0)20 7946 0958", "0044 20 7946 0958"), ("name", "zoe  QUUX", "Zoe Quux"),
        ("national_id", "AB 12 34 56 C", "ab123456c"),
        ("card", "４５３９ ５７８７ ６３６２ １４８６", "4539578763621486"),
    ]  # fmt: skip
    for kind, one, other in same:
        assert names.of(kind, one) == names.of(kind, other)
    assert names.of("name", "Zoe Quux") != names.of("email", "Zoe Quux")
    assert names.n_distinct == {"email": 1, "card": 1, "phone": 1, "name": 1, "national_id": 1} | {"email": 2}


def test_the_check_tells_kinds_and_counts_but_never_the_text() -> None:
    texts = ["write to jane@example.org or joe@example.org", "my card 4539578763621486", "plain words about nothing"]
    dataset = Dataset(
        example_id=np.array(["e0", "e1", "e2"]),
        inputs=texts,
        label=np.zeros(3, dtype=np.int64),
        group=np.array(["e0", "e1", "e2"]),
        label_names=("a",),
        row=np.arange(3),
    )
    result = structural_checks(dataset, folds=2)
    issues = result.issues.where("personal_data").issues()
    assert [(issue.example_id, issue.evidence) for issue in issues] == [
        ("e0", "2 e-mail addresses."),
        ("e1", "1 card number (Visa, checksum right)."),
    ]
    assert result.summary["personal_data"] == {
        "email": {"n_rows": 1, "n_places": 2},
        "card": {"n_rows": 1, "n_places": 1},
    }
    assert result.summary["counts"]["personal_data"] == 2
    told = json.dumps(result.summary) + " ".join(result.issues.evidence.tolist())
    assert not any(secret in told for secret in ("jane@", "joe@", "4539578763621486"))


def test_near_duplicates_do_not_repeat_what_is_personal() -> None:
    words = (
        "the patient was admitted to the ward with a fever of unknown origin and treated with rest and plenty of water"
    )
    texts = [f"{words} and jane@example.org wrote", f"{words} and jane@example.org writes"]
    dataset = Dataset(
        example_id=np.array(["jane@example.org", "b"]),
        inputs=texts,
        label=np.zeros(2, dtype=np.int64),
        group=np.array(["g", "h"]),
        label_names=("a",),
        row=np.arange(2),
    )
    issues = structural_checks(dataset, folds=2).issues
    assert len(issues.where("near_duplicate")) == 2
    assert "jane@" not in " ".join(issues.evidence.tolist())
