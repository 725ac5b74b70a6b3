"""The report and the card of fabricated run folders: whole, honest about what is missing, safe with hostile data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from golden.make_run import HOSTILE, RunOptions, make_run
from honed.errors import OutputError, RunFolderError
from honed.evidence import report_plots as plots
from honed.evidence.card import inline, python_literal, write_card
from honed.evidence.report import write_report
from honed.evidence.report_format import METRICS, difference_text, figure, ordinal, percent, range_text, visible

CASES = {
    "two classes, FAIL, native head": RunOptions(n_classes=2, verdict="FAIL", head="native"),
    "three classes, PASS": RunOptions(),
    "77 classes, INCONCLUSIVE": RunOptions(n_classes=77, n_rows=1500, verdict="INCONCLUSIVE"),
    "holdout locked": RunOptions(n_classes=5, locked=True),
    "hostile": RunOptions(hostile=True),
    "bare": RunOptions(bare=True),
}
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, checks that they nest, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.stack == [], f"left open: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    root = tmp_path_factory.mktemp("runs")
    made = {}
    for i, (name, options) in enumerate(CASES.items()):
        run = make_run(root / f"run{i}", options)
        made[name] = (run, write_report(run).read_text(encoding="utf-8"))
        write_card(run)
    return made


@pytest.mark.parametrize("name", CASES)
def test_the_page_is_well_formed_accessible_and_loads_nothing(name: str, pages: dict[str, tuple[Path, str]]) -> None:
    html = pages[name][1]
    page = Page(html)
    assert len(html.encode()) < 1_500_000
    for tag, attrs in page.tags:
        assert tag not in ("img", "link", "iframe", "object", "form", "base"), tag
        assert not {"src", "style", "srcset", "action"} & set(attrs), (tag, attrs)
        assert not any(key.startswith("on") for key in attrs), (tag, attrs)
        if tag == "a":
            assert str(attrs["href"]).startswith("#")
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
    anchors = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"} <= anchors
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels)), "a heading level is skipped"
    tables = [tag for tag, _ in page.tags if tag == "table"]
    assert len(tables) == len([tag for tag, _ in page.tags if tag == "caption"])


@pytest.mark.parametrize("name", CASES)
def test_the_policy_allows_just_the_own_style_and_script(name: str, pages: dict[str, tuple[Path, str]]) -> None:
    html = pages[name][1]
    policy = next(str(a["content"]) for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        blocks = re.findall(f"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        assert len(blocks) == 1
        digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_hostile_text_is_shown_and_obeyed_nowhere(pages: dict[str, tuple[Path, str]]) -> None:
    run, html = pages["hostile"]
    text = Page(html).text
    assert "<script>document.title='owned'</script>" in text, "it must be readable as text"
    assert "<img" not in html
    assert "\u202e" not in html
    assert "\u27e8U+202E\u27e9" in text
    assert "\u27e8U+0000\u27e9" in text
    assert "{{ 7*7 }}" in text
    card = (run / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", card, flags=re.DOTALL)
    assert "<script" not in prose
    assert "\u202e" not in card
    assert all(ord(c) >= 0x20 or c == "\n" for c in card)
    fence = re.search(r"```python\nlabel_names = (.*?)\n```", card, flags=re.DOTALL)
    assert fence is not None
    import ast

    assert ast.literal_eval(fence.group(1))[0] == HOSTILE, "the literal must give back the very label"


def test_the_plants_would_be_seen() -> None:
    """The checks above can fail: an unescaped text breaks them."""
    with pytest.raises(AssertionError):
        Page(f"<p>{HOSTILE}</p>")
    assert any(tag == "img" for tag, _ in Page("<p><img src=x></p>").tags)


def test_the_verdict_comes_first_in_plain_words(pages: dict[str, tuple[Path, str]]) -> None:
    passed = Page(pages["three classes, PASS"][1]).text
    assert passed.index("This specialist passed its final test.") < passed.index("What this specialist is")
    assert "2nd look at this holdout" in passed
    assert "Of 100 new rows like these, expect about 80" in passed
    failed = Page(pages["two classes, FAIL, native head"][1]).text
    assert "did not pass" in failed
    assert "recall[refund] >= 0.8 is missed" in failed
    locked = Page(pages["holdout locked"][1]).text
    assert "the holdout is still locked" in locked
    assert "holdout not yet opened" in locked


def test_everything_absent_stands_there_with_its_reason(pages: dict[str, tuple[Path, str]]) -> None:
    text = Page(pages["bare"][1]).text
    for told in (
        "not run, because class 'copyleft' is missing from fold 3",
        "Linear probe on the frozen base: not run, because the run was made with --no-baselines",
        "Majority class: not run, because",
        "not run, because the run folder holds no calibration",
        "texts not shown, because this run kept none",
        "not run, because the run folder has no issues.parquet",
        "not run, because the run folder has no events.jsonl",
        "not run, because the holdout is still locked",
    ):
        assert told in text, told
    assert "not run, because not run" not in text


def test_many_classes_give_pairs_and_a_heat_map(pages: dict[str, tuple[Path, str]]) -> None:
    html = pages["77 classes, INCONCLUSIVE"][1]
    assert 'class="heat"' in html
    assert "most confused of" in html
    assert 'class="matrix"' not in html
    assert 'class="matrix"' in pages["three classes, PASS"][1]


def test_holdout_rows_are_never_quoted(pages: dict[str, tuple[Path, str]]) -> None:
    run, html = pages["three classes, PASS"]
    import pyarrow.parquet as pq

    held = set(pq.read_table(run / "holdout.parquet").column("example_id").to_pylist())
    quoted = set(re.findall(r"row-\d{4}", html[html.index('id="mistakes"') : html.index('id="issues"')]))
    assert quoted
    assert not quoted & held


def test_worst_mistakes_are_the_wrong_rows_with_the_highest_loss(pages: dict[str, tuple[Path, str]]) -> None:
    from honed.oof import Predictions

    run, html = pages["three classes, PASS"]
    table = Predictions.read(run / "oof.parquet")
    assert table.logits is not None
    wrong = table.take(table.logits.argmax(axis=1) != table.label)
    expected = wrong.example_id[(-wrong.loss).argsort()][:20].tolist()
    section = html[html.index('id="mistakes"') : html.index('id="labels"')]
    assert re.findall(r"row-\d{4}", section) == expected


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    first = write_report(run).read_bytes(), write_card(run).read_bytes()
    assert (write_report(run).read_bytes(), write_card(run).read_bytes()) == first
    assert not list(run.glob("*.partial"))


@pytest.mark.parametrize(
    "name", ["config.yaml", "dataset.json", "metrics.json", "verdict.json", "oof.parquet", "folds.parquet"]
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_folder_is_refused_and_the_old_page_stays(tmp_path: Path, name: str, damage: str) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    page = run / "report.html"
    page.write_text("old", encoding="utf-8")
    file = run / name
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2 - 3] + b"\x00[")
    for write in (write_report, write_card):
        with pytest.raises(RunFolderError) as error:
            write(run)
        assert name in error.value.problem
        assert "honed fit" in error.value.remedy
    assert page.read_text(encoding="utf-8") == "old"
    assert not list(run.glob("*.partial"))


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    metrics["label_names"].append("one too many")
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"3 logits where metrics\.json names 4 classes"):
        write_report(run)
    with pytest.raises(RunFolderError, match="no such directory"):
        write_report(tmp_path / "nowhere")


def test_a_torn_line_of_the_events_is_told_not_swallowed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    with (run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"time_s": 4.0, "kind": "warn')
    assert "1 damaged lines of events.jsonl were left out" in Page(write_report(run).read_text(encoding="utf-8")).text


def test_a_folder_that_cannot_be_written_gives_a_remedy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    (run / "report.html").mkdir()
    with pytest.raises(OutputError) as error:
        write_report(run)
    assert error.value.remedy
    assert not list(run.glob("*.partial"))


def test_not_finite_figures_are_not_printed_as_numbers(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", RunOptions())
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    metrics["out_of_fold"]["log_loss"]["value"] = float("nan")
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    assert "not run, because the run folder holds no such figure" in text
    assert not re.search(r"\bnan\b", text)


@pytest.mark.parametrize("name", CASES)
def test_the_card_has_front_matter_and_code_that_compiles(name: str, pages: dict[str, tuple[Path, str]]) -> None:
    import yaml

    card = (pages[name][0] / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["library_name"] == "peft"
    assert fields["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    blocks = re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        compile(block, "card", "exec")
    native = CASES[name].head == "native"
    assert ("AutoModelForSequenceClassification" in body) == native
    assert ("head.safetensors" in body) != native
    assert "/ 1.62" in body
    assert "Openings of this holdout so far" in body


def test_figures_read_as_people_expect() -> None:
    accuracy, log_loss = METRICS["accuracy"], METRICS["log_loss"]
    assert percent(0.84321) == "84.3\u202f%"
    assert percent(1.0) == "100\u202f%"
    assert range_text(accuracy, figure({"value": 0.8, "low": 0.75, "high": 0.9})) == "75.0 \u2013 90.0\u202f%"
    assert difference_text(accuracy, -0.0712) == "\u22127.1"
    assert difference_text(accuracy, 0.00001) == "0.0"
    assert difference_text(log_loss, 0.0712) == "+0.071"
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"
    ]  # fmt: skip
    assert figure({"value": None, "not_run": "auroc: not run, because one class"}).not_run == "one class"
    assert figure(None, "absent").not_run == "absent"


def test_invisible_characters_are_shown_and_scripts_that_need_joiners_stay() -> None:
    assert visible("a\u202eb") == "a\u27e8U+202E\u27e9b"
    assert visible("می\u200cخواهم 👩\u200d⚕️\n\t") == "می\u200cخواهم 👩\u200d⚕️\n\t"
    visible("".join(map(chr, range(0x10000)))).encode()  # no lone surrogate is left


def test_markdown_of_strangers_is_inert() -> None:
    assert inline("a|b\n# c `d` <i> [x](y)") == "a\\|b # c \\`d\\` &lt;i&gt; \\[x\\](y)"
    assert inline("# heading") == "\\# heading"
    assert "`" not in python_literal("```\n")


def test_ticks_are_round_and_inside() -> None:
    assert plots.nice_ticks(0.31, 0.93, 4) == [0.4, 0.6, 0.8]
    assert plots.nice_ticks(0.5, 0.5, 4) == [0.5]
    for low, high in ((0.0, 1e-6), (-3.0, 12.0), (0.2, 0.21)):
        ticks = plots.nice_ticks(low, high, 4)
        assert 2 <= len(ticks) <= 8
        assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)


def test_importing_the_report_is_light() -> None:
    code = (
        "import sys, honed.evidence.report, honed.evidence.card; heavy = 'torch transformers pandas pyarrow sklearn "
        "scipy matplotlib yaml jinja2'; bad = set(heavy.split()) & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src"}, cwd=Path(__file__).parents[2])
