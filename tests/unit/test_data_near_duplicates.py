"""The join finds what comparing all with all finds, and nothing else."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from honed.data.duplicate_groups import Components
from honed.data.near_duplicates import near_pairs
from honed.data.shingles import normalise


def shingle_sets(text: str) -> list[frozenset[str]]:
    """[words, characters] of a normalised text, as strings: what the hashed sets must amount to."""
    words = re.findall(r"\w+", text)
    joined = " ".join(words)
    by_word = (" ".join(words[i : i + 3]) for i in range(len(words) - 2)) if len(words) >= 8 else ()
    by_character = (joined[i : i + 5] for i in range(max(len(joined) - 4, 1))) if 0 < len(words) <= 12 else ()
    return [frozenset(by_word), frozenset(by_character)]


def jaccard(x: frozenset[str], y: frozenset[str]) -> float:
    return len(x & y) / max(len(x | y), 1)


def naive(texts: list[str], threshold: float) -> dict[frozenset[str], float]:
    """All pairs, compared one by one."""
    sets = {text: shingle_sets(normalise(text)) for text in texts}
    pairs = {}
    for a, b in itertools.combinations(sorted(sets), 2):
        similarity = max(jaccard(x, y) for x, y in zip(sets[a], sets[b], strict=True))
        if similarity >= threshold - 1e-9:
            pairs[frozenset((a, b))] = similarity
    return pairs


def mutated_texts(seed: int) -> list[str]:
    """Texts of 2 to 40 words, each followed by copies with a few words changed, dropped or added."""
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(60)] + ["a", "the", "of", "und", "straße"]
    texts = []
    for _ in range(40):
        text = list(rng.choice(words, rng.integers(2, 40)))
        for _ in range(4):
            texts.append(" ".join(text))
            text[rng.integers(len(text))] = str(rng.choice(words))
            if rng.random() < 0.3:
                text.append("more")
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_join_equals_comparing_all_with_all(seed: int, threshold: float) -> None:
    texts = mutated_texts(seed)
    found = {frozenset((texts[p.i], texts[p.j])): p.similarity for p in near_pairs(texts, threshold)}
    expected = naive(texts, threshold)
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in expected)
    assert expected


def test_pairs_do_not_depend_on_the_order_of_texts() -> None:
    texts = mutated_texts(7)
    other = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    assert {frozenset((texts[p.i], texts[p.j])) for p in near_pairs(texts)} == {
        frozenset((other[p.i], other[p.j])) for p in near_pairs(other)
    }


def test_short_texts_that_differ_in_what_matters_are_kept_apart() -> None:
    texts = ["i lost my card", "i found my card", "cancel my transfer", "cancel my account", "top up failed", "top up"]
    assert near_pairs(texts) == []


def test_punctuation_alone_makes_a_near_duplicate() -> None:
    (pair,) = near_pairs([normalise("Where is my card?"), normalise("where is my card")])
    assert pair.similarity == 1


def test_texts_without_words_are_never_near() -> None:
    assert near_pairs(["", "!!!", "???", "\U0001f44d"]) == []


def test_thousands_of_texts_from_one_mould_form_one_component() -> None:
    words = "the parcel holds all that you asked for and we thank you kindly until we see each other again soon"
    mould = (
        "dear customer your order number {} was shipped today and will arrive at your door within two days from now "
        + words
    )
    texts = [mould.format(i) for i in range(1500)]
    components = Components(texts)
    for pair in near_pairs(texts):
        components.join(texts[pair.i], texts[pair.j])
    assert len({components.find(text) for text in texts}) == 1


def test_component_is_named_after_its_smallest_member_whatever_the_order() -> None:
    links = [("c", "d"), ("d", "b"), ("y", "x"), ("b", "a")]
    for order in itertools.permutations(links):
        components = Components("abcdxyz")
        for a, b in order:
            components.join(a, b)
        assert [components.find(m) for m in "abcdxyz"] == ["a", "a", "a", "a", "x", "x", "z"]
