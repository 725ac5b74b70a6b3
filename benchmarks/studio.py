"""The label review queue of `honed studio` in a real Chromium: how long it takes to open, to decide, to jump.

    python benchmarks/studio.py --json FILE [--rows 20000,100000] [--opens 9] [--chromium PATH]

For each size a run with so many judged rows of 30 words is fabricated (no training: only what the queue reads), and a
studio started over it in a process of its own. All times are taken outside the browser, Playwright's own share
included, so they err on the slow side:

- `first_open_s`: the first opening after the start of the studio, which reads the table, until a row can be decided;
- `open_s`: further openings, in a new page each;
- `decide_s`: from a key press to the next row being shown: the decision is on the disk by then;
- `jump_s`: from setting the list to a random place to its rows being shown;
- `longest_frame_s`: the longest gap between two frames while the list is scrolled through at 4 screens a frame.

`peer_s` is what a page without a paged list would take: the same rows as one plain HTML table in a local file, opened
by the same browser; `ratio` is open/peer for the first size. `ours_s` is `open_s`. Medians.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "re", "so", "ti", "va") for b in ("ben", "dor", "gal", "mis", "tun")
]
CLASSES = [f"topic {i}" for i in range(12)]
SCROLL = """() => new Promise((done) => {
  const list = document.getElementById("list"), gaps = [];
  let last = performance.now(), n = 0;
  requestAnimationFrame(function step(now) {
    gaps.push(now - last); last = now; list.scrollTop += 4 * list.clientHeight;
    if (++n < 120) requestAnimationFrame(step); else done(Math.max(...gaps.slice(1)) / 1000);
  });
})"""


def fabricate(run: Path, n: int) -> list[tuple[str, str, str]]:
    """A finished run with n judged rows; returns their texts, given and suggested labels."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    from honed.evidence.label_table import LabelTable

    draw = random.Random(0)
    ids = np.array([f"row-{i:07d}" for i in range(n)])
    texts = [" ".join(draw.choices(WORDS, k=30)) for _ in range(n)]
    given, suggested = (np.array([draw.choice(CLASSES) for _ in range(n)]) for _ in range(2))
    (run / "adapter").mkdir(parents=True)
    quality = np.sort(np.random.default_rng(0).random(n))
    counts = np.full(n, 10)
    LabelTable(ids, np.arange(n), given, suggested, quality, quality < 0.1, counts, counts // 3, ids[::-1]).write(
        run / "labels.parquet"
    )
    pq.write_table(pa.table({"example_id": ids.tolist(), "text": texts}), run / "texts.parquet")
    (run / "config.yaml").write_text(yaml.safe_dump({"data": "rows.csv", "task": "text_classification"}))
    for name, value in {
        "metrics.json": {"label_names": CLASSES, "labels": {"judges": ["specialist"], "n_flagged": n // 10}},
        "verdict.json": {"verdict": "INCONCLUSIVE", "reasons": []}, "dataset.json": {}, "adapter/honed.json": {},
        "folds.parquet": {}, "report.html": {},
    }.items():  # fmt: skip
        (run / name).write_text(json.dumps(value))
    return list(zip(texts, given.tolist(), suggested.tolist(), strict=True))


@contextmanager
def studio(runs: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "honed", "studio", str(runs), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = ""
        assert process.stdout is not None
        while not said.rstrip().endswith("}"):
            said += process.stdout.readline()
        try:
            yield json.loads(said)["url"]
        finally:
            process.terminate()


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(browser: Any, url: str, n: int, opens: int) -> dict[str, Any]:
    place = url.partition("/?")[0] + "/runs/big/review"
    context = browser.new_context()
    context.new_page().goto(url)

    def opened() -> Any:
        page = context.new_page()
        page.goto(place)
        page.wait_for_selector("#review[data-ready=yes] #detail:not([hidden])")
        return page

    first = timed(opened)
    again = [timed(opened) for _ in range(opens)]
    page = opened()
    page.select_option("#show", "all")
    page.locator("#count", has_text=f"{n:,} rows").wait_for()

    def decide(i: int) -> None:
        page.keyboard.press("a")
        page.locator("#detail-title", has_text=f", {i + 2:,} of").wait_for()

    decided = [timed(lambda i=i: decide(i)) for i in range(60)]
    draw = random.Random(1)

    def jump() -> None:
        to = draw.randrange(n - 50)
        page.evaluate("top => { document.getElementById('list').scrollTop = top; }", to * 56)
        page.locator(f"#row-{to + 2} .labels:not(:empty)").wait_for()

    jumps = [timed(jump) for _ in range(40)]
    frames = [page.evaluate(SCROLL) for _ in range(3)]
    context.close()
    return {
        "rows": n,
        "first_open_s": first,
        "open_s": statistics.median(again),
        "open_max_s": max(again),
        "decide_s": statistics.median(decided),
        "decide_max_s": max(decided),
        "jump_s": statistics.median(jumps),
        "jump_max_s": max(jumps),
        "longest_frame_s": statistics.median(frames),
    }


def plain_table(browser: Any, rows: list[tuple[str, str, str]], folder: Path, opens: int) -> float:
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    file = folder / "table.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><table>{''.join(f'<tr>{own}</tr>' for own in cells)}</table>")

    def opened() -> None:
        page = browser.new_page()
        page.goto(file.as_uri())
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")  # painted
        page.close()

    return statistics.median(timed(opened) for _ in range(opens))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rows", default="20000,100000")
    parser.add_argument("--opens", type=int, default=9)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    sizes: list[dict[str, Any]] = []
    peer_s = 0.0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
        for n in map(int, arguments.rows.split(",")):
            with tempfile.TemporaryDirectory() as name:
                rows = fabricate(Path(name) / "runs" / "big", n)
                if not sizes:  # of more rows it would take minutes
                    peer_s = plain_table(browser, rows, Path(name), min(arguments.opens, 5))
                with studio(Path(name) / "runs") as url:
                    sizes.append(measure(browser, url, n, arguments.opens))
            print(json.dumps(sizes[-1]))
        version = browser.version
        browser.close()
    first = sizes[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Chromium {version}"
    result = {
        "ratio": first["open_s"] / peer_s, "ours_s": first["open_s"], "peer_s": peer_s,
        "machine": machine, "load_average": os.getloadavg()[0], "sizes": sizes,
    }  # fmt: skip
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
