"""A server under load for minutes, while specialists come and go and clients leave: does it fail, does it grow?

    python benchmarks/serving_soak.py --json FILE [--seconds 600] [--data CSV] [--threads N]

A real `honed serve --store` in a process of its own, 100 LoRA specialists over MiniLM, 6 MiB for those in memory.
First its capacity is measured (32 connections that always ask), then requests come at random moments at 80 % of it.
Every second a specialist is replaced, and one is added or removed; every twentieth client closes the connection without
waiting for its answer. The server's memory is read every second after a quarter of the time; its slope comes with a
95 % interval of least squares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

from honed.bases import load_tokenizer, resolve
from honed.serving.server import choose_threads
from honed.serving.store import Store
from serving import ask_over_http, machine, make_store, texts_of


async def ask_once(port: int, name: str, text: str, *, leaves: bool) -> int:
    """The status of the answer; 0 if the client left before it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": name, "text": text}).encode()
    head = "POST /v1/predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    try:
        if leaves:
            return 0
        return int((await reader.read(-1))[9:12])
    finally:
        writer.close()


def change(store: Store, made: Path, step: int) -> None:
    """Replace one specialist, and add or remove another."""
    store.add(f"s{step % 50:04}", made, replace=True)
    if step % 2:
        store.add("guest", made)
    elif step:
        store.remove("guest")


async def soak(port: int, per_s: float, seconds: float, things: dict[str, Any]) -> dict[str, Any]:
    process: psutil.Process = things["process"]
    rng, statuses, tasks = np.random.default_rng(0), Counter[int](), set[asyncio.Task[None]]()
    start = time.perf_counter()
    due, number, step, memory = start, 0, 0, []

    async def one(number: int) -> None:
        text = things["texts"][number % len(things["texts"])]
        status = await ask_once(port, f"s{rng.integers(100):04}", text, leaves=number % 20 == 19)
        statuses[status] += 1

    while time.perf_counter() - start < seconds:
        due += rng.exponential(1 / per_s)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
        if time.perf_counter() - start > step:
            await asyncio.to_thread(change, things["store"], things["made"], step)
            step += 1
            if step > seconds / 4:
                memory.append((time.perf_counter() - start, process.memory_info().rss))
    await asyncio.gather(*tasks)
    when, rss = np.array(memory).T
    line = stats.linregress(when, rss)
    half = stats.t.ppf(0.975, len(when) - 2) * line.stderr
    return {
        "seconds": seconds, "requests_per_s": per_s, "statuses": dict(statuses), "changes": 2 * step,
        "rss_bytes": float(np.median(rss)), "rss_slope_bytes_per_s": line.slope,
        "rss_slope_low": line.slope - half, "rss_slope_high": line.slope + half,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    choose_threads(arguments.threads)
    base = resolve("minilm")
    texts = texts_of(arguments, load_tokenizer(base))
    with tempfile.TemporaryDirectory() as name:
        store = make_store(Path(name), base, "auto", 100)
        command = [sys.executable, "-m", "honed", "serve", "--store", str(store.folder), "--port", "0", "--memory", "6"]
        command += ["--threads", str(arguments.threads)] if arguments.threads else []
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "Listening at" in line)
            port = int(re.search(r":(\d+)\s*$", said)[1])  # type: ignore[index]
            names = [f"s{i % 100:04}" for i in range(len(texts))]
            capacity = asyncio.run(ask_over_http(port, names, texts, 32))
            things = {"process": psutil.Process(process.pid), "texts": texts, "store": store}
            things["made"] = Path(name) / "made"
            result = asyncio.run(soak(port, 0.8 * capacity["requests_per_s"], arguments.seconds, things))
        finally:
            process.terminate()
            process.wait()
    result |= {"capacity": capacity, "machine": machine()}
    print(json.dumps(result, indent=2))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
