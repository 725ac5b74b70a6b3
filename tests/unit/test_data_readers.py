"""What the readers accept: the odd but legal files of real users."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from honed.data.csv_files import sniff_delimiter
from honed.data.readers import read_table


def read(tmp_path: Path, content: bytes | str, name: str = "a.csv") -> dict[str, list[str | None]]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(str(path)).to_pydict()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "content",
    [
        "text,label\na,1\nb,2\n",
        "\ufefftext,label\na,1\nb,2\n",
        "text,label\r\na,1\r\nb,2",
        "text,label\ra,1\rb,2\r",
        "text,label\r\na,1\nb,2\r\n\n\n",
        "\n\ntext,label\n\na,1\n\nb,2\n",
        "text;label\na;1\nb;2\n",
        "text\tlabel\na\t1\nb\t2\n",
        "text|label\na|1\nb|2\n",
        '"text","label"\n"a","1"\n"b","2"\n',
        " text , label\na,1\nb,2\n",
    ],
)
def test_dialects_of_csv_read_alike(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == {"text": ["a", "b"], "label": ["1", "2"]}


def test_every_csv_cell_is_a_string(tmp_path: Path) -> None:
    content = "text,label\na,007\nb,1\nc,1.0\nd,\ne,NA\nf,true\n"
    assert read(tmp_path, content)["label"] == ["007", "1", "1.0", "", "NA", "true"]


def test_quoted_newlines_delimiters_and_quotes_survive(tmp_path: Path) -> None:
    content = 'text,label\n"one\r\ntwo, ""three""",x\nsays "hi" plainly,y\n'
    assert read(tmp_path, content)["text"] == ['one\r\ntwo, "three"', 'says "hi" plainly']


def test_a_text_of_a_megabyte_is_one_cell(tmp_path: Path) -> None:
    long = "word " * 200_000
    assert read(tmp_path, f'text,label\n"{long}",x\nb,y\n')["text"][0] == long


def test_unnamed_index_column_of_pandas_gets_a_name(tmp_path: Path) -> None:
    assert list(read(tmp_path, ",text,label\n0,a,x\n")) == ["unnamed_0", "text", "label"]


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("text\nhello, you\n", ","),
        ("text;label\na, b and c, d;x\n", ";"),
        ("id;text,raw;label\n1;a;x\n2;b;y\n", ";"),
        ('"a;b;c",label\nx,y\n', ","),
        ('"open,label\nx,y\n', ","),
    ],
)
def test_delimiter_is_sniffed_from_the_header(content: str, delimiter: str) -> None:
    assert sniff_delimiter(content) == delimiter


def test_tsv_is_cut_at_tabs_only(tmp_path: Path) -> None:
    assert read(tmp_path, "text\tlabel\na, b; c\tx\n", "a.tsv") == {"text": ["a, b; c"], "label": ["x"]}


def test_json_lines_become_strings_and_gaps_become_null(tmp_path: Path) -> None:
    lines = (
        '{"text": "a", "label": 1}\r\n{"text": "b", "label": 1.0}\n\n'
        '{"label": NaN, "more": true}\n{"text": "c", "label": 0.5}'
    )
    assert read(tmp_path, lines, "a.jsonl") == {
        "text": ["a", "b", None, "c"],
        "label": ["1", "1", None, "0.5"],
        "more": [None, None, "True", None],
    }


def test_json_lines_are_cut_at_newlines_only(tmp_path: Path) -> None:
    text = "line\u2028separator\u0085next"
    content = json.dumps({"text": text}, ensure_ascii=False)
    assert read(tmp_path, content + "\n" + content, "a.jsonl") == {"text": [text, text]}


def test_json_array_and_unused_nested_columns_are_read(tmp_path: Path) -> None:
    rows = [{"text": "a", "meta": {"x": [1]}}, {"text": "b", "meta": None}]
    assert read(tmp_path, json.dumps(rows, indent=2), "a.json") == {"text": ["a", "b"], "meta": ['{"x": [1]}', None]}


def test_lone_surrogate_becomes_the_replacement_character(tmp_path: Path) -> None:
    assert read(tmp_path, '{"text": "cut emoji \\ud83d!"}', "a.jsonl") == {"text": ["cut emoji \ufffd!"]}


def test_parquet_in_a_folder_that_looks_like_a_partition(tmp_path: Path) -> None:
    folder = tmp_path / "split=train"
    folder.mkdir()
    table = pa.table({"text": ["a"], "__index_level_0__": [5]})
    pq.write_table(table, folder / "a.parquet")
    assert read_table(str(folder / "a.parquet")).to_pydict() == {"text": ["a"]}


def test_labels_of_a_hub_dataset_get_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package `datasets` is not installed")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    asked: list[tuple[str, str]] = []

    def load(name: str, *, split: str) -> object:
        asked.append((name, split))
        return made

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.chdir(tmp_path)
    assert read_table("org/name:test").to_pydict() == {"text": ["a", "b", "c"], "label": ["yes", "no", None]}
    read_table("datasets:name")
    assert asked == [("org/name", "test"), ("name", "train")]
