"""Instruction tuning in five folds and a final model, as one stack, against one ordinary run.

    python benchmarks/instruction.py --json FILE [--data instructions.jsonl] [--base gemma-3-270m] [--rows 200]

ours  trunk + 5 folds + final model + out-of-fold losses, as `honed fit` trains them; the base's losses on the same rows
peer  ONE TRL `SFTTrainer` + PEFT LoRA run in all layers on 80 % of the rows, dynamic padding, loss on the replies

Same rows, token ids, epochs, batch and rank; every run is a process of its own, the sides take turns, medians are
quoted. Loading and tokenizing are timed on neither side. `--base random` is a model of 24 layers with 32,000 words and
random weights. Needs `pip install 'honed[preference]'`, which brings TRL.
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


def random_base() -> str:
    """A Llama of 24 layers of width 512 and 32,000 words, with random weights, and gemma's tokenizer cut to fit."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = Path(tempfile.gettempdir()) / "honed-benchmark-random-base"
    if not (folder / "tokenizer.json").exists():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=32_000, hidden_size=512, intermediate_size=1536, num_hidden_layers=24, num_attention_heads=8,
            num_key_value_heads=4, max_position_embeddings=1024, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            tie_word_embeddings=True,
        )  # fmt: skip
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        words = ("<pad>", "<s>", "</s>")
        alphabet = dict(zip(pre_tokenizers.ByteLevel.alphabet(), range(3, 259), strict=True))
        tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)} | alphabet, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        special = dict(zip(("pad_token", "bos_token", "eos_token"), words, strict=False))
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


def load(arguments: argparse.Namespace) -> tuple[Any, Any, list[Any], np.ndarray]:
    """Base, reader, the conversations of at most so many tokens, and the fold of each."""
    from honed.bases import load_tokenizer, resolve
    from honed.data.chat_template import ConversationReader, template_of
    from honed.data.conversations import ConversationRoles, load_conversations
    from honed.data.readers import read_table

    base = resolve(random_base() if arguments.base == "random" else arguments.base)
    tokenizer = load_tokenizer(base)
    reader = ConversationReader(tokenizer, template_of(tokenizer), arguments.tokens, "responses")
    conversations = load_conversations(read_table(arguments.data), ConversationRoles(), require_reply=True).dataset
    rows = [row for row in conversations.inputs if len(row.reply()) + len(row.prompt()[-1].content) < arguments.chars]
    rows = [rows[i] for i in sorted(np.random.default_rng(0).permutation(len(rows))[: arguments.rows].tolist())]
    return base, reader, rows, np.random.default_rng(1).permutation(len(rows)) % FOLDS


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """One timed cross-validation."""
    from honed.data.folds import FoldPlan
    from honed.events import Emitter
    from honed.methods.lora import LoraOptions
    from honed.tasks.base import get_task
    from honed.training.build import StackSpec, build_stack, encode, make_trunk, row_weights
    from honed.training.crossval import cross_validate
    from honed.training.loop import Examples, Loop, TrainingOptions, predict

    base, reader, rows, fold = load(arguments)
    depth = int(arguments.depth) if arguments.depth.isdigit() else arguments.depth
    reading = {"template": reader.template.to_json(), "max_tokens": arguments.tokens, "train_on": "responses"}
    spec = StackSpec(
        "lora", LoraOptions(rank=RANK, alpha=ALPHA), "language", depth, ("reply",), arguments.tokens, device="cpu",
        task="instruction", reading=reading,
    )  # fmt: skip
    stack = build_stack(base, spec, list(range(FOLDS + 1)))
    inputs = encode(stack, rows)
    weight = row_weights(stack, inputs)
    ids = np.array([str(i) for i in range(len(rows))])
    plan = FoldPlan(ids, ids, fold, np.full(len(rows), -1), FOLDS, 0, "")
    label = np.zeros(len(rows), dtype=np.int64)
    examples = Examples(inputs, label, weight, fold, np.arange(len(rows)))
    options = TrainingOptions(
        epochs=arguments.epochs,
        batch_rows=round(arguments.batch * FOLDS / (FOLDS - 1)),
        learning_rate=arguments.learning_rate,
        head_learning_rate=arguments.learning_rate,
        micro_batch_tokens=get_task("instruction").micro_batch_tokens,
    )
    start = time.perf_counter()
    trunk = make_trunk(stack, inputs, base.hidden_size, Path("unused"), 0.5, Emitter())
    trunk_s = time.perf_counter() - start
    result = cross_validate(Loop(stack, trunk, examples, options, Emitter()), plan)
    seconds = time.perf_counter() - start
    base_loss = predict(stack, inputs, trunk, None, np.arange(len(rows)))[:, 0]
    return {
        "seconds": seconds,
        "trunk_s": trunk_s,
        "depth": stack.depth,
        "n_layers": len(stack.layers),
        "loss": float(np.average(result.predictions.loss, weights=weight)),
        "base_loss": float(np.average(base_loss, weights=weight)),
        "n_tokens": int(inputs.n_tokens.sum()),
        "n_targets": int(weight.sum()),
        "n_words": int(stack.model.get_output_embeddings().weight.shape[0]),
    }


