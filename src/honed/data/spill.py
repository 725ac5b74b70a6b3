"""Arrays and texts that grow: in memory while they are small, in an unnamed temporary file once they are not."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from honed.errors import HonedError

SPILL_BYTES = 64 << 20
_LARGE_TEMPORARY_FILES = Path("/var/tmp")  # noqa: S108 - named by the FHS for this; /tmp is often kept in memory


def scratch_folder() -> str:
    """Where temporary files go: TMPDIR, else /var/tmp where there is one, else what Python proposes."""
    if not os.environ.get("TMPDIR") and os.access(_LARGE_TEMPORARY_FILES, os.W_OK):
        return str(_LARGE_TEMPORARY_FILES)
    return tempfile.gettempdir()


def temporary_file() -> IO[bytes]:
    """A file without a name, which vanishes with the process however that ends (Windows: when it is closed)."""
    return tempfile.TemporaryFile(dir=scratch_folder())


def disk_is_full(error: OSError) -> HonedError | None:
    """The message for a full disk; None if the error is another one."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    folder = scratch_folder()
    return HonedError(
        f"The disk is full: temporary files in {folder} have no room.",
        cause="Data that do not fit into memory are kept there while they are checked: about three times the size of"
        " their texts.",
        remedy="Free space there, or name a folder on a larger disk: TMPDIR=/large/disk honed check ...",
    )


class GrowingArray:
    """A one-dimensional array that is appended to, then read.

    dtype : of the elements.    budget_bytes : how much stays in memory; beyond it, everything lies in a file.
    """

    def __init__(self, dtype: npt.DTypeLike, budget_bytes: int | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self._budget = SPILL_BYTES if budget_bytes is None else budget_bytes
        self._parts: list[npt.NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._map: npt.NDArray[Any] | None = None
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def is_spilled(self) -> bool:
        """Whether it lies in a file."""
        return self._file is not None

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add the elements at the end.

        Raises HonedError if the disk is full.
        """
        self._n += len(values)
        self._parts.append(np.ascontiguousarray(values, self.dtype))
        if self._file is None and self._n * self.dtype.itemsize <= self._budget:
            return
        try:
            self._file = self._file or temporary_file()
            for part in self._parts:
                self._file.write(part.data)
            self._file.flush()
        except OSError as error:
            raise disk_is_full(error) or error from error
        self._parts.clear()

    def view(self) -> npt.NDArray[Any]:
        """All elements: the array, or the file mapped into memory; not to be written to, valid until `append`."""
        if self._file is not None:
            if self._map is None or len(self._map) < self._n:
                self._map = np.memmap(self._file, self.dtype, "r", shape=(self._n,))
            return self._map
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty(0, self.dtype), *self._parts])]
        return self._parts[0]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Elements start to stop. Read, not mapped: what was read once does not stay in this process's memory."""
        if self._file is None:
            return self.view()[start:stop]
        self._file.seek(start * self.dtype.itemsize)
        return np.frombuffer(self._file.read((stop - start) * self.dtype.itemsize), self.dtype)


class StoredStrings:
    """n strings that are appended, then read by position."""

    def __init__(self) -> None:
        self._bytes = GrowingArray(np.uint8)
        self._end = GrowingArray(np.int64)

    def __len__(self) -> int:
        return len(self._end)

    def extend(self, strings: Sequence[str]) -> None:
        """Add the strings at the end."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        ends = np.cumsum([len(piece) for piece in encoded], dtype=np.int64) + len(self._bytes)
        self._bytes.append(np.frombuffer(b"".join(encoded), np.uint8))
        self._end.append(ends)

    def batches(self, max_strings: int, max_bytes: int) -> Iterator[npt.NDArray[np.int64]]:
        """The positions of all strings, in batches that keep both limits (but for a single longer string)."""
        end = self._end.view()
        first = done = 0
        while first < len(end):
            last = int(np.searchsorted(end, done + max_bytes, side="right"))
            last = min(max(last, first + 1), first + max_strings)
            yield np.arange(first, last)
            first, done = last, int(end[last - 1])

    def take(self, index: npt.NDArray[np.int64]) -> list[str]:
        """The strings at these positions; neighbours are read together."""
        if not len(index):
            return []
        end = self._end.view()
        stop = np.asarray(end[index])
        start = np.where(index > 0, end[np.maximum(index - 1, 0)], 0)
        found: list[str] = []
        # A new reading begins wherever a string does not begin where the one before it ended.
        breaks = [0, *(np.flatnonzero(start[1:] != stop[:-1]) + 1).tolist(), len(index)]
        starts, stops = start.tolist(), stop.tolist()
        for a, b in pairwise(breaks):
            origin = starts[a]
            piece = self._bytes.read(origin, stops[b - 1]).tobytes()
            found += [
                piece[x - origin : y - origin].decode("utf-8", "surrogatepass")
                for x, y in zip(starts[a:b], stops[a:b], strict=True)
            ]
        return found
