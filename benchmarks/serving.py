"""Many specialists on one base, served: against one alone, against PEFT's mixed batches, and what the machine could do.

    python benchmarks/serving.py --json FILE [--data CSV] [--rows 1024] [--rounds 5] [--threads N]
                                 [--parts mixed,int8,peft,many,http]

The specialists are LoRA of rank 8 in the attention over MiniLM, with random weights: their values do not change what a
forward pass costs. Texts are those of column `text` with at most 32 tokens (or drawn words, without --data), every text
once a round, and nothing is remembered between them, so no answer comes from a cache.

mixed  the whole engine (tokenizing, batching, answers): all rows for one specialist against the rows spread evenly over
       100; rounds take turns and medians are quoted. Beside it the largest difference to each specialist alone.
int8   the whole engine again, the base's linear modules in 8 bits; and how far its answers are from float32's.
peft   forward passes alone, the same batches on both sides: ours against `PeftModel(..., adapter_names=...)` with the
       same 100 adapters loaded. Only the backbone is timed for PEFT, backbone and heads for ours.
       `fan_out`: a few texts, each for all 100; ours computes what lies below the adapted layers once a text.
many   1,000 registered, 200 in memory, requests drawn by Zipf's law at half the rate that one specialist was served at;
       the latency from asking to the answer, against one specialist at the same rate.
http   a real server process: requests of one text over 32 open connections, from a client on the same machine.

Ratios are of processor time (all threads of the process), which other programs disturb little, with the wall time
beside it; on a machine that is busy, `--threads 1` keeps threads from waiting for each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from honed.artifact import Artifact, ArtifactInfo, load_artifact, save_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, resolve
from honed.methods.base import get_method
from honed.serving.batcher import Batcher, BatchLimits
from honed.serving.engine import load_specialist
from honed.serving.family import Family, FrozenBase, RecentTrunks, encode, family_key
from honed.serving.server import choose_threads
from honed.serving.store import Entry, Store
from honed.training.build import StackSpec, build_stack
from honed.training.stack import token_batches

MOST_TOKENS, N_MIXED, N_REGISTERED, N_RESIDENT, RANK = 32, 100, 1000, 200, 8


def machine() -> dict[str, Any]:
    """Who was measured, how busy it was besides, and the fastest of its matrix products of the model's sizes."""
    best = 0.0
    for n_in, n_out in ((384, 384), (384, 1536), (1536, 384)):
        x, w = torch.randn(2048, n_in), torch.randn(n_out, n_in)
        for _ in range(20):
            start = time.perf_counter()
            torch.nn.functional.linear(x, w)
            best = max(best, 2 * 2048 * n_in * n_out / (time.perf_counter() - start))
    name = platform.processor() or platform.machine()
    found = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    return {
        "cpu": found[1] if found else name, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0], "linear_gflops_measured": round(best / 1e9, 1), "torch": torch.__version__,
    }  # fmt: skip


def texts_of(arguments: argparse.Namespace, tokenizer: Any) -> list[str]:
    """Distinct texts of at most 32 tokens."""
    rng = np.random.default_rng(0)
    if arguments.data:
        from honed.data.readers import read_table

        found = list(dict.fromkeys(read_table(arguments.data).column("text").to_pylist()))
    else:
        words = [word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 2]
        found = [" ".join(rng.choice(words, size=rng.integers(5, 28))) for _ in range(4 * arguments.rows)]
    short = [text for text, ids in zip(found, tokenizer(found)["input_ids"], strict=True) if len(ids) <= MOST_TOKENS]
    return [short[i] for i in rng.permutation(len(short))[: arguments.rows]]


def make_store(folder: Path, base: ResolvedBase, depth: int | str, n: int) -> Store:
    """A store of `n` specialists of random weights."""
    method = get_method("lora")
    options = method.options(rank=RANK, alpha=2.0 * RANK)
    spec = StackSpec("lora", options, "mean", depth, tuple("abcdefgh"), 128, device="cpu")
    stack = build_stack(base, spec, [0])
    info = ArtifactInfo(
        base=base.name, base_hub_id=base.hub_id, base_revision=base.revision, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task=spec.task, method="lora",
        method_options=options.model_dump(), head="mean", label_names=spec.label_names, max_tokens=128,
        temperature=1.0, n_layers=base.n_layers, depth=stack.depth, dtype="float32", dataset_fingerprint="",
    )  # fmt: skip
    store, draw = Store(folder / "store"), torch.Generator().manual_seed(0)
    for i in range(n):
        state = {name: 0.05 * torch.randn(t.shape, generator=draw) for name, t in stack.slot_state(0).items()}
        save_artifact(folder / "made", Artifact(info, state), sites=stack.adapters.sites)
        store.add(f"s{i:04}", folder / "made")
    return store


