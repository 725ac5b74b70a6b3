"""Classes that are probably one, misspelled: names that differ by a slip of the keyboard, one of them rare."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

from honed.data.dataset import Rows
from honed.data.issue_table import Issue

# Shorter words differ in meaning more often than by accident: card and cord, gain and pain.
_SHORTEST_WORD = 5
_LETTERS_FOR_TWO = 9  # a slip more is believed in words this long: "transfered" and "transferrd"
_RARE_FRAC = 0.2
# Two slips of these kinds turn a word into its opposite or its neighbour, not into a misspelling of itself.
_OPPOSED = (
    ("hyper", "hypo"),
    ("inter", "intra"),
    ("inter", "intro"),
    ("macro", "micro"),
    ("ante", "anti"),
    ("ab", "ad"),
)
_WORDS = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


def label_typos(rows: Rows) -> list[Issue]:
    """`label_spelling` for pairs of classes whose names differ by one slip (two in long words).

    A slip is a letter too many, too few or wrong, or two that changed places. The first letter counts as meant, since
    words that differ there are mostly other words (weight and height, typical and atypical); so do digits, words of
    fewer than five letters, and pairs such as hyper and hypo. One class must be rare beside the other (at most a fifth
    of its rows), unless only a plural tells them apart.
    """
    counts = Counter(rows.label.tolist())
    issues = []
    for a, b in _pairs([name.casefold() for name in rows.label_names]):
        common, rare = sorted((a, b), key=lambda j: (-counts[j], j))
        slip = _slip(rows.label_names[a].casefold(), rows.label_names[b].casefold())
        if slip and (slip == "plural" or counts[rare] <= _RARE_FRAC * counts[common]):
            names = f"{rows.label_names[rare]!r} ({counts[rare]} rows) and {rows.label_names[common]!r}"
            issues.append(
                Issue(
                    "label_spelling",
                    0.1,
                    "review",
                    f"Perhaps one class, spelled differently: {names} ({counts[common]} rows).",
                )
            )
    return issues


def _pairs(names: list[str]) -> Iterator[tuple[int, int]]:
    """Pairs of names that may differ by a slip: as many words, the same first letters, lengths at most 2 apart."""
    alike: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for j, name in enumerate(names):
        alike[tuple(word[0] for word in _WORDS.findall(name))].append(j)
    for family in alike.values():
        yield from ((a, b) for a, b in combinations(family, 2) if abs(len(names[a]) - len(names[b])) <= 2)


def _slip(a: str, b: str) -> str:
    """What sets two names apart, if it is a slip in one word: "typo" or "plural"; else nothing."""
    words = list(zip(_WORDS.findall(a), _WORDS.findall(b), strict=True))
    different = [pair for pair in words if pair[0] != pair[1]]
    if len(different) != 1:
        return ""
    x, y = sorted(different[0], key=lambda word: (len(word), word))
    if not (x.isalpha() and y.isalpha()) or len(x) < _SHORTEST_WORD or _is_opposed(x, y):
        return "plural" if y == f"{x}s" and len(x) >= _SHORTEST_WORD - 1 else ""
    if y in (f"{x}s", f"{x}es"):
        return "plural"
    n_slips = edit_distance(x, y)
    return "typo" if n_slips == 1 or (n_slips == 2 and len(x) >= _LETTERS_FOR_TWO) else ""


def _is_opposed(x: str, y: str) -> bool:
    both = [(p, q) for pair in _OPPOSED for p, q in (pair, pair[::-1])]
    return any(x.startswith(p) and y.startswith(q) for p, q in both)


def edit_distance(a: str, b: str) -> int:
    """How many letters must be inserted, removed, replaced or swapped with the next (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        row = [i]
        for j in range(1, len(b) + 1):
            is_other = a[i - 1] != b[j - 1]
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + is_other)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]
