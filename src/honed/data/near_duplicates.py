"""Which texts are nearly the same: all pairs whose shingle sets have a Jaccard similarity of at least 0.8.

Exact set-similarity join with prefix and length filtering, instead of MinHash: MinHash with 128 permutations only
*probably* proposes a pair (and then needs this same verification), while the prefix filter proposes every pair, in
less time on data of this size. Shingles are ordered from rare to common; two sets of similarity >= t must share one
of the first |x| - ceil(t |x|) + 1, which are so rare that few pairs are ever compared.

Chaudhuri, Ganti, Kaushik 2006, "A primitive operator for similarity joins"; Bayardo, Ma, Srikant 2007, "Scaling up
all pairs similarity search"; Broder 1997 for shingles.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

THRESHOLD = 0.8
WORD_SHINGLE = 3
CHARACTER_SHINGLE = 5
# Texts of 8 to 12 words get both kinds of shingles: a pair that straddles one bound would differ by more than 0.8.
_MIN_WORDS_FOR_WORDS = 8
_MAX_WORDS_FOR_CHARACTERS = 12
# Only for thousands of texts made from one mould: then a text is compared with this many of each shingle, and with no
# more once it has this many partners. Components hardly change; the time stays linear.
_MAX_POSTINGS = 300
_MAX_PARTNERS = 50

_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class NearPair:
    """Two positions `i < j` in the order of the texts, and their Jaccard similarity in [0, 1]."""

    i: int
    j: int
    similarity: float


def normalise(text: str) -> str:
    """The text without differences of case, blanks and Unicode form: equal results count as exact duplicates."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def shingle_sets(text: str) -> list[frozenset[str]]:
    """The comparable shingle sets [words, characters] of a normalised text; empty where a kind does not apply.

    Punctuation is ignored. Long texts: runs of 3 words. Short texts: runs of 5 characters, since one changed word
    of six would leave no run of three words equal.
    """
    words = _WORD.findall(text)
    by_word: frozenset[str] = frozenset()
    by_character: frozenset[str] = frozenset()
    if len(words) >= _MIN_WORDS_FOR_WORDS:
        by_word = frozenset(" ".join(words[i : i + WORD_SHINGLE]) for i in range(len(words) - WORD_SHINGLE + 1))
    if len(words) <= _MAX_WORDS_FOR_CHARACTERS:
        joined = " ".join(words)
        n = len(joined) - CHARACTER_SHINGLE + 1
        by_character = frozenset(joined[i : i + CHARACTER_SHINGLE] for i in range(max(n, 1))) if joined else by_word
    return [by_word, by_character]


def jaccard(x: frozenset[str], y: frozenset[str]) -> float:
    """|x and y| / |x or y|; 0 for two empty sets."""
    n_shared = len(x & y)
    return n_shared / (len(x) + len(y) - n_shared) if n_shared else 0.0


def near_pairs(texts: Sequence[str], threshold: float = THRESHOLD) -> list[NearPair]:
    """All pairs of texts that are nearly but not exactly the same, each verified by its exact Jaccard similarity.

    texts : n normalised texts; equal ones are compared once and reported for the first of them only.

    Promises: the pairs are the same whatever the order of the texts (up to which of several equal texts stands for
    them), and no pair is missed unless over 300 texts share a shingle that is among the rarest fifth of both.
    """
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        first.setdefault(text, position)
    distinct = sorted(first)
    sets = [shingle_sets(text) for text in distinct]
    best: dict[tuple[int, int], float] = {}
    for kind in range(2):
        for a, b, similarity in _join([s[kind] for s in sets], threshold):
            i, j = sorted((first[distinct[a]], first[distinct[b]]))
            best[i, j] = max(best.get((i, j), 0.0), similarity)
    return [NearPair(i, j, similarity) for (i, j), similarity in sorted(best.items())]


def _join(sets: list[frozenset[str]], threshold: float) -> Iterable[tuple[int, int, float]]:
    """(a, b, similarity) of all pairs of sets at or above the threshold; sets stand in a canonical order."""
    frequency = Counter(shingle for s in sets for shingle in s)
    postings: defaultdict[str, list[int]] = defaultdict(list)
    for a in sorted((a for a, s in enumerate(sets) if s), key=lambda a: (len(sets[a]), a)):
        x = sets[a]
        n_prefix = len(x) - math.ceil(threshold * len(x) - 1e-9) + 1
        shared = sorted((frequency[shingle], shingle) for shingle in x)[:n_prefix]
        # A shingle that occurs once takes its place in the prefix but can lead to no other text.
        prefix = [shingle for n, shingle in shared if n > 1]
        smallest = threshold * len(x) - 1e-9
        candidates = {b for shingle in prefix for b in postings[shingle][-_MAX_POSTINGS:] if len(sets[b]) >= smallest}
        n_partners = 0
        for b in sorted(candidates, reverse=True):
            similarity = jaccard(x, sets[b])
            if similarity >= threshold - 1e-9:
                yield a, b, similarity
                n_partners += 1
                if n_partners >= _MAX_PARTNERS:
                    break
        for shingle in prefix:
            postings[shingle].append(a)


class Components:
    """Union-find over strings: which of them belong together.

    Promises: the name of a component is its smallest member, whatever the order of the unions.
    """

    def __init__(self, members: Iterable[str]) -> None:
        self._parent = {member: member for member in members}

    def find(self, member: str) -> str:
        """The name of the member's component."""
        root = member
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[member] != root:
            self._parent[member], member = root, self._parent[member]
        return root

    def join(self, a: str, b: str) -> None:
        """Put the components of two members together."""
        low, high = sorted((self.find(a), self.find(b)))
        self._parent[high] = low
