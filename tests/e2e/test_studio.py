"""`honed studio` as a person uses it, in a real Chromium: each flow, screenshots, no error, no request elsewhere."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("playwright", reason="NOT RUN: needs playwright (the extra dev)")
from playwright.sync_api import expect

from e2e.conftest import HOSTILE, rows, write_csv
from golden.make_run import RunOptions, make_run
from honed.evidence.report import write_report
from image_files import encoded, picture
from studio_browser import Server, Watched, find_chromium, studio, watched

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
LONG_MS = 180_000
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def runs(judged_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real run, twice, and a fabricated one of many rows whose every text is hostile."""
    find_chromium()
    root = tmp_path_factory.mktemp("studio")
    for name in ("easy-1", "easy-2"):
        shutil.copytree(judged_run, root / name)
    write_report(make_run(root / "hostile-1", RunOptions(hostile=True, n_rows=1400)))
    return root


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    with studio(runs) as started:
        yield started


@pytest.fixture
def page(server: Server) -> Iterator[Watched]:
    with watched(server) as own:
        yield own


def ready(own: Watched, path: str) -> None:
    own.go(path)
    own.page.wait_for_selector("#review[data-ready=yes]")


@pytest.mark.parametrize(("name", "options"), [("light", {}), ("dark", DARK), ("phone", PHONE)])
def test_every_page_is_accessible_and_fits_its_screen(server: Server, name: str, options: dict) -> None:
    pages = {
        "runs": "/", "compare": "/compare?run=easy-1&run=easy-2", "run": "/runs/easy-1", "hostile": "/runs/hostile-1",
        "review": "/runs/hostile-1/review", "play": "/runs/easy-1/play", "new": "/new", "fit": "/fits/easy-1",
    }  # fmt: skip
    with watched(server, **options) as own:
        for title, path in pages.items():
            own.go(path)
            if title == "review":
                ready(own, path)
            own.is_accessible()
            own.fits_its_width()
            own.shot(f"{name}-{title}")


def test_runs_are_listed_and_compared_by_keyboard_alone(page: Watched) -> None:
    own = page.page
    assert own.locator("tbody tr").count() == 3
    for name in ("easy-1", "easy-2"):
        own.get_by_label(f"Compare {name}").focus()
        own.keyboard.press("Space")
    own.get_by_role("button", name="Compare the chosen").focus()
    own.keyboard.press("Enter")
    own.wait_for_url("**/compare?run=*")
    assert "Paired, row by row" in own.inner_text("main")
    assert own.locator("table").nth(1).locator("tbody tr").count() == 2, "the paired table"
    assert "not run, because" not in own.locator("#paired + *").inner_text()


def test_the_report_and_the_gate_are_shown(page: Watched, runs: Path) -> None:
    own = page.go("/runs/easy-1")
    verdict = json.loads((runs / "easy-1" / "verdict.json").read_text())
    table = own.get_by_role("region", name="Checks of the gate")
    assert table.locator("tbody tr").count() == len(verdict["checks"]) > 0
    assert verdict["verdict"] in own.locator(".badge").inner_text()
    own.get_by_role("link", name="Report").click()
    own.wait_for_url("**/report")
    assert "honed report" in own.title()
    assert own.evaluate("window.origin") == "null", "a page of a run folder has no origin of ours"
    page.shot("report")


