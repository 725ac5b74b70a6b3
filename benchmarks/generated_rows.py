"""Rows with planted faults of which the truth is known, for `check_scale.py`.

Each text has about 30 words; words follow Zipf's law. Some rows are copies of others: to the letter but for case and
blanks, with another label, or with one word changed, left out or added. Everything follows from the seed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EXACT_FRAC, CONFLICT_FRAC, NEAR_FRAC = 0.02, 0.002, 0.02
N_WORDS, N_CLASSES, WORD_SHINGLE = 60_000, 20, 3


@dataclass(frozen=True)
class Generated:
    """texts, labels : n each.    exact, conflicts : n of these planted copies.

    near : (row, row of its original, Jaccard similarity of their shingles) of every other copy.
    """

    texts: list[str]
    labels: list[str]
    n_exact: int
    n_conflicts: int
    near: list[tuple[int, int, float]]

    def write(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(zip(self.texts, self.labels, strict=True))


def shingles(text: str) -> set[str]:
    """Runs of three words, as strings."""
    words = text.split()
    return {" ".join(words[i : i + WORD_SHINGLE]) for i in range(len(words) - WORD_SHINGLE + 1)}


def jaccard(one: str, other: str) -> float:
    x, y = shingles(one), shingles(other)
    return len(x & y) / len(x | y)


def generate(n: int, seed: int = 0) -> Generated:
    rng = np.random.default_rng(seed)
    vocabulary = made_words(rng)
    n_exact, n_conflicts, n_near = (int(n * share) for share in (EXACT_FRAC, CONFLICT_FRAC, NEAR_FRAC))
    n_base = n - n_exact - n_conflicts - n_near
    length = np.clip(rng.normal(30, 4, n_base).round().astype(int), 15, 60)
    end = np.cumsum(length)
    weights = 1 / np.arange(1, N_WORDS + 1)
    drawn = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(end[-1])).clip(max=N_WORDS - 1)
    words = vocabulary[drawn]
    texts = [" ".join(words[b - a : b]) for a, b in zip(length, end, strict=True)]
    labels = [f"class {k}" for k in rng.integers(N_CLASSES, size=n_base)]
    originals = rng.choice(n_base, n_exact + n_conflicts + n_near, replace=False).tolist()
    for k, i in enumerate(originals):
        text, label = texts[i], labels[i]
        if k < n_exact:
            text = text.capitalize().replace(" ", "  ", 1) if k % 2 else text
        elif k < n_exact + n_conflicts:
            label = f"class {(int(label.split()[1]) + 1) % N_CLASSES}"
        else:
            text = changed(text, str(vocabulary[rng.integers(N_WORDS)]), rng)
        texts.append(text)
        labels.append(label)
    order = rng.permutation(n)
    place = np.empty(n, dtype=int)
    place[order] = np.arange(n)
    first_near = n - n_near
    near = [
        (int(place[first_near + k]), int(place[i]), jaccard(texts[first_near + k], texts[i]))
        for k, i in enumerate(originals[n_exact + n_conflicts :])
    ]
    return Generated([texts[i] for i in order], [labels[i] for i in order], n_exact, n_conflicts, near)


def made_words(rng: np.random.Generator) -> np.ndarray:
    """Different words of one to three syllables, the frequent ones short."""
    syllables = [c + v + e for c in "bdfghklmnprstvw" for v in "aeiou" for e in ("", "n", "r", "s")]
    words: dict[str, None] = {}
    for n_syllables, n_words in ((1, 200), (2, 10_000), (3, N_WORDS)):
        while len(words) < n_words:
            words.setdefault("".join(rng.choice(syllables, n_syllables)))
    return np.array(list(words))


def changed(text: str, new: str, rng: np.random.Generator) -> str:
    """The text with one word replaced, left out or added, at any place."""
    words = text.split()
    i, kind = int(rng.integers(len(words))), int(rng.integers(3))
    return " ".join([*words[:i], *([new] if kind else []), *words[i + (kind < 2) :]])
