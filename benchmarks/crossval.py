"""Cross-validation as one stack against one ordinary run.

    python benchmarks/crossval.py --json FILE [--data CSV] [--rows 600] [--epochs 2] [--depths auto,2,3,all]

ours  trunk + 5 folds + final model + out-of-fold predictions, as `honed fit` trains them (no stop part: each fold
      trains on all of its 80 %, every epoch)
peer  ONE transformers `Trainer` + PEFT LoRA run in all layers on 80 % of the rows, dynamic padding

Same rows, tokens, epochs, batch and rank; every run is a process of its own, ours and the peer's take turns, and the
medians are quoted. Loading the model and tokenizing are not timed on either side. The peer's runs leave out one fold
after the other, so its five timings are also its out-of-fold predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDS, RANK, ALPHA = 5, 8, 16


def machine() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def load(arguments: argparse.Namespace) -> tuple[list[str], np.ndarray, tuple[str, ...], np.ndarray]:
    """Texts, labels, label names, and the fold of each row (stratified)."""
    from sklearn.model_selection import StratifiedKFold

    if arguments.data:
        from honed.data.readers import read_table

        table = read_table(arguments.data)
        texts, labels = table.column("text").to_pylist(), table.column("label").to_pylist()
    else:
        from honed.data.licences import load_licence_snippets

        table = load_licence_snippets()
        texts, labels = table.column("text").to_pylist(), table.column("label").to_pylist()
    first = list(dict.fromkeys(texts))  # one row a text: a text with two labels would stand on both sides
    rows = [texts.index(text) for text in first]
    rng = np.random.default_rng(0)
    rows = sorted(rng.permutation(rows)[: arguments.rows].tolist())
    names = tuple(sorted({labels[i] for i in rows}))
    label = np.array([names.index(labels[i]) for i in rows])
    fold = np.zeros(len(rows), dtype=np.int64)
    for k, (_, test) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows, label)):
        fold[test] = k
    return [texts[i] for i in rows], label, names, fold


def macro_f1(label: np.ndarray, prediction: np.ndarray, fold: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(np.mean([f1_score(label[fold == k], prediction[fold == k], average="macro") for k in np.unique(fold)]))


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """One timed cross-validation."""
    from honed.bases import resolve
    from honed.data.folds import FoldPlan
    from honed.events import Emitter
    from honed.methods.lora import LoraOptions
    from honed.training.build import StackSpec, build_stack, encode, make_trunk
    from honed.training.crossval import cross_validate
    from honed.training.loop import Examples, Loop, TrainingOptions

    texts, label, names, fold = load(arguments)
    base = resolve("minilm")
    depth = int(arguments.depth) if arguments.depth.isdigit() else arguments.depth
    spec = StackSpec("lora", LoraOptions(rank=RANK, alpha=ALPHA), "mean", depth, names, arguments.tokens, device="cpu")
    stack = build_stack(base, spec, list(range(FOLDS + 1)))
    inputs = encode(stack, texts)
    ids = np.array([str(i) for i in range(len(texts))])
    plan = FoldPlan(ids, ids, fold, np.full(len(texts), -1), FOLDS, 0, "")
    examples = Examples(inputs, label, np.ones(len(texts)), fold, np.arange(len(texts)))
    options = TrainingOptions(
        epochs=arguments.epochs,
        batch_rows=round(arguments.batch * FOLDS / (FOLDS - 1)),
        learning_rate=arguments.learning_rate,
        head_learning_rate=arguments.head_learning_rate,
    )
    start = time.perf_counter()
    trunk = make_trunk(stack, inputs, base.hidden_size, Path("unused"), 0.5, Emitter())
    trunk_s = time.perf_counter() - start
    result = cross_validate(Loop(stack, trunk, examples, options, Emitter()), plan)
    seconds = time.perf_counter() - start
    assert result.predictions.logits is not None
    prediction = result.predictions.logits.argmax(axis=1)
    return {
        "seconds": seconds,
        "trunk_s": trunk_s,
        "depth": stack.depth,
        "macro_f1": macro_f1(label, prediction, fold),
        "accuracy": float((prediction == label).mean()),
        "tokens_per_row": float(inputs.n_tokens.mean()),
    }


def peer(arguments: argparse.Namespace, test_fold: int = 0) -> dict[str, Any]:
    """One timed Trainer + PEFT run on the rows outside `test_fold`."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    from honed.bases import load_classifier, load_tokenizer, resolve

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    texts, label, names, fold = load(arguments)
    base = resolve("minilm")
    tokenizer = load_tokenizer(base)
    transformers.set_seed(test_fold)
    model = load_classifier(base, names)
    model.requires_grad_(True)
    lora = LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=ALPHA, target_modules=["query", "value"])
    model = get_peft_model(model, lora)
    encoded = tokenizer(texts, truncation=True, max_length=arguments.tokens)

    def rows(index: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"input_ids": encoded["input_ids"][i], "attention_mask": encoded["attention_mask"][i], "labels": label[i]}
            for i in index
        ]

    settings = transformers.TrainingArguments(
        output_dir=str(Path(tempfile.gettempdir()) / "honed-benchmark-peer"),
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch,
        per_device_eval_batch_size=64,
        learning_rate=arguments.peer_learning_rate,
        warmup_steps=0.1,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=test_fold,
    )
    train, test = np.flatnonzero(fold != test_fold), np.flatnonzero(fold == test_fold)
    trainer = transformers.Trainer(
        model=model,
        args=settings,
        train_dataset=rows(train),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    with torch.inference_mode():
        logits = trainer.predict(rows(test)).predictions
    return {"seconds": seconds, "test": test.tolist(), "prediction": np.asarray(logits).argmax(axis=1).tolist()}


def child(arguments: argparse.Namespace, *extra: str) -> dict[str, Any]:
    """Run one side in a process of its own."""
    names = ("data", "rows", "epochs", "tokens", "batch", "learning_rate", "head_learning_rate", "peer_learning_rate")
    command = [sys.executable, __file__]
    for name in names:
        value = getattr(arguments, name)
        command += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    output = subprocess.run([*command, *extra], check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def layer_rows(n_layers: int, depth: int, rows: int, epochs: int) -> dict[str, float]:
    """Layer passes over one row, the unit of work: forward 1, backward 1 (W is frozen: only the input's gradient)."""
    slots = FOLDS * (FOLDS - 1) / FOLDS + 1  # five folds on 80 % and the final model on all
    ours = rows * ((n_layers - depth) + epochs * slots * depth * 2 + depth)
    peer = rows * (FOLDS - 1) / FOLDS * epochs * n_layers * 2
    return {"ours": ours, "peer": peer, "ratio": ours / peer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", help="CSV with columns text and label (default: the demo's licence snippets)")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--head-learning-rate", type=float, default=1e-2)
    parser.add_argument("--peer-learning-rate", type=float, default=1e-3)
    parser.add_argument("--depths", default="auto,2,3,all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--depth", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--fold", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        result = ours(arguments) if arguments.side == "ours" else peer(arguments, arguments.fold)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**result, "peak_rss_bytes": peak}))
        return

    _, label, _, fold = load(arguments)
    depths = arguments.depths.split(",")
    runs: dict[str, list[dict[str, Any]]] = {depth: [] for depth in depths}
    peers: list[dict[str, Any]] = []
    peer_prediction = np.zeros(len(label), dtype=np.int64)
    # The default depth is timed every time, the others once; each of the peer's five folds is one of its timings.
    turns = [*[depths[0]] * arguments.repeats, *depths[1:]]
    for turn in range(max(len(turns), FOLDS)):
        if turn < FOLDS:
            peers.append(child(arguments, "--side", "peer", "--fold", str(turn)))
            peer_prediction[peers[-1]["test"]] = peers[-1]["prediction"]
            print(f"peer, fold {turn}: {peers[-1]['seconds']:.1f} s", file=sys.stderr)
        if turn < len(turns):
            own = child(arguments, "--side", "ours", "--depth", turns[turn])
            runs[turns[turn]].append(own)
            print(f"ours, depth {turns[turn]}: {own['seconds']:.1f} s, macro F1 {own['macro_f1']:.3f}", file=sys.stderr)
    peer_s = statistics.median(run["seconds"] for run in peers)
    by_depth = {}
    for depth, own in runs.items():
        seconds = statistics.median(run["seconds"] for run in own)
        by_depth[depth] = {
            "depth": own[0]["depth"],
            "ours_s": seconds,
            "ratio": seconds / peer_s,
            "macro_f1": own[0]["macro_f1"],
            "accuracy": own[0]["accuracy"],
            "peak_rss_bytes": max(run["peak_rss_bytes"] for run in own),
            "layer_rows": layer_rows(6, own[0]["depth"], arguments.rows, arguments.epochs),
        }
    first = by_depth[depths[0]]
    result = {
        "ratio": first["ratio"],
        "ours_s": first["ours_s"],
        "peer_s": peer_s,
        "machine": machine(),
        "macro_f1": first["macro_f1"],
        "peer_macro_f1": macro_f1(label, peer_prediction, fold),
        "peer_accuracy": float((peer_prediction == label).mean()),
        "peak_rss_bytes": first["peak_rss_bytes"],
        "peer_peak_rss_bytes": max(run["peak_rss_bytes"] for run in peers),
        "by_depth": by_depth,
        "peer_runs_s": [run["seconds"] for run in peers],
        "ours_runs_s": [run["seconds"] for run in runs[depths[0]]],
        "settings": {k: v for k, v in vars(arguments).items() if k not in {"json", "side", "depth", "fold"}},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
