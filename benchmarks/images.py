"""A whole `honed fit` on images against one ordinary run.

    python benchmarks/images.py --json FILE --data FOLDER [--image-size 56] [--layers 6] [--depths 2,4,all] [--runs 1]

ours  `honed fit FOLDER --no-gate` as a user calls it: checks, trunk, 5 folds, final model, baselines, intervals, report
peer  ONE transformers `Trainer` + PEFT LoRA run of AutoModelForImageClassification on 80 % of the same rows (all folds
      but one), with its predictions of the other 20 %; once on as many layers of the base as ours uses, and once on the
      whole base, as a user would run it. LoRA is in the same last layers, of the same rank, in the same modules

Both sides are a process of their own, timed from its start to its end: imports, loading the base, reading and scaling
the images (each image once, by Pillow), training, predictions. Same rows, pixels, epochs, batch, float32 and threads.
Each image is seen in one view by both, and both train all epochs.
`strict_ratio` holds the whole of ours against the seconds of `trainer.train()` alone. Ours and the peer's runs take
turns; run i leaves out fold i, and medians are quoted. The rows that honed locks away are nobody's. Images that are not
square are letterboxed by ours and stretched by the peer.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossval import ALPHA, FOLDS, RANK, machine

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
"""The linear modules of DINOv2's attention: what honed's `--option target=attention` adapts."""


@dataclass(frozen=True)
class Ours:
    """A finished run folder, and what it cost."""

    folder: Path
    cost: dict[str, float]

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def some_rows(folder: Path, rows: int | None, at: Path) -> Path:
    """The data: the folder itself, or a table `at` that names some of its images."""
    if rows is None:
        return folder
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    chosen = sorted(np.random.default_rng(0).permutation(len(table))[:rows].tolist())
    with at.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        for i in chosen:
            writer.writerow(table[i] | {"file_name": str((folder / table[i]["file_name"]).resolve())})
    return at


def timed(command: Sequence[str], threads: int) -> tuple[str, dict[str, float]]:
    """Run a process; its output, and its seconds by the clock and of the processor."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-4000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, {"seconds": seconds, "cpu_s": cpu}


def ours(options: argparse.Namespace, data: Path, depth: str, out: Path) -> Ours:
    """One timed `honed fit`."""
    command = [sys.executable, "-m", "honed", "fit", str(data), "--no-gate", "--json", "--out", str(out)]
    given = {
        "folds": FOLDS, "depth": depth, "layers": options.layers, "image-size": options.image_size,
        "epochs": options.epochs, "views": 1, "batch-size": options.batch, "method": "lora",
    }  # fmt: skip
    for name, value in given.items():
        command += [f"--{name}", str(value)]
    _, cost = timed([*command, "--option", f"rank={RANK}", "--option", f"alpha={ALPHA}"], options.threads)
    run = Ours(out, cost)
    facts = run.read("metrics.json")
    stages = facts["timings_s"]
    cost |= {
        "training_s": stages["train"] + stages.get("trunk", 0.0),
        "peak_rss_bytes": facts["memory"]["peak_rss_bytes"],
    }
    return run


def peer_task(options: argparse.Namespace, run: Ours, data: Path, test_fold: int, n_layers: int) -> dict[str, Any]:
    """What the peer does: the rows, labels and folds of our run, without its locked rows."""
    import pyarrow.parquet as pq

    from honed.bases import resolve
    from honed.oof import Predictions

    rows = Predictions.read(run.folder / "oof.parquet")
    names = pq.read_table(run.folder / "texts.parquet").to_pydict()
    name_of = dict(zip(names["example_id"], names["text"], strict=True))
    root = data if data.is_dir() else data.parent
    info = run.read("adapter/honed.json")
    return {
        "base": str(resolve("dinov2-small").path),
        "images": [str(root / name_of[i]) for i in rows.example_id.tolist()],
        "label": rows.label.tolist(),
        "n_classes": len(info["label_names"]),
        "test": np.flatnonzero(rows.fold == test_fold).tolist(),
        "size": info["reading"]["size"],
        "n_layers": n_layers,
        "depth": n_layers if info["depth"] == info["n_layers"] else info["depth"],
        "epochs": options.epochs,
        "batch": options.batch,
        "learning_rate": options.peer_learning_rate,
        "seed": test_fold,
    }


