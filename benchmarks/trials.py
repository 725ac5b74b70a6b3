"""What it costs to try four learning rates in every fold, against one.

    python benchmarks/trials.py --data DATA.csv --json FILE [--rows 400] [--repeats 3]

ours  trunk + 4 rates x 5 folds in one stack, losers ended after each epoch + the final model + out-of-fold predictions
peer  trunk + 1 rate x 5 folds + the final model + out-of-fold predictions: a fit without trials, at the default rate
auto  (once) as ours, but the rates are found by a range test first, which is timed too

Same rows, folds, stop parts, epochs and batch; every run is a process of its own, the sides take turns, and medians of
the paired runs are quoted. Loading the model and tokenizing are not timed on either side. `ratio_cpu` is the same in
seconds of processor time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RATES = "3e-4,1e-3,3e-3,1e-2"
SIDES: dict[str, tuple[dict[str, Any], str]] = {
    "ours": ({}, f"learning_rate={RATES}"),
    "peer": ({}, ""),
    "auto": ({"learning_rate": "auto"}, ""),
}


def timed(arguments: argparse.Namespace, side: str) -> dict[str, Any]:
    """One run of one side."""
    from honed.bases import resolve
    from honed.config import make_config
    from honed.data.dataset import Dataset
    from honed.data.folds import plan_folds
    from honed.data.readers import read_table
    from honed.events import Emitter, Event
    from honed.pipeline.bench import TuningContext
    from honed.pipeline.tuning import open_bench, plan_settings, tune_and_cross_validate

    changes, trials = SIDES[side]
    config = make_config(
        {"base": "minilm", "max_tokens": arguments.tokens, "epochs": arguments.epochs, "device": "cpu", **changes}
    )
    table = read_table(arguments.data)
    label_of = dict(zip(table.column("text").to_pylist(), table.column("label").to_pylist(), strict=True))
    texts = list(label_of)  # one row a text
    texts = [texts[i] for i in sorted(np.random.default_rng(0).permutation(len(texts))[: arguments.rows].tolist())]
    names = tuple(sorted({label_of[text] for text in texts}))
    ids = np.array([str(i) for i in range(len(texts))])
    label = np.array([names.index(label_of[text]) for text in texts])
    part = Dataset(ids, texts, label, ids, names, np.arange(len(texts)))
    plan = plan_folds(part, folds=config.folds, holdout_frac=0, stop_frac=config.stop_frac)
    cpu_s = 0.0

    def clock(event: Event) -> None:
        nonlocal cpu_s
        if event.kind in {"stage.start", "stage.end"} and event.fields["stage"] != "load":
            cpu_s += time.process_time() if event.kind == "stage.end" else -time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        emitter, place = Emitter((clock,)), Path(folder)
        context = TuningContext(
            resolve("minilm"), config, part, plan, emitter, place / "checkpoint", place / "trunk.bin", "benchmark"
        )
        settings = plan_settings(config, trials)
        tuned = tune_and_cross_validate(open_bench(context, settings), settings)
    table_of = tuned.trained.predictions
    assert table_of.logits is not None
    seconds = {name: s for name, s in emitter.timings_s.items() if name != "load"}
    result: dict[str, Any] = {
        "seconds": sum(seconds.values()),
        "stages_s": seconds,
        "cpu_s": cpu_s,
        "log_loss": float(table_of.loss.mean()),
        "accuracy": float((table_of.logits.argmax(axis=1) == table_of.label).mean()),
        "learning_rate": tuned.config.learning_rate,
        "n_epochs": sum(map(len, tuned.trained.curves.values())),
    }
    if tuned.report:
        result["choice"] = tuned.report["choice"]
        result["n_epochs"] = tuned.report["n_slot_epochs"] + len(tuned.trained.curves["final"])
    return result


def child(arguments: argparse.Namespace, side: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--data", arguments.data]
    command += [f"--{name}={getattr(arguments, name)}" for name in ("rows", "tokens", "epochs")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    told = f"{result['seconds']:.1f} s, of the processor {result['cpu_s']:.1f} s, log loss {result['log_loss']:.3f}"
    print(f"{side}: {told}", file=sys.stderr)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", required=True, help="CSV with columns text and label")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(timed(arguments, arguments.side)))
        return
    pairs = [(child(arguments, "ours"), child(arguments, "peer")) for _ in range(arguments.repeats)]
    auto = child(arguments, "auto")
    ours_s = statistics.median(ours["seconds"] for ours, _ in pairs)
    peer_s = statistics.median(peer["seconds"] for _, peer in pairs)
    ours, peer = pairs[0]
    result = {
        "ratio": statistics.median(ours["seconds"] / peer["seconds"] for ours, peer in pairs),
        "ours_s": ours_s,
        "peer_s": peer_s,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "ratio_of_slot_epochs": ours["n_epochs"] / peer["n_epochs"],
        "ratio_cpu": statistics.median(ours["cpu_s"] / peer["cpu_s"] for ours, peer in pairs),
        "ratio_auto": auto["seconds"] / peer_s,
        "ratio_auto_cpu": auto["cpu_s"] / statistics.median(peer["cpu_s"] for _, peer in pairs),
        "ours": ours,
        "peer": peer,
        "auto": auto,
        "runs_s": [[ours["seconds"], peer["seconds"]] for ours, peer in pairs],
        "settings": {name: getattr(arguments, name) for name in ("data", "rows", "tokens", "epochs", "repeats")},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