def engine(store: Store, base: ResolvedBase, *, is_int8: bool = False, **limits: Any) -> Batcher:
    given: dict[str, Any] = {"recent_bytes": 0, "queue_rows": 1 << 20}
    return Batcher(store, FrozenBase(base, "cpu", is_int8=is_int8), replace(BatchLimits(), **given | limits))


class Clock:
    """wall_s and cpu_s of each round of a piece of work."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        work()  # not counted

    def round(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.work()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)

    def summary(self, n_rows: int) -> dict[str, float]:
        wall, cpu = statistics.median(self.wall_s), statistics.median(self.cpu_s)
        return {"rows_per_s": n_rows / wall, "rows_per_cpu_s": n_rows / cpu, "wall_s": wall, "cpu_s": cpu}


def compared(one: Clock, other: Clock, rounds: int) -> dict[str, float]:
    """How many times as long as the one the other took, round by round."""
    for _ in range(rounds):
        one.round()
        other.round()
    return {
        "ratio": statistics.median(o / n for n, o in zip(one.cpu_s, other.cpu_s, strict=True)),
        "ratio_wall": statistics.median(o / n for n, o in zip(one.wall_s, other.wall_s, strict=True)),
    }


def answer_all(batcher: Batcher, pairs: list[tuple[Entry, str]]) -> None:
    for future in batcher.submit(pairs):
        future.result()


def part_mixed(store: Store, base: ResolvedBase, texts: list[str], rounds: int) -> dict[str, Any]:
    entries = list(store.entries().values())[:N_MIXED]
    one = [(entries[0], text) for text in texts]
    spread = [(entries[i % len(entries)], text) for i, text in enumerate(texts)]
    batcher = engine(store, base)
    try:
        mixed = Clock(lambda: answer_all(batcher, spread))
        alone = Clock(lambda: answer_all(batcher, one))
        ratios = compared(mixed, alone, rounds)
        worst = 0.0
        for (entry, text), future in list(zip(spread, batcher.submit(spread), strict=True))[:20]:
            expected = load_specialist(entry.folder, device="cpu").logits([text])[0]
            worst = max(worst, float(np.abs(future.result().logits - expected).max()))
    finally:
        batcher.close()
    return {
        "specialists": len(entries), "alone": alone.summary(len(texts)), "mixed": mixed.summary(len(texts)),
        **ratios, "largest_logit_difference_to_alone": worst,
    }  # fmt: skip


def part_int8(store: Store, base: ResolvedBase, texts: list[str], rounds: int) -> dict[str, Any]:
    entries = list(store.entries().values())[:N_MIXED]
    spread = [(entries[i % len(entries)], text) for i, text in enumerate(texts)]
    plain, int8 = engine(store, base), engine(store, base, is_int8=True)
    try:
        clocks = [Clock(lambda own=own: answer_all(own, spread)) for own in (int8, plain)]
        ratios = compared(*clocks, rounds)
        said = [np.array([f.result().logits for f in own.submit(spread)]) for own in (int8, plain)]
        probs = [np.exp(logits) / np.exp(logits).sum(1, keepdims=True) for logits in said]
    finally:
        plain.close()
        int8.close()
    agree = float((probs[0].argmax(1) == probs[1].argmax(1)).mean())
    difference = np.abs(probs[0] - probs[1]).max(1)
    return {
        "int8": clocks[0].summary(len(texts)), "float32": clocks[1].summary(len(texts)), **ratios,
        "same_label_frac": agree, "probability_difference_median": float(np.median(difference)),
        "probability_difference_most": float(difference.max()),
    }  # fmt: skip


def part_peft(store: Store, base: ResolvedBase, texts: list[str], rounds: int) -> dict[str, Any]:
    from peft import PeftModel

    entries = list(store.entries().values())[:N_MIXED]
    frozen, first = FrozenBase(base, "cpu"), load_artifact(entries[0].folder)
    family = Family(frozen, first, family_key(first.info, ""))
    for slot, entry in enumerate(entries):
        family.load(slot, load_artifact(entry.folder))
    peer: Any = PeftModel.from_pretrained(frozen.shared_copy(first.info), entries[0].folder, adapter_name="a0")
    for slot, entry in enumerate(entries[1:], 1):
        peer.load_adapter(entry.folder, adapter_name=f"a{slot}")
    peer.eval()
    rows = [views[0] for views in encode(frozen.task(first.info), texts)]
    n_tokens = np.array([row.n_tokens for row in rows])
    batches = token_batches(np.argsort(n_tokens, kind="stable"), n_tokens, BatchLimits.batch_tokens)
    limit = BatchLimits.batch_rows
    batches = [batch[i : i + limit] for batch in batches for i in range(0, len(batch), limit)]

    def ours() -> None:
        for batch in batches:
            family.logits([rows[i] for i in batch], [int(i) % N_MIXED for i in batch], None)

    def theirs() -> None:
        with torch.inference_mode():
            for batch in batches:
                inputs = family.task.collate([rows[i].value for i in batch])
                peer(**inputs, adapter_names=[f"a{int(i) % N_MIXED}" for i in batch])

    with torch.inference_mode():
        batch = batches[len(batches) // 2]
        inputs = family.task.collate([rows[i].value for i in batch])
        hidden = peer(**inputs, adapter_names=[f"a{int(i) % N_MIXED}" for i in batch]).last_hidden_state
        own = family.logits([rows[i] for i in batch], [int(i) % N_MIXED for i in batch], None)
        heads = [load_artifact(entries[int(i) % N_MIXED].folder).state for i in batch]
        pooled = [h[: rows[i].n_tokens].mean(0) for h, i in zip(hidden, batch, strict=True)]
        said = [p @ s["head.weight"].T + s["head.bias"] for p, s in zip(pooled, heads, strict=True)]
        worst = max(float(np.abs(o - t.numpy()).max()) for o, t in zip(own, said, strict=True))
    few = [(row, slot) for row in rows[:: len(rows) // 4][:4] for slot in range(N_MIXED)]

    def ours_fan_out() -> None:
        recent = RecentTrunks(1 << 26)
        for i in range(0, len(few), limit):
            family.logits([row for row, _ in few[i : i + limit]], [slot for _, slot in few[i : i + limit]], recent)

    def theirs_fan_out() -> None:
        with torch.inference_mode():
            for i in range(0, len(few), limit):
                inputs = family.task.collate([row.value for row, _ in few[i : i + limit]])
                peer(**inputs, adapter_names=[f"a{slot}" for _, slot in few[i : i + limit]])

    fan_out = (Clock(ours_fan_out), Clock(theirs_fan_out))
    fan_ratios = compared(*fan_out, rounds)
    own_clock, peer_clock = Clock(ours), Clock(theirs)
    ratios = compared(own_clock, peer_clock, rounds)
    return {
        "ours": own_clock.summary(len(texts)), "peer": peer_clock.summary(len(texts)), "batches": len(batches),
        **ratios, "largest_logit_difference_to_peer": worst,
        "fan_out": {"ours": fan_out[0].summary(len(few)), "peer": fan_out[1].summary(len(few)), **fan_ratios},
    }  # fmt: skip


def latencies(batcher: Batcher, asked: list[tuple[Entry, str]], per_s: float) -> dict[str, float]:
    """Ask at random moments, `per_s` a second on average, whatever became of those before."""
    gaps = np.random.default_rng(1).exponential(1 / per_s, len(asked))
    due, took, errors = time.perf_counter(), [], 0
    futures = []
    for (entry, text), gap in zip(asked, gaps, strict=True):
        due += gap
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        future = batcher.submit([(entry, text)])[0]
        future.add_done_callback(lambda _, start=start: took.append(time.perf_counter() - start))
        futures.append(future)
    errors = sum(future.exception() is not None for future in futures)
    p50, p99 = (float(q) for q in np.quantile(took, [0.5, 0.99]))
    return {"p50_ms": 1000 * p50, "p99_ms": 1000 * p99, "errors": errors, "requests": len(asked)}


def part_many(store: Store, base: ResolvedBase, texts: list[str], per_s: float) -> dict[str, Any]:
    entries = list(store.entries().values())
    rng = np.random.default_rng(0)
    order = rng.permutation(len(entries))
    weights = 1 / np.arange(1, len(entries) + 1)
    who = order[rng.choice(len(entries), size=len(texts), p=weights / weights.sum())]
    size = sum(t.numel() * t.element_size() for t in load_artifact(entries[0].folder).state.values())
    batcher = engine(store, base, memory_bytes=N_RESIDENT * size)
    try:
        answer_all(batcher, [(entries[i], texts[0]) for i in order[:N_RESIDENT]])
        before = psutil.Process().memory_info().rss
        one = latencies(batcher, [(entries[order[0]], text) for text in texts], per_s)
        loads = batcher.residents.n_loads
        zipf = latencies(batcher, [(entries[i], text) for i, text in zip(who, texts, strict=True)], per_s)
        resident = {"specialists": len(batcher.residents), "bytes": batcher.residents.n_bytes}
        loads = batcher.residents.n_loads - loads
    finally:
        batcher.close()
    return {
        "registered": len(entries), "resident": resident, "bytes_per_specialist": size, "loads": loads,
        "requests_per_s": per_s, "one": one, "zipf": zipf, "p99_to_p50_of_one": zipf["p99_ms"] / one["p50_ms"],
        "rss_growth_bytes": psutil.Process().memory_info().rss - before,
    }  # fmt: skip


async def ask_over_http(port: int, names: list[str], texts: list[str], n_connections: int) -> dict[str, Any]:
    todo, took, statuses = iter(list(zip(names, texts, strict=True))), [], []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for name, text in todo:
            body = json.dumps({"model": name, "text": text}).encode()
            start = time.perf_counter()
            head = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1]))  # type: ignore[index]
            took.append(time.perf_counter() - start)
            statuses.append(int(answer[9:12]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_connections)))
    p50, p99 = (1000 * float(q) for q in np.quantile(took, [0.5, 0.99]))
    rate = len(took) / (time.perf_counter() - start)
    return {"requests_per_s": rate, "p50_ms": p50, "p99_ms": p99, "not_200": sum(s != 200 for s in statuses)}


def part_http(store: Store, texts: list[str], threads: int | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "honed", "serve", "--store", str(store.folder), "--port", "0"]
    command += ["--threads", str(threads)] if threads else []
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "Listening at" in line)
        port = int(said.strip().rpartition(":")[2])
        names = [f"s{i % N_MIXED:04}" for i in range(len(texts))]
        asyncio.run(ask_over_http(port, names[:200], texts[:200], 32))
        half = len(texts) // 2
        return asyncio.run(ask_over_http(port, names[half:], texts[half:], 32))
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default="mixed,int8,peft,many,http")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    choose_threads(arguments.threads)
    base = resolve("minilm")
    from honed.bases import load_tokenizer

    tokenizer = load_tokenizer(base)
    texts = texts_of(arguments, tokenizer)
    n_tokens = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    parts = arguments.parts.split(",")
    result: dict[str, Any] = {
        "machine": machine(), "rows": len(texts), "rounds": arguments.rounds, "data": Path(arguments.data or "").name,
        "tokens_mean": float(np.mean(n_tokens)), "tokens_most": max(n_tokens),
        # 12 d^2 weights a layer, two operations each; attention's own products are some 1 % at this length
        "gflop_per_row": 6 * 12 * 384**2 * 2 * float(np.mean(n_tokens)) / 1e9,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        for depth in ("auto", "all"):
            folder = Path(name) / depth
            folder.mkdir()
            store = make_store(folder, base, depth, N_REGISTERED if "many" in parts and depth == "auto" else N_MIXED)
            own: dict[str, Any] = {}
            if "mixed" in parts:
                own["mixed"] = part_mixed(store, base, texts, arguments.rounds)
            if "int8" in parts:
                own["int8"] = part_int8(store, base, texts, arguments.rounds)
            if "peft" in parts:
                own["peft"] = part_peft(store, base, texts, max(2, arguments.rounds // 2))
            if "many" in parts and depth == "auto":
                own["many"] = part_many(store, base, texts, 0.5 * own["mixed"]["alone"]["rows_per_s"])
            if "http" in parts:
                own["http"] = part_http(store, texts, arguments.threads)
            result[f"depth_{depth}"] = own
            print(json.dumps({depth: own}, indent=2), flush=True)
    mixed, peft = result["depth_all"].get("mixed", {}), result["depth_all"].get("peft", {})
    sides = [peft.get(side, {}).get("cpu_s") for side in ("ours", "peer")]
    result |= {"ratio": peft.get("ratio"), "ours_s": sides[0], "peer_s": sides[1]}
    result["mixed_to_alone"] = mixed.get("ratio")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
