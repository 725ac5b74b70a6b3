"""How often each holdout was looked at, across runs: a holdout looked at twenty times is a training set."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from honed.errors import OutputError, RunFolderError

LEDGER_NAME = "holdout_ledger.jsonl"


def ordinal(n: int) -> str:
    """1 -> "1st", 2 -> "2nd", 11 -> "11th"."""
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def count_openings(folder: Path, dataset_fingerprint: str) -> int:
    """How often the holdout of this dataset was opened, by any run in `folder`.

    Raises RunFolderError if the ledger is damaged: it is never silently started afresh.
    """
    path = folder / LEDGER_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"The ledger of holdout openings {path} cannot be read.",
            cause=str(error),
            remedy="Restore it from a backup: without it nobody knows how often this holdout was looked at.",
        ) from error
    return sum(_fingerprint(path, number, line) == dataset_fingerprint for number, line in _lines(text))


def record_opening(folder: Path, dataset_fingerprint: str, run_name: str) -> int:
    """Note one opening before the holdout is scored; returns which look this is (1 = the first).

    Appended under a file lock and flushed to the disk, so that runs side by side count right and a crash loses nothing.

    Raises RunFolderError if the ledger is damaged, OutputError if it cannot be written.
    """
    path = folder / LEDGER_NAME
    row = {"dataset_fingerprint": dataset_fingerprint, "run": run_name, "time_s": round(time.time(), 3)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file, _locked(file.fileno()):
            before = count_openings(folder, dataset_fingerprint)
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
            return before + 1
    except OSError as error:
        raise OutputError(
            f"The ledger of holdout openings {path} cannot be written: {error.strerror or error}.",
            cause="Every look at the locked holdout must be counted, so it stays shut.",
            remedy="Make the folder writable, choose another with --out, or use --no-gate.",
        ) from error


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # not on Windows: two gates in the very same instant could then both say "1st"
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    *whole, rest = text.split("\n")
    yield from enumerate(whole, start=1)
    if rest:  # an interrupted write: even if it parses, the next line would be appended to it
        yield len(whole) + 1, rest + "..."


def _fingerprint(path: Path, number: int, line: str) -> str:
    try:
        return str(json.loads(line)["dataset_fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"Line {number} of {path} is damaged: {line[:60]!r}.",
            cause="It should be one JSON object that counts one opening of a holdout.",
            remedy="Mend or restore that line by hand; if its run is known, write the line anew. It is never skipped.",
        ) from error
