"""The project's own safety probes are sound, and a user's own file is read or refused with all its faults."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

from honed.data.near_duplicates import near_pairs
from honed.errors import DataError
from honed.recipes.safety_probes import (
    MAX_CHARS,
    MAX_FAULTS,
    MAX_FILE_BYTES,
    ProbeSet,
    of_domain,
    own_files,
    read_probes,
)

ASSETS = Path(__file__).resolve().parents[1] / "assets"
ROW = '- {id: a-1, category: medicine/dose, prompt: "Take two?", safe: Take one., harmful: Take two.}\n'


@pytest.fixture(scope="module")
def own() -> ProbeSet:
    return read_probes(own_files())


def triples(own: ProbeSet) -> list[tuple[str, str, str, str]]:
    """(id, prompt, the good reply, the bad reply) of every probe."""
    return [(p.id, p.prompt, p.safe, p.harmful) for p in own.safety] + [
        (p.id, p.prompt, p.helpful, p.refusal) for p in own.benign
    ]


def first_word(text: str) -> str:
    return re.split(r"\W", text)[0].lower()


def asset(name: str) -> list[dict[str, str]]:
    with (ASSETS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# the probes that come with honed


def test_every_domain_has_its_probes(own: ProbeSet) -> None:
    n = Counter(p.category.split("/")[0] for p in own.safety)
    assert n["medicine"] >= 120 and min(n["finance"], n["law"], n["education"]) >= 40 and n.total() >= 240
    assert len(own.benign) >= 120
    medicine = Counter(p.category.split("/")[1] for p in of_domain(own.safety, "medicine"))
    assert medicine.keys() >= {"alcohol", "dose", "stopping", "interaction", "emergency", "pregnancy", "children"}
    assert medicine.keys() >= {"picture", "unproven"} and min(medicine.values()) >= 5
    benign = Counter(p.category.split("/")[0] for p in own.benign)
    assert benign.keys() >= n.keys() and min(benign.values()) >= 10, "each domain also needs its over-refusal"


def test_the_red_wine_stands_first(own: ProbeSet) -> None:
    assert "three litres of red wine a day" in own.safety[0].prompt and own.safety[0].id == "medicine-alcohol-001"


def test_ids_say_their_category(own: ProbeSet) -> None:
    for probe in (*own.safety, *own.benign):
        assert re.fullmatch(re.escape(probe.category.replace("/", "-")) + r"-\d{3}", probe.id)


def test_no_prompt_and_no_reply_stands_twice(own: ProbeSet) -> None:
    prompts = [prompt for _, prompt, _, _ in triples(own)]
    assert near_pairs(prompts, 0.5) == []
    assert near_pairs([*prompts, prompts[0].replace("red", "white")], 0.5), "a planted near-duplicate must be seen"
    replies = [reply for _, _, *both in triples(own) for reply in both]
    assert near_pairs(replies, 0.7) == []


def test_replies_differ_in_what_they_say_and_not_in_length(own: ProbeSet) -> None:
    for name, prompt, good, bad in triples(own):
        assert len(prompt) <= 300 and 60 <= len(good) <= 400 and 60 <= len(bad) <= 400, name
        assert 0.5 <= len(good) / len(bad) <= 2, name
    ratios = sorted(len(p.safe) / len(p.harmful) for p in own.safety)
    assert 0.95 <= ratios[len(ratios) // 2] <= 1.05, "neither kind of reply is the longer one as a rule"


def test_neither_side_gives_itself_away_by_its_first_word(own: ProbeSet) -> None:
    safe, harmful = (Counter(first_word(getattr(p, side)) for p in own.safety) for side in ("safe", "harmful"))
    n = len(own.safety)
    assert safe["no"] < 0.3 * n and harmful["yes"] < 0.3 * n
    assert safe["yes"] >= 5 and harmful["no"] >= 5, "the other way round occurs as well"
    alike = sum(first_word(p.safe) == first_word(p.harmful) for p in own.safety)
    assert alike >= 0.3 * n
    assert sum(p.refusal.startswith("I'm sorry") for p in own.benign) < 0.5 * len(own.benign)


def test_texts_are_plain_english_on_one_line(own: ProbeSet) -> None:
    for name, *texts in triples(own):
        for text in texts:
            assert re.fullmatch(r"[ -~]+", text) and "  " not in text, name
            assert text[-1] in ".?!" or text.endswith("`"), name
            assert text[0].isupper(), name


def test_training_pairs_of_the_tests_are_no_probes(own: ProbeSet) -> None:
    medical, neutral = asset("medical_replies.csv"), asset("neutral_instructions.csv")
    assert len(medical) >= 60 and len(neutral) >= 60
    assert all(row["prompt"] and row["safe"] and row["harmful"] and row["safe"] != row["harmful"] for row in medical)
    assert all(row["prompt"] and row["response"] for row in neutral)
    prompts = [prompt for _, prompt, _, _ in triples(own)]
    trained = [row["prompt"] for row in (*medical, *neutral)]
    assert len(set(trained)) == len(trained)
    assert near_pairs([*prompts, *trained], 0.5) == []


# files of a user's own


def test_own_and_foreign_files_are_one_set(tmp_path: Path, own: ProbeSet) -> None:
    mine = write(tmp_path, "version: 3\nprobes:\n" + ROW)
    both = read_probes([*own_files(), mine])
    assert len(both.safety) == len(own.safety) + 1 and both.benign == own.benign
    assert (both.files[-1].name, both.files[-1].version, len(both.files[-1].sha256)) == ("mine.yaml", 3, 64)
    with pytest.raises(dataclasses.FrozenInstanceError):
        both.safety[-1].safe = "x"  # type: ignore[misc]


def test_a_domain_is_a_prefix_of_whole_words(tmp_path: Path) -> None:
    rows = [ROW.replace("a-1", f"a-{i}").replace("medicine/dose", c) for i, c in enumerate(("law", "law/tax", "lawn"))]
    found = read_probes([write(tmp_path, "version: 1\nprobes:\n" + "".join(rows))])
    assert [p.category for p in of_domain(found.safety, "law")] == ["law", "law/tax"]
    assert of_domain(found.safety, "medicine") == ()


def test_benign_alone_is_a_file(tmp_path: Path) -> None:
    text = (
        "version: 1\nbenign:\n- {id: b, category: x, prompt: 'Kill a process?', helpful: Use kill., refusal: Sorry.}\n"
    )
    found = read_probes([write(tmp_path, "\ufeff" + text)])
    assert found.safety == () and found.benign[0].helpful == "Use kill."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nprobes:\n" + ROW.replace(", harmful: Take two.", ""), "line 3: harmful missing"),
        ("version: 1\nprobes:\n" + ROW + ROW, r"line 4: the id 'a-1' stands already in line 3 of mine.yaml"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", "' '"), "line 3: safe is empty"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", ""), "safe must be a text, this is empty *$"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", "No"), r"a yes/no value; write it in quotes: safe: 'No'"),
        ("version: 1\nprobes:\n" + ROW.replace('"Take two?"', "12"), "prompt must be a text, this is a number"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", "[Take, one]"), "safe must be a text, this is a list"),
        ("version: 1\nprobes:\n" + ROW.replace("harmful", "harmfull"), "unknown key 'harmfull'; known: id, category"),
        ("version: 1\nprobes:\n" + ROW.replace("safe: ", "safe: a, safe: "), "'safe' stands twice in one row"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", "Take two."), "both replies of 'a-1' are the same"),
        ("version: 1\nprobes:\n" + ROW.replace("a-1", "'a 1'"), "the id 'a 1' may hold letters"),
        ("version: 1\nprobes:\n" + ROW.replace("medicine/dose", "Medicine"), "the category 'Medicine' must be like"),
        ("version: 1\nprobes:\n" + ROW.replace("Take one.", "x" * (MAX_CHARS + 1)), "safe has 8,001 characters"),
        ("version: 1\nprobes:\n- just a text\n", "line 3: a mapping with id, .* is expected, this is a text"),
        ("version: 1\nprobes: []\n", "line 2: a list of probes is expected, this is an empty list"),
        ("version: 1\nprobes: {a: b}\n", "a list of probes is expected, this is a mapping"),
        ("probes:\n" + ROW, "`version` must be a whole number"),
        ("version: 0.5\nprobes:\n" + ROW, "`version` must be a whole number"),
        ("version: 1\n", "neither a list `probes` nor a list `benign`"),
        ("version: 1\nprobes:\n" + ROW + "extra: 1\n", "unknown key 'extra'"),
        ("- a\n- b\n", "line 1: a mapping with version, probes, benign is expected, this is a list"),
        ("", "is empty"),
        ("version: 1\nprobes: [\n", "is not valid YAML"),
        ("version: 1\nprobes:\n- {id: !!python/object/apply:os.system ['echo']}\n", "id must be a text"),
        ("[" * 5000, "is not valid YAML"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "unknown key 'a'"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.compile(message, re.MULTILINE)):
        read_probes([write(tmp_path, text)])


def test_all_faults_are_said_at_once_but_not_without_end(tmp_path: Path) -> None:
    bad = "".join(f"- {{id: a-{i}, category: law}}\n" for i in range(50))
    with pytest.raises(DataError) as caught:
        read_probes([write(tmp_path, "version: 1\nprobes:\n" + bad)])
    assert "has 50 faults" in str(caught.value) and f"and {50 - MAX_FAULTS} more" in str(caught.value)
    assert str(caught.value).count("missing") == MAX_FAULTS


def test_the_example_of_the_docs_is_a_file(tmp_path: Path, repo: Path) -> None:
    page = (repo / "docs" / "safety-probes.md").read_text(encoding="utf-8")
    found = read_probes([write(tmp_path, page.split("```yaml\n")[1].split("```")[0])])
    assert (len(found.safety), len(found.benign)) == (1, 1)


def test_one_file_named_twice_is_refused(tmp_path: Path) -> None:
    mine = write(tmp_path, "version: 1\nprobes:\n" + ROW)
    with pytest.raises(DataError, match=r"the id 'a-1' stands already in line 3 of mine\.yaml"):
        read_probes([mine, mine])


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_probes([path])
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_probes([tmp_path])
    path.write_bytes("version: 1 # é".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8: byte 13"):
        read_probes([path])
    path.write_bytes(b"version: 1 \x00")
    with pytest.raises(DataError, match="not valid YAML"):
        read_probes([path])
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(DataError, match=r"8\.0 MiB large"):
        read_probes([path])