def test_labels_are_reviewed_by_keyboard_and_nothing_is_lost_when_the_studio_is_killed(
    judged_run: Path, cli: Callable, tmp_path: Path
) -> None:
    find_chromium()
    shutil.copytree(judged_run, tmp_path / "easy-1")
    table = pq.read_table(tmp_path / "easy-1" / "labels.parquet").to_pydict()
    with studio(tmp_path) as server, watched(server) as own:
        ready(own, "/runs/easy-1/review")
        own.page.select_option("#show", "all")
        expect(own.page.locator("#count")).to_contain_text("71 rows")
        for key in "agdu":
            own.page.keyboard.press(key)
        expect(own.page.locator("#said")).to_have_text("Taken back.")
        assert "2 decided" in own.page.inner_text("#count")
        own.page.keyboard.press("r")
        own.page.select_option("#other", label="weather")
        own.page.get_by_role("button", name="Relabel").click()
        expect(own.page.locator("#count")).to_contain_text("3 decided")
        own.shot("review-decided")
        server.kill()
    with studio(tmp_path) as server, watched(server) as own:
        ready(own, "/runs/easy-1/review")
        assert "3 decided" in own.page.inner_text("#count")
        with own.page.expect_download() as begun:
            own.page.get_by_role("link", name="Export decisions").click()
        begun.value.save_as(tmp_path / "decisions.csv")
    with (tmp_path / "decisions.csv").open(newline="", encoding="utf-8-sig") as file:
        kept = {row["example_id"]: (row["decision"], row["new_label"]) for row in csv.DictReader(file)}
    first, second, third = table["example_id"][:3]
    assert kept[first] == ("relabel", table["suggested"][0]) and kept[second] == ("keep", "")
    assert kept[third] == (("keep", "") if table["given"][2] == "weather" else ("relabel", "weather"))
    said = cli("labels", tmp_path / "easy-1", "--output", tmp_path / "all.csv")
    assert said.code == 0
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8-sig") as file:
        assert next(csv.reader(file)) == next(csv.reader((tmp_path / "decisions.csv").open(encoding="utf-8-sig")))


def test_a_long_queue_holds_only_what_is_seen_and_hostile_rows_do_nothing(page: Watched) -> None:
    ready(page, "/runs/hostile-1/review")
    own = page.page
    own.select_option("#show", "all")
    expect(own.locator("#count")).to_contain_text("1,200 rows")
    assert own.locator("#list .row").count() < 40
    own.locator("#list").focus()
    own.keyboard.press("End")
    expect(own.locator("#detail-title")).to_contain_text("1,200 of 1,200")
    assert HOSTILE[:30].startswith("<script>") and "<script>" in own.inner_text("#text")
    assert own.title() == "Labels of hostile-1 · honed studio"
    for keys, place in (
        ("Home", "1"),
        ("j", "2"),
        ("ArrowDown", "3"),
        ("k", "2"),
        ("d", "3"),
        ("Home", "1"),
        ("d", "2"),
    ):
        own.keyboard.press(keys)
        expect(own.locator("#detail-title")).to_contain_text(f", {place} of 1,200")
    own.keyboard.press("n")
    expect(own.locator("#detail-title")).to_contain_text(", 3 of 1,200")
    own.get_by_label("Keyboard shortcuts").uncheck()
    own.keyboard.press("d")
    own.wait_for_timeout(200)
    assert "2 decided" in own.inner_text("#count"), "shortcuts can be switched off"


def test_a_fit_is_started_watched_stopped_and_resumed(
    page: Watched, server: Server, runs: Path, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "parcels.csv", rows(240))
    own = page.go("/new")
    own.set_input_files("#file", file)
    own.get_by_role("button", name="Upload").click()
    own.wait_for_url("**/new?table=parcels.csv")
    assert (own.input_value("#text"), own.input_value("#label")) == ("text", "label")
    for name, value in (("depth", "1"), ("epochs", "3"), ("folds", "3"), ("max_tokens", "32"), ("name", "parcels")):
        own.fill(f"#{name}", value)
    own.get_by_label("Open the locked holdout").uncheck()
    page.shot("new-fit")
    own.get_by_role("button", name="Start the fit").click()
    own.wait_for_url("**/fits/parcels")
    expect(own.locator("#stages li").nth(1)).to_be_visible()
    page.shot("fit-running")
    assert own.inner_text("#state") == "running"
    while not (runs / "parcels" / "config.yaml").exists():
        own.wait_for_timeout(100)
    own.get_by_role("button", name="Stop").click()
    expect(own.locator("#state")).to_have_text("stopped")
    page.shot("fit-stopped")
    own.get_by_role("button", name="Resume").click()
    expect(own.locator("#state")).to_have_text("finished", timeout=LONG_MS)
    own.get_by_role("link", name="Open the run").click()
    assert "LOCKED" in own.inner_text("main") and (runs / "parcels" / "report.html").exists()


