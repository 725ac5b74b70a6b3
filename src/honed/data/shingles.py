"""Texts as sets of hashed shingles, whole batches at a time.

A shingle is a run of 3 words or of 5 characters; its hash has 64 bits and is the same on every machine. Two different
shingles of a million rows share a hash with a probability of about 1e-5, and then one similarity is off by one shingle.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

WORD_SHINGLE = 3
CHARACTER_SHINGLE = 5
# Texts of 8 to 12 words get both kinds of shingles: a pair that straddles one bound would differ by more than 0.8.
_MIN_WORDS_FOR_WORDS = 8
_MAX_WORDS_FOR_CHARACTERS = 12
_PADDING = "\n"  # no word holds it: a text shorter than a shingle is one shingle, unlike any part of a longer text
_MAX_TEXTS = 1 << 16  # of which the sets are made at once: numbers of 16 bits are sorted fastest
_MAX_KNOWN_WORDS = 1 << 20

_WORD = re.compile(r"\w+")
_NOT_IN_ASCII_WORDS = {code: " " for code in range(128) if not _WORD.fullmatch(chr(code))}
# Odd constants with random bits: the first digits of the fractional parts of square roots of primes, as in SHA-512.
_FACTORS = np.array(
    [0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1, 0x510E527FADE682D1], np.uint64
)

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class HashSets:
    """n sets, one after another: `values` (sum of sizes,), sorted within each set; `size` (n,), 0 for none."""

    values: Hashes
    size: npt.NDArray[np.int64]


class _WordHashes(dict[str, int]):
    """The 64-bit hash of each word, remembered."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        self[word] = value
        return value


_word_hashes = _WordHashes()


def normalise(text: str) -> str:
    """The text without differences of case, blanks and Unicode form: equal results count as exact duplicates."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """The words of a normalised text; punctuation is ignored."""
    return text.translate(_NOT_IN_ASCII_WORDS).split() if text.isascii() else _WORD.findall(text)


def shingle_hashes(texts: Sequence[str]) -> tuple[HashSets, HashSets]:
    """The comparable sets (by word, by character) of at most 65,536 normalised texts.

    Long texts: runs of 3 words. Short texts: runs of 5 characters, since one changed word of six would leave no
    run of three words equal. Where a kind does not apply, the set is empty.
    """
    found = [words(text) for text in texts]
    n_words = np.fromiter(map(len, found), np.int64, len(found))
    by_word = n_words >= _MIN_WORDS_FOR_WORDS
    by_character = (n_words > 0) & (n_words <= _MAX_WORDS_FOR_CHARACTERS)
    return _sets(_word_shingles(found, by_word), by_word), _sets(_character_shingles(found, by_character), by_character)


def _word_shingles(found: Sequence[list[str]], chosen: npt.NDArray[np.bool_]) -> HashSets:
    if len(_word_hashes) > _MAX_KNOWN_WORDS:
        _word_hashes.clear()
    lists = [found[i] for i in np.flatnonzero(chosen).tolist()]
    n_words = np.fromiter(map(len, lists), np.int64, len(lists))
    flat = np.fromiter(map(_word_hashes.__getitem__, chain.from_iterable(lists)), np.uint64, int(n_words.sum()))
    return _runs(flat, n_words, WORD_SHINGLE)


def _character_shingles(found: Sequence[list[str]], chosen: npt.NDArray[np.bool_]) -> HashSets:
    joined = [" ".join(found[i]).ljust(CHARACTER_SHINGLE, _PADDING) for i in np.flatnonzero(chosen).tolist()]
    n_characters = np.fromiter(map(len, joined), np.int64, len(joined))
    codes = np.frombuffer("".join(joined).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return _runs(codes, n_characters, CHARACTER_SHINGLE)


def _runs(items: Hashes, n_items: npt.NDArray[np.int64], length: int) -> HashSets:
    """The hash of every run of `length` items that does not leave its text."""
    n_runs = max(len(items) - length + 1, 0)
    total = np.zeros(n_runs, np.uint64)
    for offset in range(length):
        total += items[offset : offset + n_runs] * _FACTORS[offset]
    is_whole = np.ones(len(items), np.bool_)
    end = np.cumsum(n_items)
    for offset in range(1, length):
        is_whole[end - offset] = False
    return HashSets(mix(total)[is_whole[:n_runs]], n_items - length + 1)


def mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection after which every bit depends on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _sets(runs: HashSets, chosen: npt.NDArray[np.bool_]) -> HashSets:
    """Sort each text's hashes and take repeated ones out; texts that were not chosen get an empty set."""
    size = np.zeros(len(chosen), np.int64)
    assert len(chosen) <= _MAX_TEXTS
    owner = np.repeat(np.flatnonzero(chosen).astype(np.uint16), runs.size)
    order = np.argsort(runs.values)
    order = order[np.argsort(owner[order], kind="stable")]
    values, owner = runs.values[order], owner[order]
    is_new = np.ones(len(values), np.bool_)
    is_new[1:] = (values[1:] != values[:-1]) | (owner[1:] != owner[:-1])
    size += np.bincount(owner[is_new], minlength=len(chosen))
    return HashSets(values[is_new], size)
