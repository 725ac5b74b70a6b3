"""General language: what ships is whole and apart from what is trained on; a user's own file is read strictly."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from honed.data.near_duplicates import near_pairs
from honed.errors import DataError
from honed.recipes.forgetting_probes import (
    FOLDER,
    MAX_CHARS,
    MAX_FILE_BYTES,
    GeneralInstruction,
    GeneralText,
    load_general_instructions,
    load_general_texts,
    load_replay,
    read_general,
)

TEXTS, INSTRUCTIONS, REPLAY = load_general_texts(), load_general_instructions(), load_replay()
NEAR = 0.5  # far below the 0.8 of `honed check`: scored and trained rows must be well apart


def words(text: str) -> list[str]:
    return text.split()


def test_the_numbers_of_rows() -> None:
    assert (len(TEXTS), len(INSTRUCTIONS), len(REPLAY)) == (60, 60, 160)


def test_ids_are_stable_and_unique_across_the_files() -> None:
    ids = [row.id for row in (*TEXTS, *INSTRUCTIONS, *REPLAY)]
    assert len(set(ids)) == len(ids)
    for name, rows in (("text", TEXTS), ("instruction", INSTRUCTIONS), ("replay", REPLAY)):
        assert [row.id for row in rows] == [f"{name}-{number:03d}" for number in range(1, len(rows) + 1)]


def test_lengths_are_bounded() -> None:
    assert [row.id for row in TEXTS if not 60 <= len(words(row.text)) <= 110] == []
    asked = (*INSTRUCTIONS, *REPLAY)
    assert [row.id for row in asked if len(words(row.prompt)) > 45 or len(words(row.reply)) > 60] == []


def test_no_kind_outweighs_the_others() -> None:
    assert len({row.kind for row in TEXTS}) >= 15
    assert max(Counter(row.kind for row in TEXTS).values()) <= 6
    for rows in (INSTRUCTIONS, REPLAY):
        assert {row.category for row in rows} == {row.category for row in INSTRUCTIONS}
        assert max(Counter(row.category for row in rows).values()) <= len(rows) / 5


def test_nothing_is_nearly_the_same_within_or_between_the_files() -> None:
    texts = [row.text for row in TEXTS]
    prompts = [row.prompt for row in (*INSTRUCTIONS, *REPLAY)]
    assert near_pairs([*texts, *prompts], NEAR) == []
    assert near_pairs([*texts, *(row.reply for row in (*INSTRUCTIONS, *REPLAY))], NEAR) == []


def test_a_planted_paraphrase_of_a_scored_prompt_is_caught() -> None:
    prompts = [row.prompt for row in INSTRUCTIONS]
    planted = prompts[0].replace("Explain", "Please explain")
    assert [(pair.i, pair.j) for pair in near_pairs([*prompts, planted], NEAR)] == [(0, len(prompts))]


def test_the_files_are_plain_text_and_the_python_in_them_compiles() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert text.isascii() and not re.search(r"TODO|lorem|[ \t]$", text, re.IGNORECASE | re.MULTILINE)
    for row in (*INSTRUCTIONS, *REPLAY):
        if row.reply.startswith(("def ", "for ", "result =", "n %")):
            compile(row.reply, row.id, "exec")


def test_rows_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TEXTS[0].text = "other"  # type: ignore[misc]


def written(folder: Path, content: str | bytes, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_of_ones_own_may_hold_both(tmp_path: Path) -> None:
    found = read_general(
        written(
            tmp_path,
            "version: 3\ntexts:\n- {id: a, kind: mail, text: One text.}\n"
            "instructions:\n- {id: b, category: list, prompt: Name it., reply: Done.}\n",
        )
    )
    assert found.version == 3
    assert found.texts == (GeneralText("a", "mail", "One text."),)
    assert found.instructions == (GeneralInstruction("b", "list", "Name it.", "Done."),)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_plain_text_is_cut_at_blank_lines(tmp_path: Path, end: str) -> None:
    path = written(tmp_path, "\ufeff" + end.join(["First line", "goes on.", " ", "", "Second."]), "mine.txt")
    assert read_general(path).texts == (
        GeneralText("mine-001", "text", "First line goes on."),
        GeneralText("mine-002", "text", "Second."),
    )


TEXT = "version: 1\ntexts:\n- {id: a, kind: k, text: One.}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\ufeff \n", "is empty"),
        ("version: 1\ntexts: []\n", "`texts` must be a list of rows, this is an empty list"),
        (TEXT.replace("texts", "tests"), "unknown key 'tests'; did you mean 'texts'"),
        (TEXT.replace("kind", "knid"), "row 1 of texts: unknown key 'knid'; did you mean 'kind'"),
        (TEXT.replace("version: 1", "version: new"), "`version` must be a whole number"),
        (TEXT.replace("version: 1", "version: true"), "`version` must be a whole number"),
        (TEXT.replace("One.", "2"), "text must be a text, this is a number"),
        (TEXT.replace("One.", "2020-01-02"), "text must be a text, this is a date"),
        (TEXT.replace("One.", "2020-99-99"), "not valid YAML"),
        (TEXT.replace("One.", "[a, b]"), "this is a list"),
        (TEXT.replace("One.", "' '"), "text is empty"),
        (TEXT.replace("One.", '"\\ud800"'), "surrogate"),
        (TEXT.replace(", text: One.", ""), "text is missing"),
        (TEXT.replace(", text: One.", ", id: b, text: One."), "the key 'id' stands twice"),
        (TEXT + "- {id: a, kind: k, text: Two.}\n", "the id 'a' stands twice"),
        (TEXT + "- {id: b, kind: k, text: ONE.}\n", "'b' says the same as 'a'"),
        (TEXT + "- One text alone\n", "row 2 of texts: a mapping with id, kind, text is expected, this is a text"),
        (TEXT.replace("One.", "x" * (MAX_CHARS + 1)), "20,001 characters"),
        ("- a\n- b\n", "a mapping with `version`"),
        ("version: 1\n", "neither a list `texts` nor"),
        ("version: 1\ntexts: {a: [}\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("texts: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("version: 1\ntexts:\n- {id: a, kind: k, text: caf\u00e9}\n".encode("cp1252"), "is not UTF-8: line 3"),
        (TEXT.encode("utf-16"), "UTF-16"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_general(written(tmp_path, content))


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    rows = "".join(f"- {{id: r{number}, kind: k, text: 1}}\n" for number in range(30))
    with pytest.raises(DataError, match="has 30 faults") as caught:
        read_general(written(tmp_path, "version: 1\ntexts:\n" + rows))
    assert "row 20 of texts" in str(caught.value) and "row 21 of texts" not in str(caught.value)
    assert "and 10 more" in str(caught.value)


def test_files_that_are_no_general_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_general(tmp_path / "absent.yaml")
    with pytest.raises(DataError, match=r"ends in '\.csv'"):
        read_general(written(tmp_path, "text\n", "rows.csv"))
    with pytest.raises(DataError, match=r"8\.0 MiB large"):
        read_general(written(tmp_path, b"x" * (MAX_FILE_BYTES + 1), "large.txt"))
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_general(folder)