def peer(task: dict[str, Any]) -> dict[str, Any]:
    """One Trainer + PEFT run; nothing of honed's is imported."""
    import transformers
    from peft import LoraConfig, get_peft_model
    from PIL import Image

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(task["seed"])
    processor = transformers.AutoImageProcessor.from_pretrained(task["base"])
    square = {"height": task["size"], "width": task["size"]}
    images = [Image.open(path).convert("RGB") for path in task["images"]]
    pixels = processor(images, size=square, do_center_crop=False, return_tensors="pt")["pixel_values"]
    config = transformers.AutoConfig.from_pretrained(
        task["base"], num_hidden_layers=task["n_layers"], num_labels=task["n_classes"]
    )
    model = transformers.AutoModelForImageClassification.from_pretrained(task["base"], config=config)
    lora = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, modules_to_save=["classifier"],
        layers_to_transform=list(range(task["n_layers"] - task["depth"], task["n_layers"])), layers_pattern="layer",
    )  # fmt: skip
    model = get_peft_model(model, lora)
    rows = [{"pixel_values": image, "labels": label} for image, label in zip(pixels, task["label"], strict=True)]
    left_out = set(task["test"])
    with tempfile.TemporaryDirectory() as folder:
        settings = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=task["epochs"],
            per_device_train_batch_size=task["batch"],
            per_device_eval_batch_size=64,
            learning_rate=task["learning_rate"],
            weight_decay=0.01,
            warmup_steps=0.1,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            label_names=["labels"],
            seed=task["seed"],
        )
        trainer = transformers.Trainer(
            model=model, args=settings, train_dataset=[row for i, row in enumerate(rows) if i not in left_out]
        )
        start = time.perf_counter()
        trainer.train()
        training_s = time.perf_counter() - start
        logits = trainer.predict([rows[i] for i in task["test"]]).predictions
    adapters = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and "lora_" in n)
    return {"training_s": training_s, "n_adapter": adapters, "logits": np.asarray(logits).tolist()}


def layer_rows(run: Ours, task: dict[str, Any]) -> dict[str, float]:
    """Layer passes over one image, the unit of work: forward 1, backward 1 (W is frozen: only the input's gradient)."""
    from honed.data.folds import FoldPlan

    plan, info = FoldPlan.read(run.folder / "folds.parquet"), run.read("adapter/honed.json")
    curves, depth = run.read("metrics.json")["learning_curves"], info["depth"]
    rows = len(plan.development)
    # The frozen layers once; the adapted ones for the linear probe and for the predictions.
    own = rows * (info["n_layers"] - depth) + 2 * rows * depth
    for slot in (*range(FOLDS), None):
        split, epochs = plan.split(slot), len(curves["final" if slot is None else f"fold {slot}"])
        own += epochs * depth * (2 * len(split.train) + len(split.stop))
    n_test = len(task["test"])
    other = task["epochs"] * (rows - n_test) * (task["n_layers"] + task["depth"]) + n_test * task["n_layers"]
    return {"ours": own, "peer": other, "ratio": own / other}