def test_a_fit_that_cannot_be_says_why(page: Watched, runs: Path, tmp_path: Path) -> None:
    lonely = [{"text": f"row {i}", "label": "only"} for i in range(30)]
    own = page.go("/new")
    own.set_input_files("#file", write_csv(tmp_path / "lonely.csv", lonely))
    own.get_by_role("button", name="Upload").click()
    own.get_by_role("button", name="Start the fit").click()
    own.wait_for_url("**/fits/lonely-1")
    expect(own.locator("#state")).to_have_text("failed")
    assert "class" in own.get_by_role("alert").inner_text()
    expect(own.locator("#resume")).to_be_hidden()
    page.shot("fit-failed")
    own.get_by_role("button", name="Forget it").click()
    own.wait_for_url("**/")
    assert "lonely-1" not in own.inner_text("main")


def test_decisions_are_taught(page: Watched, runs: Path) -> None:
    ready(page, "/runs/easy-2/review")
    own = page.page
    own.select_option("#show", "all")
    expect(own.locator("#count")).to_contain_text("71 rows")
    own.keyboard.press("d")
    expect(own.locator("#count")).to_contain_text("1 decided")
    own.get_by_role("button", name="Fit again with them").click()
    own.wait_for_url("**/fits/easy-2-1")
    expect(own.locator("#state")).to_have_text("finished", timeout=LONG_MS)
    taught = pq.read_table(runs / "easy-2-1" / "cleaning.parquet").to_pydict()
    dropped = pq.read_table(runs / "easy-2" / "labels.parquet").to_pydict()["example_id"][0]
    assert set(taught["example_id"]) == {dropped} and set(taught["source"]) == {"decision"}


def test_a_text_is_asked_of_both_models(page: Watched) -> None:
    own = page.go("/runs/easy-1/play")
    own.fill("#text", f"snow, hail and fog {HOSTILE}")
    own.get_by_role("button", name="Ask both").click()
    own.wait_for_selector("#answers", timeout=LONG_MS)
    said = own.inner_text("#answers")
    assert "Specialist: weather" in said and "Base:" in said
    assert own.locator("#answers .tokens").count() == 2 and own.locator(".tokens .t8").count() >= 1
    page.is_accessible()
    page.shot("play-text")


def test_an_image_is_asked_of_both_models_with_overlays(tmp_path: Path) -> None:
    find_chromium()
    from image_runs import make_run as make_image_run

    made = make_image_run(tmp_path, "lora", "cls")
    (tmp_path / "runs").mkdir()
    shutil.move(made, tmp_path / "runs" / "images-1")
    red = np.clip(picture(1, 20) * 0.6 + np.array([90, 0, 0]), 0, 255).astype(np.uint8)
    (tmp_path / "new.png").write_bytes(encoded(red))
    with studio(tmp_path / "runs") as server, watched(server) as own:
        own.go("/runs/images-1/play")
        own.page.set_input_files("#image", tmp_path / "new.png")
        own.page.get_by_role("button", name="Ask both").click()
        own.page.wait_for_selector("#answers", timeout=LONG_MS)
        assert own.page.locator(".pictures img").count() == 3
        assert all(own.page.locator(".pictures img").evaluate_all("all => all.map(img => img.naturalWidth > 100)"))
        own.is_accessible()
        own.shot("play-image")
        ready(own, "/runs/images-1/review")
        own.page.select_option("#show", "all")
        expect(own.page.locator("#picture")).to_have_js_property("complete", True)
        assert own.page.locator("#picture").evaluate("img => img.naturalWidth") > 0
        own.shot("review-images")
