"""`honed check` on many rows: time, memory, and how many of the planted near-duplicates it finds.

    python benchmarks/check_scale.py --json FILE [--rows 10000,100000,1000000] [--peer-rows 100000]

Each size is checked by `honed check --out` in a process of its own (after the file was written); CPU seconds are those
of that process. Recall is over the planted pairs with a Jaccard similarity of at least 0.8: a pair is found if the
copy's finding names the original. The peer is what a user would take instead for near-duplicates, datasketch's
MinHashLSH with 128 permutations, on the same shingles of the same rows: once at the same threshold, once at a lower one
(`PEER_THRESHOLD`) that finds most pairs. `ours_s` and `peer_s` (at the same threshold) are CPU seconds of the search
for near-duplicates alone, from texts to pairs; `ratio` is ours/peer. MinHash's proposals are not verified here: that
would cost it more time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from generated_rows import Generated, generate, shingles

THRESHOLD = 0.8
PEER_THRESHOLD = 0.6
PERMUTATIONS = 128


def checked(rows: Generated, folder: Path) -> dict[str, Any]:
    """`honed check` in a new process."""
    import pyarrow.parquet as pq

    data, table, said = folder / "rows.csv", folder / "issues.parquet", folder / "said.json"
    rows.write(data)
    command = [sys.executable, "-m", "honed", "check", str(data), "--out", str(table), "--json"]
    start = time.perf_counter()
    with said.open("wb") as stdout:
        child = subprocess.Popen(command, stdout=stdout)
        _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}\n{said.read_text()}")
    facts = json.loads(said.read_text())
    found = pq.read_table(table)
    partner = {
        row: int(match[1]) - 1
        for check, row, evidence in zip(
            *(found.column(c).to_pylist() for c in ("check", "row", "evidence")), strict=True
        )
        if check == "near_duplicate" and (match := re.search(r"\(row (\d+)\)", evidence))
    }
    pairs = [(copy, original) for copy, original, similarity in rows.near if similarity >= THRESHOLD]
    return {
        "rows": len(rows.texts),
        "file_bytes": data.stat().st_size,
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "planted_pairs": len(pairs),
        "recall": sum(partner.get(copy) == original for copy, original in pairs) / len(pairs),
        "planted": {"exact_copies": rows.n_exact, "conflicts": rows.n_conflicts, "near_copies": len(rows.near)},
        "counts": facts["checks"]["counts"],
        "conflicts": facts["checks"]["conflicts"],
        "median_tokens": facts["checks"]["token_length"] and facts["checks"]["token_length"]["median"],
    }


def ours(rows: Generated) -> tuple[float, set[tuple[int, int]]]:
    from honed.data.near_duplicates import near_pairs

    start = time.process_time()
    pairs = {(pair.i, pair.j) for pair in near_pairs(rows.texts, THRESHOLD)}
    return time.process_time() - start, pairs


def peer(rows: Generated, threshold: float) -> tuple[float, set[tuple[int, int]]]:
    from datasketch import MinHash, MinHashLSH

    start = time.process_time()
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    pairs = set()
    sets = ([shingle.encode() for shingle in shingles(" ".join(text.lower().split()))] for text in rows.texts)
    for i, sketch in enumerate(MinHash.generator(sets, num_perm=PERMUTATIONS)):
        pairs |= {(j, i) for j in index.query(sketch)}
        index.insert(i, sketch)
    return time.process_time() - start, pairs


def compared(n: int) -> dict[str, Any]:
    """Both searches for near-duplicates, on the same rows."""
    rows = generate(n)
    wanted = {tuple(sorted(pair[:2])) for pair in rows.near if pair[2] >= THRESHOLD}
    ours_s, our_pairs = ours(rows)
    peer_s, peer_pairs = peer(rows, THRESHOLD)
    low_s, low_pairs = peer(rows, PEER_THRESHOLD)
    return {
        "ratio": ours_s / peer_s,
        "ours_s": ours_s,
        "peer_s": peer_s,
        "rows": n,
        "recall": len(wanted & our_pairs) / len(wanted),
        "peer_recall": len(wanted & peer_pairs) / len(wanted),
        "n_pairs": len(our_pairs),
        "peer_n_pairs": len(peer_pairs),
        "peer_at_lower_threshold": {
            "threshold": PEER_THRESHOLD,
            "cpu_s": low_s,
            "recall": len(wanted & low_pairs) / len(wanted),
            "n_pairs": len(low_pairs),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--peer-rows", type=int, default=100_000)
    arguments = parser.parse_args()
    sizes = []
    print(f"{'rows':>9}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'recall':>8}")
    for n in map(int, arguments.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            size = checked(generate(n), Path(folder))
        sizes.append(size)
        memory = f"{size['peak_rss_bytes'] / 1e6:>9.0f}"
        print(f"{n:>9}{size['wall_s']:>9.1f}{size['cpu_s']:>9.1f}{memory}{size['recall']:>8.4f}", flush=True)
    comparison = compared(arguments.peer_rows)
    print(json.dumps(comparison, indent=2))
    result = {
        **comparison,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "sizes": sizes,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
