"""Preference tuning (DPO) in five folds and a final model, as one stack, against one ordinary run.

    python benchmarks/preference.py --json FILE --data instructions.jsonl [--base random] [--rows 100]

ours  trunk + the base's likelihoods + 5 folds + final model + out-of-fold losses, as `honed fit` trains them
peer  ONE TRL `DPOTrainer` + PEFT LoRA run in all layers on 80 % of the pairs, the base's likelihoods computed once

A pair is a row's reply, chosen, and another row's, rejected. Same pairs, template, epochs, batch and rank; every run is
a process of its own, the sides take turns, medians are quoted. Loading is timed on neither side, tokenizing (some
hundredths of a second) on the peer's. Needs `pip install 'honed[preference]'`, which brings TRL.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from instruction import ALPHA, FOLDS, RANK, load, machine

BETA = 0.1


def pairs(arguments: argparse.Namespace) -> tuple[Any, Any, list[Any], np.ndarray]:
    """Base, reader, pairs, and the fold of each."""
    from honed.data.preferences import Preference

    base, reader, rows, fold = load(arguments)
    return base, reader, [Preference(row.messages, rows[i - 1].reply()) for i, row in enumerate(rows)], fold


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """One timed cross-validation."""
    from honed.data.folds import FoldPlan
    from honed.events import Emitter
    from honed.methods.lora import LoraOptions
    from honed.training.build import StackSpec, build_stack, encode, make_trunk, with_reference
    from honed.training.crossval import cross_validate
    from honed.training.loop import Examples, Loop, TrainingOptions

    base, reader, rows, fold = pairs(arguments)
    reading = {"template": reader.template.to_json(), "max_tokens": arguments.tokens, "train_on": "responses"}
    spec = StackSpec(
        "lora", LoraOptions(rank=RANK, alpha=ALPHA), "preference", "auto", ("reply",), arguments.tokens, device="cpu",
        task="preference", reading={**reading, "beta": BETA},
    )  # fmt: skip
    stack = build_stack(base, spec, list(range(FOLDS + 1)))
    inputs = encode(stack, rows)
    ids = np.array([str(i) for i in range(len(rows))])
    plan = FoldPlan(ids, ids, fold, np.full(len(rows), -1), FOLDS, 0, "")
    options = TrainingOptions(
        epochs=arguments.epochs,
        batch_rows=round(arguments.batch * FOLDS / (FOLDS - 1)),
        learning_rate=arguments.learning_rate,
        head_learning_rate=arguments.learning_rate,
    )
    start = time.perf_counter()
    trunk = make_trunk(stack, inputs, base.hidden_size, Path("unused"), 0.5, Emitter())
    inputs = with_reference(stack, inputs, trunk)
    label = np.zeros(len(rows), dtype=np.int64)
    examples = Examples(inputs, label, np.ones(len(rows)), fold, np.arange(len(rows)))
    result = cross_validate(Loop(stack, trunk, examples, options, Emitter()), plan)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "depth": stack.depth, "loss": float(result.predictions.loss.mean())}


def peer(arguments: argparse.Namespace, test_fold: int) -> dict[str, Any]:
    """One timed DPOTrainer + PEFT run on the pairs outside `test_fold`."""
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    from honed.bases import load_causal

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    base, reader, rows, fold = pairs(arguments)
    reader.tokenizer.chat_template = reader.template.source
    talks = [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in row.prompt()],
            "chosen": [{"role": "assistant", "content": row.reply()}],
            "rejected": [{"role": "assistant", "content": row.rejected}],
        }
        for row in rows
    ]
    settings = DPOConfig(
        output_dir=str(Path(tempfile.gettempdir()) / "honed-benchmark-dpo"),
        beta=BETA,
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch,
        learning_rate=arguments.learning_rate,
        warmup_steps=0.1,
        gradient_checkpointing=False,
        max_length=arguments.tokens,
        precompute_ref_log_probs=True,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        seed=test_fold,
    )
    model = load_causal(base)
    start = time.perf_counter()  # the trainer is built within: that is when the base's likelihoods are computed
    trainer = DPOTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list([talks[i] for i in np.flatnonzero(fold != test_fold)]),
        processing_class=reader.tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"]),
    )
    trainer.train()
    return {"seconds": time.perf_counter() - start}


def child(arguments: argparse.Namespace, side: str, fold: int) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--fold", str(fold)]
    for name in ("data", "base", "rows", "epochs", "tokens", "chars", "batch", "learning_rate"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    print(f"{side}: {found}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", required=True, help="JSONL with columns instruction, input, output")
    parser.add_argument("--base", default="random", help="a base, or `random`")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--chars", type=int, default=200, help="only rows with fewer characters in prompt and reply")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--fold", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        found = ours(arguments) if arguments.side == "ours" else peer(arguments, arguments.fold)
        print(json.dumps({**found, "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    runs: dict[str, list[dict[str, Any]]] = {"peer": [], "ours": []}
    for turn in range(arguments.repeats):
        for side, found in runs.items():
            found.append(child(arguments, side, turn % FOLDS))
    own, other = runs["ours"], runs["peer"]
    result = {
        "ratio": statistics.median(a["seconds"] / b["seconds"] for a, b in zip(own, other, strict=True)),
        "ours_s": statistics.median(run["seconds"] for run in own),
        "peer_s": statistics.median(run["seconds"] for run in other),
        "machine": machine(),
        "runs": runs,
        "settings": {k: v for k, v in vars(arguments).items() if k not in {"json", "side", "fold", "data"}},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
