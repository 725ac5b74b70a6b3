"""Tables with everything in them that the checks look for, and the two ways to read them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from honed.data.readers import open_table
from honed.data.roles import Roles
from honed.data.stored_rows import StoredData, store_rows
from honed.events import Emitter

Row = dict[str, str]
LABELS = ("refund", "Refund", "invoice", "NA")


def faulty_rows(n: int = 600, seed: int = 0) -> list[Row]:
    """Rows with duplicates, near-duplicates, conflicts, gaps, strange characters, groups that share texts."""
    rng = np.random.default_rng(seed)
    words = [f"word{i}" for i in range(300)] + ["straße", "a", "the", "café"]
    rows: list[Row] = []
    for i in range(n):
        kind = rng.integers(10) if rows else 9
        old = rows[rng.integers(len(rows))] if rows else {"text": "", "label": ""}
        text, label = " ".join(rng.choice(words, rng.integers(3, 30))), str(rng.choice(LABELS))
        if kind == 0:
            text, label = f" {old['text'].upper()}  ", old["label"]
        elif kind == 1:
            text = old["text"]
        elif kind == 2:
            text = f"{old['text']} {rng.choice(words)}"
        elif kind == 3:
            text += str(rng.choice([" bell \x07", " cafÃ©", "\u200b", '\n"two lines", here']))
        elif kind == 4:
            text, label = (("", label), (text, ""), ("  ", ""))[rng.integers(3)]
        elif kind == 5:
            text = "appeal dismissed"
        rows.append({"id": f"r{i * 7919 % n}", "text": text, "label": label, "patient": f"p{rng.integers(n // 8)}"})
    return rows


def write(path: Path, rows: list[Row]) -> Path:
    """The rows as CSV, JSON lines or Parquet."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    return path


def stored(path: Path, roles: Roles | None = None) -> StoredData:
    """The rows as a file larger than memory is read."""
    return store_rows(open_table(str(path)), roles or Roles(), Emitter())