def quality(run: Ours, tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ours out of fold and the peer's, on the rows that the peer left out: each by a model that never saw it."""
    from honed.data.folds import FoldPlan
    from honed.evidence.comparison import paired_difference
    from honed.evidence.metrics import row_log_loss, softmax
    from honed.oof import Predictions
    from honed.pipeline.scoring import groups_of

    table = Predictions.read(run.folder / "oof.parquet")
    logits = {
        i: row
        for task, result in zip(tasks, results, strict=True)
        for i, row in zip(task["test"], result["logits"], strict=True)
    }
    rows = np.array(sorted(logits))
    own, theirs = table.take(rows), np.array([logits[i] for i in rows.tolist()])
    other = replace(own, logits=theirs, loss=row_log_loss(own.label, softmax(theirs)))
    group = groups_of(own, FoldPlan.read(run.folder / "folds.parquet"))
    assert own.logits is not None
    found: dict[str, Any] = {
        "rows": len(rows),
        "ours_accuracy": float((own.logits.argmax(axis=1) == own.label).mean()),
        "peer_accuracy": float((theirs.argmax(axis=1) == own.label).mean()),
    }
    for metric in ("accuracy", "macro_f1"):
        gain = paired_difference(own, other, group, metric)
        found[f"{metric}_ours_minus_peer"] = {"value": gain.value, "low": gain.low, "high": gain.high}
    return found


def against(runs: Sequence[Ours], tasks: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ours at one depth against one kind of peer."""

    def median(costs: Sequence[dict[str, Any]], name: str) -> float:
        return statistics.median(cost[name] for cost in costs)

    own = [run.cost for run in runs]
    seconds = median(own, "seconds")
    return {
        "n_layers": tasks[0]["n_layers"],
        "depth": tasks[0]["depth"],
        "ratio": seconds / median(results, "seconds"),
        "cpu_ratio": median(own, "cpu_s") / median(results, "cpu_s"),
        "training_ratio": median(own, "training_s") / median(results, "training_s"),
        "strict_ratio": seconds / median(results, "training_s"),
        "layer_rows": layer_rows(runs[0], tasks[0]),
        **{f"peer_{name}": median(results, name) for name in ("seconds", "cpu_s", "training_s", "n_adapter")},
        "peer_peak_rss_bytes": max(result["peak_rss_bytes"] for result in results),
        "peer_runs_s": [result["seconds"] for result in results],
        "quality": quality(runs[0], tasks[:FOLDS], results[:FOLDS]),
    }


def measure(options: argparse.Namespace, data: Path, depth: str, work: Path) -> dict[str, Any]:
    """Ours and the peers at one depth, by turns."""
    from honed.bases import resolve

    whole = resolve("dinov2-small").n_layers
    runs: list[Ours] = []
    kinds: dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    for turn in range(options.runs):
        runs.append(ours(options, data, depth, work / f"depth-{depth}-{turn}"))
        print(f"depth {depth}: ours {runs[-1].cost['seconds']:.1f} s", file=sys.stderr)
        used = runs[-1].read("adapter/honed.json")["n_layers"]
        for n_layers in dict.fromkeys((used, whole)):
            tasks, results = kinds.setdefault(n_layers, ([], []))
            tasks.append(peer_task(options, runs[-1], data, turn % FOLDS, n_layers))
            path = work / "task.json"
            path.write_text(json.dumps(tasks[-1]), encoding="utf-8")
            output, cost = timed([sys.executable, __file__, "--peer", str(path)], options.threads)
            results.append(json.loads(output.strip().splitlines()[-1]) | cost)
            print(f"depth {depth}: peer, {n_layers} layers, {cost['seconds']:.1f} s", file=sys.stderr)
    facts = runs[0].read("metrics.json")
    same, *rest = (against(runs, *kind) for kind in kinds.values())
    return {
        "depth": runs[0].read("adapter/honed.json")["depth"],
        "ours_s": statistics.median(run.cost["seconds"] for run in runs),
        "ours_cpu_s": statistics.median(run.cost["cpu_s"] for run in runs),
        "ours_training_s": statistics.median(run.cost["training_s"] for run in runs),
        "ours_runs_s": [run.cost["seconds"] for run in runs],
        "ours_stages_s": facts["timings_s"],
        "n_adapter": facts["parameters"]["adapter"],
        "peak_rss_bytes": max(run.cost["peak_rss_bytes"] for run in runs),
        "out_of_fold": {
            metric: {name: facts["out_of_fold"][metric][name] for name in ("value", "low", "high")}
            for metric in ("accuracy", "macro_f1")
        },
        "same_layers": same,
        "whole_base": rest[0] if rest else same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", type=Path, help="folder with metadata.csv: file_name, label")
    parser.add_argument("--rows", type=int, help="of the folder, at random (default: all)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--image-size", default="auto")
    parser.add_argument("--layers", default="auto")
    parser.add_argument("--depths", default="2,4,all")
    parser.add_argument("--runs", type=int, default=1, help="of every side at every depth")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-learning-rate", type=float, default=1e-3)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        result = peer(json.loads(options.peer.read_text(encoding="utf-8")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(result | {"peak_rss_bytes": peak}))
        return
    if options.data is None:
        parser.error("--data names the folder with metadata.csv")

    os.environ["HF_HUB_OFFLINE"] = "1"  # the base is on this machine: neither side waits for a hub
    with tempfile.TemporaryDirectory(prefix="honed-images-") as folder:
        work = Path(folder)
        data = some_rows(options.data.resolve(), options.rows, work / "rows.csv")
        by_depth = {depth: measure(options, data, depth, work) for depth in options.depths.split(",")}
    first = next(iter(by_depth.values()))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    result = {
        "ratio": first["same_layers"]["ratio"],
        "ours_s": first["ours_s"],
        "peer_s": first["same_layers"]["peer_seconds"],
        "machine": f"{machine()}, {options.threads} threads",
        "by_depth": by_depth,
        "settings": {name: value for name, value in settings.items() if name not in {"json", "peer", "data"}},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
