"""`honed plan` against real runs: is what it says of memory and time true?

    python benchmarks/plan.py --json FILE [--data CSV] [--base minilm] [--runs 300:1:1:128,600:2:2:128]

Each run (rows:depth:epochs:tokens[:method]) is planned in this process and then made by `honed fit` in a process of its
own, with the same rows. Memory is compared with `memory.peak_rss_bytes` of its metrics.json, time with the whole
process from start to end. `ratio` is the worst planned/actual ratio of time (the one furthest from 1), `memory_ratio`
that of memory; `ours_s` and `peer_s` are the planned and the real seconds of all runs. The machine must be idle.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_TOLERANCE, TIME_TOLERANCE = 0.15, 0.30
RUNS = "300:1:1:128,300:2:2:64,600:1:2:128,200:all:1:64,300:2:1:128:full"


def subset(data: str | None, rows: int, folder: Path) -> Path:
    """A file of `rows` rows with different texts; every class keeps enough of them for the folds."""
    import pyarrow.parquet as pq

    from honed.data.licences import load_licence_snippets
    from honed.data.readers import read_table

    table = read_table(data) if data else load_licence_snippets()
    texts = table.column("text").to_pylist()
    first = np.sort(np.unique(np.array(texts, dtype=object), return_index=True)[1])
    chosen = np.sort(np.random.default_rng(0).permutation(first)[:rows])
    path = folder / "rows.parquet"
    pq.write_table(table.take(chosen), path)
    return path


def compare(run: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run, planned and made."""
    from honed.config import make_config
    from honed.pipeline.plan import plan

    rows, depth, epochs, tokens, *method = run.split(":")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = subset(arguments.data, int(rows), folder)
        values = {"data": str(data), "base": arguments.base, "depth": depth, "epochs": int(epochs)}
        values |= {"max_tokens": int(tokens), "method": method[0] if method else "lora", "out": str(folder / "run")}
        values |= {"group": arguments.group} if arguments.group else {}
        planned = plan(make_config(values)).machines[0]
        assert planned.stages_s is not None
        assert planned.seconds is not None
        command = [sys.executable, "-m", "honed", "fit", "--json"]
        for key, value in values.items():
            command += [str(value)] if key == "data" else [f"--{key.replace('_', '-')}", str(value)]
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wall_s = time.perf_counter() - start
        if done.returncode not in {0, 4}:  # 4: the gate failed, which is no concern here
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        metrics = json.loads((folder / "run" / "metrics.json").read_text())
    actual = metrics["memory"]["peak_rss_bytes"]
    return {
        "run": run,
        "planned_bytes": planned.memory.host_bytes,
        "actual_bytes": actual,
        "memory_ratio": planned.memory.host_bytes / actual,
        "planned_s": planned.seconds,
        "actual_s": wall_s,
        "ratio": planned.seconds / wall_s,
        "planned_by_stage_s": planned.stages_s,
        "actual_by_stage_s": metrics["timings_s"],
        "planned_by_item": planned.memory.host,
    }


def worst(ratios: list[float]) -> float:
    return max(ratios, key=lambda ratio: abs(math.log(ratio)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", help="file with columns text and label (default: the demo's licence snippets)")
    parser.add_argument("--group", help="column of rows that belong together")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--runs", default=RUNS)
    arguments = parser.parse_args()
    rows = []
    print(f"{'run':<24}{'peak MB':>9}{'planned':>9}{'ratio':>7}{'seconds':>9}{'planned':>9}{'ratio':>7}")
    for run in arguments.runs.split(","):
        row = compare(run, arguments)
        rows.append(row)
        print(
            f"{run:<24}{row['actual_bytes'] / 1e6:>9.0f}{row['planned_bytes'] / 1e6:>9.0f}{row['memory_ratio']:>7.2f}"
            f"{row['actual_s']:>9.1f}{row['planned_s']:>9.1f}{row['ratio']:>7.2f}",
            flush=True,
        )
    result = {
        "ratio": worst([row["ratio"] for row in rows]),
        "memory_ratio": worst([row["memory_ratio"] for row in rows]),
        "ours_s": sum(row["planned_s"] for row in rows),
        "peer_s": sum(row["actual_s"] for row in rows),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "memory_ok": all(abs(row["memory_ratio"] - 1) <= MEMORY_TOLERANCE for row in rows),
        "time_ok": all(abs(row["ratio"] - 1) <= TIME_TOLERANCE for row in rows),
        "runs": rows,
    }
    print(f"memory within {MEMORY_TOLERANCE:.0%}: {result['memory_ok']}")
    print(f"time within {TIME_TOLERANCE:.0%}: {result['time_ok']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
