"""The reader's part of the table of bad input: each case a class of error, a problem, a remedy, and the place named."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import DataError, HonedError, UsageError

GOOD = "text,label\ngood,pos\nbad,neg\nfine,pos\nawful,neg\n"


@dataclass(frozen=True)
class Case:
    """A file (name, content), the roles asked for, and what the message must name."""

    name: str
    content: bytes | str | Callable[[Path], None]
    error: type[HonedError]
    names: tuple[str, ...]
    roles: Roles = field(default_factory=Roles)


def parquet(columns: dict[str, object]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def parquet_with_two_columns_of_one_name(path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)


def cut_off_parquet(path: Path) -> None:
    parquet({"text": ["a"] * 500, "label": ["x"] * 500})(path)
    path.write_bytes(path.read_bytes()[:-40])


def rows(n: int, label: Callable[[int], object]) -> str:
    return "text,label\n" + "".join(f"text number {i},{label(i)}\n" for i in range(n))


def json_rows(*values: object) -> str:
    return "\n".join(json.dumps(value) for value in values)


FOUR = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(4)]

CASES = {
    "empty file": Case("a.csv", "", DataError, ("a.csv", "empty")),
    "blank lines only": Case("a.csv", "\n\r\n\n", DataError, ("a.csv", "empty")),
    "only a byte order mark": Case("a.csv", b"\xef\xbb\xbf", DataError, ("a.csv", "empty")),
    "header only": Case("a.csv", "text,label\n", DataError, ("a.csv", "header", "text, label")),
    "empty jsonl": Case("a.jsonl", "\n", DataError, ("a.jsonl", "empty")),
    "empty json list": Case("a.json", "[]", DataError, ("a.json", "empty")),
    "empty parquet file": Case("a.parquet", b"", DataError, ("a.parquet", "empty")),
    "parquet without rows": Case("a.parquet", parquet({"text": pa.array([], pa.string())}), DataError, ("0 rows",)),
    "row too long": Case("a.csv", GOOD + "one,two,three\n", DataError, ("line 6", "3 fields", "has 2")),
    "row too short": Case("a.csv", "text,label\nonly\n" + "a,b\n", DataError, ("line 2", "1 field,", "has 2")),
    "ragged after a quoted newline": Case("a.csv", 'text,label\n"a\nb",x\nc,d,e\n', DataError, ("line 4",)),
    "ragged after blank lines": Case("a.csv", "\n\r\ntext,label\n\na,b,c\n", DataError, ("line 5",)),
    "quote never closed": Case("a.csv", 'text,label\na,b\n"open,b\nc,d\n', DataError, ("line 3", "never closed")),
    "text after a quote": Case("a.csv", 'text,label\n"a" b,c\n', DataError, ("line 2", "closing quote")),
    "backslash before a quote": Case("a.csv", 'text,label\n"he said \\"hi\\"",c\n', DataError, ("line 2", "backslash")),
    "windows-1252": Case("a.csv", b"text,label\ncaf\xe9,x\n", DataError, ("line 2", "byte 4", "0xE9", "WINDOWS-1252")),
    "windows-1252 after a mark": Case(
        "a.csv", b"\xef\xbb\xbftext,label\ncaf\xe9,x\n", DataError, ("line 2", "byte 4", "0xE9")
    ),
    "utf-16": Case("a.csv", GOOD.encode("utf-16"), DataError, ("line 1", "UTF-16", "iconv")),
    "utf-16 without mark": Case("a.csv", GOOD.encode("utf-16-le"), DataError, ("NUL", "line 1", "UTF-16")),
    "cyrillic code page": Case(
        "a.csv", "text,label\nпривет как дела,да\n".encode("cp1251") * 3, DataError, ("CP1251",)
    ),
    "cut inside a character": Case("a.csv", "text,label\na,é".encode()[:-1], DataError, ("line 2", "cut off")),
    "nul byte": Case("a.csv", "text,label\na,b\nc\0,d\n", DataError, ("NUL", "line 3")),
    "two columns of one name": Case("a.csv", "text,label,text\na,b,c\n", DataError, ("'text'", "[1, 3]")),
    "two parquet columns of one name": Case(
        "a.parquet", parquet_with_two_columns_of_one_name, DataError, ("'text'", "[1, 2]")
    ),
    "broken json line": Case("a.jsonl", '{"text": "a"}\n{"text": "b"\n', DataError, ("line 2", "column")),
    "pretty-printed object": Case("a.jsonl", json.dumps({"text": "a"}, indent=1), DataError, ("line 1", "one line")),
    "json line is a list": Case("a.jsonl", '{"text": "a"}\n[1, 2]\n', DataError, ("line 2", "list")),
    "json line is a string": Case("a.jsonl", '{"text": "a"}\n\n"hello"\n', DataError, ("line 3", "str")),
    "json nested too deep": Case("a.jsonl", '{"text": ' + "[" * 100_000, DataError, ("line 1",)),
    "nested text": Case(
        "a.jsonl", json_rows(FOUR[0], {"text": {"en": "x"}, "label": "a"}), DataError, ("'text'", "row 2", "--text")
    ),
    "nested parquet label": Case(
        "a.parquet", parquet({"text": ["a", "b"], "label": [["x"], ["y"]]}), DataError, ("'label'", "--label")
    ),
    "bytes as text": Case("a.parquet", parquet({"text": [b"a", b"b"], "label": ["x", "y"]}), DataError, ("bytes",)),
    "cut-off parquet": Case("a.parquet", cut_off_parquet, DataError, ("a.parquet", "cut off")),
    "csv named parquet": Case("a.parquet", GOOD, DataError, ("a.parquet", "Parquet")),
    "parquet strings not utf-8": Case(
        "a.parquet", parquet({"text": pa.array([b"\xff"]).view(pa.string())}), DataError, ("a.parquet",)
    ),
    "excel": Case("a.xlsx", b"PK\x03\x04....", DataError, ("Excel", "CSV")),
    "excel named csv": Case("a.csv", b"PK\x03\x04....", DataError, ("Excel", "(.csv)")),
    "zip": Case("a.zip", b"PK\x03\x04....", DataError, ("archive", "Unpack")),
    "gzip named csv": Case("a.csv", gzip.compress(GOOD.encode()), DataError, ("compressed", "gunzip")),
    "pickle": Case("a.pkl", pickle.dumps([1]), DataError, ("pickle", "Parquet")),
    "pickle named csv": Case("a.csv", pickle.dumps([1] * 10), DataError, ("pickle", "Parquet")),
    "unknown suffix": Case("a.docx2", "hello", DataError, (".docx2", ".csv")),
    "one class": Case("a.csv", rows(9, lambda _: "x"), DataError, ("'label'", "one class", "'x'", "9 rows")),
    "two rows": Case("a.csv", rows(2, "ab".__getitem__), DataError, ("Only 2 rows", "4")),
    "10,000 classes": Case("a.csv", rows(10_000, str), DataError, ("'label'", "10000 different", "id")),
    "2,000 classes of many rows": Case("a.csv", rows(8_000, lambda i: i % 2000), DataError, ("2000 different", "id")),
    "a number as the label": Case("a.csv", rows(50, lambda i: i / 7 + 0.01), DataError, ("number",)),
    "no label at all": Case("a.csv", rows(5, lambda _: ""), DataError, ("None of the 5 rows", "--label")),
    "no text at all": Case("a.csv", "text,label\n ,a\n ,b\n", DataError, ("None of the 2 rows", "--text")),
    "duplicate ids": Case(
        "a.csv", "id,text,label\n7,a,x\n8,b,y\n7,c,x\n9,d,y\n", DataError, ("'id'", "'7'", "rows 1, 3", "--id")
    ),
    "missing id": Case("a.csv", "id,text,label\n7,a,x\n,b,y\n", DataError, ("'id'", "row 2", "--id")),
    "missing text column": Case(
        "a.csv", GOOD, UsageError, ("--text txet", "Did you mean --text text", "text, label"), Roles(text="txet")
    ),
    "missing label column": Case("a.csv", GOOD, UsageError, ("--label Zebra", "text, label"), Roles(label="Zebra")),
    "missing group column": Case("a.csv", GOOD, UsageError, ("--group patient",), Roles(group="patient")),
    "missing id column": Case("a.csv", GOOD, UsageError, ("--id key",), Roles(id="key")),
    "no obvious label": Case("a.csv", GOOD.replace("label", "zz"), UsageError, ("text, zz", "--label")),
    "no obvious text": Case("a.csv", "a,b,label\nx,y,1\nx,y,2\n", UsageError, ("a, b, label", "--text", "header")),
    "text is the label": Case("a.csv", GOOD, UsageError, ("'text'",), Roles(text="text", label="text")),
    "text and template": Case(
        "a.csv", GOOD, UsageError, ("--text", "--template"), Roles(text="text", template="{text}")
    ),
    "unknown name in the template": Case(
        "a.csv", GOOD, UsageError, ("'txt'", "Did you mean {text}"), Roles(template="{txt}")
    ),
    "attribute in the template": Case(
        "a.csv", GOOD, UsageError, ("{text.__class__}", "plain name"), Roles(template="{text.__class__}")
    ),
    "index in the template": Case("a.csv", GOOD, UsageError, ("{text[0]}", "plain name"), Roles(template="{text[0]}")),
    "conversion in the template": Case("a.csv", GOOD, UsageError, ("conversion",), Roles(template="{text!r}")),
    "format in the template": Case("a.csv", GOOD, UsageError, ("format",), Roles(template="{text:>9999999999}")),
    "open brace in the template": Case("a.csv", GOOD, UsageError, ("cannot be read",), Roles(template="{text")),
    "number in the template": Case("a.csv", GOOD, UsageError, ("''",), Roles(template="{}")),
    "no column in the template": Case("a.csv", GOOD, UsageError, ("names no column",), Roles(template="hello")),
    "answer in the template": Case("a.csv", GOOD, UsageError, ("'label'",), Roles(template="{text} {label}")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_file_is_refused_with_problem_place_and_remedy(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    before = path.read_bytes()
    with pytest.raises(HonedError) as caught:
        load_dataset(read_table(str(path)), case.roles, require_label=True)
    assert type(caught.value) is case.error
    assert caught.value.exit_code == (2 if case.error is UsageError else 3)
    assert caught.value.problem
    assert caught.value.remedy
    missing = [name for name in case.names if name not in str(caught.value)]
    assert not missing, f"{missing} not named in: {caught.value}"
    assert path.read_bytes() == before


def test_missing_file_names_its_most_similar_neighbour(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text(GOOD)
    with pytest.raises(UsageError, match=r"Did you mean .*reviews\.csv"):
        read_table(str(tmp_path / "review.csv"))
    with pytest.raises(UsageError, match=r"Did you mean .*reviews\.csv"):
        read_table(str(tmp_path / "reviews.parquet"))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no_such_folder does not exist"):
        read_table(str(tmp_path / "no_such_folder" / "a.csv"))


def test_folder_is_refused_with_the_file_inside(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    with pytest.raises(UsageError, match=r"is a folder.*rows\.csv"):
        read_table(str(tmp_path))


def test_dataset_of_the_hub_offline_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package `datasets` is not installed")

    def offline(name: str, *, split: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.chdir(tmp_path)
    for source in ("org/some-name", "datasets:org/some-name", "datasets:name:test"):
        with pytest.raises(DataError) as caught:
            read_table(source)
        assert "cannot be reached" in caught.value.cause
        assert ".csv" in caught.value.remedy


def test_mistyped_path_is_not_looked_up_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for source in ("data/reviews", "data/reviews.csv", "nowhere/reviews.csv", "reviews"):
        with pytest.raises(UsageError, match="There is no file"):
            read_table(source)


def test_unknown_class_of_an_existing_model(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(GOOD.replace("fine,pos", "fine,pso"))
    with pytest.raises(DataError, match=r"'pso'.*Did you mean 'pos'"):
        load_dataset(read_table(str(path)), Roles(), require_label=True, label_names=("neg", "pos"))