def peer(arguments: argparse.Namespace, test_fold: int = 0) -> dict[str, Any]:
    """One timed SFTTrainer + PEFT run on the rows outside `test_fold`."""
    import torch
    import transformers
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from honed.bases import load_causal

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    base, reader, rows, fold = load(arguments)
    encoded = reader.encode_all(rows)
    columns = [
        {"input_ids": row.ids.tolist(), "labels": np.where(row.is_target, row.ids, -100).tolist()} for row in encoded
    ]
    settings = SFTConfig(
        output_dir=str(Path(tempfile.gettempdir()) / "honed-benchmark-sft"),
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch,
        learning_rate=arguments.learning_rate,
        warmup_steps=0.1,
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        seed=test_fold,
    )
    lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"])
    trainer = SFTTrainer(
        model=load_causal(base),
        args=settings,
        train_dataset=Dataset.from_list([columns[i] for i in np.flatnonzero(fold != test_fold)]),
        processing_class=reader.tokenizer,
        peft_config=lora,
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    total = n_targets = 0.0
    model = trainer.model.eval()
    with torch.inference_mode():
        for i in np.flatnonzero(fold == test_fold)[:40]:
            ids, labels = (torch.tensor([columns[i][name]]) for name in ("input_ids", "labels"))
            count = int((labels[:, 1:] != -100).sum())
            total += float(model(input_ids=ids, labels=labels).loss) * count
            n_targets += count
    return {"seconds": seconds, "loss_of_some_test_rows": total / n_targets}


def operations(run: dict[str, Any], base: Any, epochs: int) -> dict[str, float]:
    """Multiply-adds of matrix products, ours and the peer's: forward 1, gradient of the input 1; weights are frozen.

    The peer's fused head (TRL 1.16 on a CPU) scores every token, and forms its scores once more in the backward pass.
    """
    tokens, targets = run["n_tokens"], run["n_targets"]
    head = run["n_words"] * base.hidden_size
    layers = base.n_parameters - head
    top = layers * run["depth"] / run["n_layers"]
    slots = FOLDS * (FOLDS - 1) / FOLDS + 1
    own = tokens * (layers - top) + epochs * slots * 2 * (tokens * top + targets * head) + tokens * top + targets * head
    other = (FOLDS - 1) / FOLDS * epochs * tokens * (2 * layers + 3 * head)
    usual = (FOLDS * (FOLDS - 1) / FOLDS + 1) / ((FOLDS - 1) / FOLDS)
    return {"ours": own, "peer": other, "ratio": own / other, "six_runs_over_one": usual}


def child(arguments: argparse.Namespace, *extra: str) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__]
    for name in ("data", "base", "rows", "epochs", "tokens", "chars", "batch", "learning_rate"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    output = subprocess.run([*command, *extra], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", required=True, help="JSONL with columns instruction, input, output")
    parser.add_argument("--base", default="gemma-3-270m", help="a base, or `random`")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--chars", type=int, default=500, help="only rows with fewer characters in prompt and reply")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--depths", default="auto")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--depth", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--fold", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        result = ours(arguments) if arguments.side == "ours" else peer(arguments, arguments.fold)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**result, "peak_rss_bytes": peak}))
        return
    base = load(arguments)[0]
    depths = arguments.depths.split(",")
    runs: dict[str, list[dict[str, Any]]] = {depth: [] for depth in depths}
    peers = []
    for turn in range(arguments.repeats):
        peers.append(child(arguments, "--side", "peer", "--fold", str(turn % FOLDS)))
        print(f"peer, fold {turn}: {peers[-1]}", file=sys.stderr)
        for depth in depths:
            runs[depth].append(child(arguments, "--side", "ours", "--depth", depth))
            print(f"ours, depth {depth}: {runs[depth][-1]}", file=sys.stderr)
    peer_s = statistics.median(run["seconds"] for run in peers)
    by_depth = {}
    for depth, own in runs.items():
        seconds = statistics.median(run["seconds"] for run in own)
        by_depth[depth] = {
            "depth": own[0]["depth"],
            "ours_s": seconds,
            "ratio": statistics.median(a["seconds"] / b["seconds"] for a, b in zip(own, peers, strict=True)),
            **{name: own[0][name] for name in ("loss", "base_loss", "n_tokens", "n_targets")},
            "peak_rss_bytes": max(run["peak_rss_bytes"] for run in own),
            "operations": operations(own[0], base, arguments.epochs),
        }
    first = by_depth[depths[0]]
    result = {
        "ratio": first["ratio"],
        "ours_s": first["ours_s"],
        "peer_s": peer_s,
        "machine": machine(),
        "peak_rss_bytes": first["peak_rss_bytes"],
        "peer_peak_rss_bytes": max(run["peak_rss_bytes"] for run in peers),
        "by_depth": by_depth,
        "peer_runs": peers,
        "ours_runs_s": [run["seconds"] for run in runs[depths[0]]],
        "settings": {k: v for k, v in vars(arguments).items() if k not in {"json", "side", "depth", "fold", "data"}},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
