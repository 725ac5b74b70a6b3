"""What is remembered of every row's text: numbers enough to know equal and similar texts again, and no text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.set_join import Integers, SetStore
from honed.data.shingles import Hashes, normalise, shingle_hashes
from honed.data.spill import GrowingArray

_BATCH = 10_000


def name_keys(names: Iterable[str]) -> Hashes:
    """(n,) 64-bit hashes of ids or groups: an order that depends on no other row."""
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in names]
    return np.frombuffer(b"".join(digests), np.uint64)


class TextIndex:
    """Keys, lengths and shingles of n texts, in the order in which they were added.

    by_word, by_character : the shingle sets of all texts; see `shingle_hashes`.
    """

    def __init__(self) -> None:
        self.by_word, self.by_character = SetStore(), SetStore()
        self._key = GrowingArray(np.uint64)
        self._n_characters = GrowingArray(np.int32)

    def __len__(self) -> int:
        return len(self._n_characters)

    def add(self, texts: Sequence[str]) -> None:
        """Add texts as they were read."""
        for first in range(0, len(texts), _BATCH):
            plain = [normalise(text) for text in texts[first : first + _BATCH]]
            digests = [
                hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in plain
            ]
            self._key.append(np.frombuffer(b"".join(digests), np.uint64))
            self._n_characters.append(np.fromiter(map(len, plain), np.int32, len(plain)))
            by_word, by_character = shingle_hashes(plain)
            self.by_word.append(by_word)
            self.by_character.append(by_character)

    def same(self, tie: npt.NDArray[np.uint64] | Integers) -> SameTexts:
        """Which rows hold the same normalised text; tie: (n,) what orders these rows."""
        key, n_characters = self._key.view().reshape(-1, 2), self._n_characters.view()
        order = np.flatnonzero(n_characters)
        order = order[np.lexsort((tie[order], key[order, 1], key[order, 0]))]
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
        start = np.append(np.flatnonzero(is_new), len(order))
        text = np.full(len(self), NO_TEXT, np.int64)
        text[order] = np.cumsum(is_new) - 1
        return SameTexts(text, order, start, n_characters[order[start[:-1]]].astype(np.int64))


NO_TEXT = -1


@dataclass(frozen=True)
class SameTexts:
    """T different texts, numbered by their keys (so not by the order of the rows), and the rows of each.

    text : (n,) the number of each row's text; -1 for an empty one, which is no duplicate of another.
    order : the rows with a text, text by text.        start : (T + 1,) where in `order` each text's rows begin.
    n_characters : (T,) length of each normalised text.
    """

    text: Integers
    order: Integers
    start: Integers
    n_characters: Integers

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def n_rows(self) -> Integers:
        """(T,) rows of each text."""
        return np.diff(self.start)

    @property
    def first(self) -> Integers:
        """(T,) the first row of each text."""
        return self.order[self.start[:-1]]

    def rows(self, texts: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Integers:
        """The rows of these texts (numbers, or a mask), text by text."""
        first, size = self.start[:-1][texts], self.n_rows[texts]
        within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        return np.asarray(self.order[np.repeat(first, size) + within])
