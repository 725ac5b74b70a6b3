"""What a specialist is worth beside TF-IDF + logistic regression, on the same folds, paired.

    python benchmarks/quality.py DATA.csv [DATA.csv ...] --json FILE [--group COLUMN] [--head native] [--depth 2]

Runs `honed fit --no-gate` (the holdout stays shut: this is exploration) and quotes the out-of-fold figures, the paired
differences and the seconds. `ratio` is the seconds of training over those of fitting the baselines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

METRICS = ("accuracy", "macro_f1", "log_loss")


def run(data: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from honed.config import make_config
    from honed.pipeline.fit import fit

    with tempfile.TemporaryDirectory() as folder:
        values = {"data": data, "group": arguments.group, "head": arguments.head, "depth": arguments.depth}
        values |= {"gate": False, "out": f"{folder}/run", "seed": arguments.seed}
        values |= {"epochs": arguments.epochs} if arguments.epochs else {}
        metrics = json.loads((fit(make_config(values)).metrics).read_text())
    timings = metrics["timings_s"]
    row: dict[str, Any] = {
        "ours_s": timings["trunk"] + timings["train"],
        "peer_s": timings["baselines"],
        "total_s": sum(timings.values()),
        "best_epoch": metrics["learning_curves"]["best_epoch"],
        "peak_rss_bytes": metrics["memory"]["peak_rss_bytes"],
        "ours": {m: metrics["out_of_fold"][m] for m in METRICS},
    }
    row["ratio"] = row["ours_s"] / row["peer_s"]
    for name, baseline in metrics["baselines"].items():
        row[name] = {m: baseline[m] for m in METRICS}
        row[name]["difference"] = {m: baseline["difference"]["out_of_fold"][m] for m in METRICS}
    return row


def _shown(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--group")
    parser.add_argument("--head", default="mean")
    parser.add_argument("--depth", default="auto")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
    result["data"] = {Path(data).stem: run(data, arguments) for data in arguments.data}
    first = next(iter(result["data"].values()))
    result |= {key: first[key] for key in ("ratio", "ours_s", "peer_s")}
    for name, row in result["data"].items():
        for metric in METRICS[:2]:
            own, peer, gap = row["ours"][metric], row["tfidf_logreg"][metric], row["tfidf_logreg"]["difference"][metric]
            print(f"{name} {metric}: {_shown(own)}, TF-IDF {peer['value']:.3f}, difference {_shown(gap)}")
        print(f"{name}: trained in {row['ours_s']:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
