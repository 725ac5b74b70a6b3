"""Files that are wrong, each in one way; `GOOD` rows surround the fault, so that nothing else is at fault."""

from __future__ import annotations

import json
from pathlib import Path

LABELS = ("refund", "invoice", "shipping")
GOOD = "".join(f"message number {i * i} about {LABELS[i % 3]} {i},{LABELS[i % 3]}\n" for i in range(45))
HEADER = "text,label\n"
GOOD_BYTES = (HEADER + GOOD).encode()


def csv_file(path: Path, body: str, header: str = HEADER) -> Path:
    path.write_text(header + body, encoding="utf-8")
    return path


def with_ids(path: Path) -> Path:
    lines = [f"{min(i, 40)},{line}" for i, line in enumerate(GOOD.splitlines())]
    return csv_file(path, "\n".join(lines) + "\n", "id,text,label\n")


def as_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def numbers(path: Path) -> Path:
    return csv_file(path, "".join(f"message number {i},{i * 0.37:.3f}\n" for i in range(45)))


def many_classes(path: Path) -> Path:
    return csv_file(path, "".join(f"message number {i},class {i}\n" for i in range(10_000)))


def jsonl_cut(path: Path) -> Path:
    rows = [json.dumps({"text": f"message {i}", "label": LABELS[i % 3]}) for i in range(45)]
    path.write_text("\n".join(rows)[:-12], encoding="utf-8")
    return path


def one_class(path: Path) -> Path:
    return csv_file(path, "".join(f"message number {i} about refunds,refund\n" for i in range(45)))


def two_groups(path: Path) -> Path:
    rows = [f"{line},patient {i % 2}\n" for i, line in enumerate(GOOD.splitlines())]
    return csv_file(path, "".join(rows), "text,label,group\n")


def two_texts(path: Path) -> Path:
    rows = [f"the first long text {i},the other long text {i},{LABELS[i % 3]}\n" for i in range(45)]
    return csv_file(path, "".join(rows), "left,right,label\n")


def integer_labels() -> bytes:
    text = HEADER + GOOD
    for number, label in enumerate(LABELS):
        text = text.replace(f",{label}", f",{number}")
    return text.encode()
