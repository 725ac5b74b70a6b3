"""How alike a reply and its reference are: exact match, token F1, ROUGE-L, chrF, the last number."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

CHRF_ORDER, CHRF_BETA = 6, 2
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORDS = re.compile(r"[^\W_]+")
_NUMBER = re.compile(
    r"(?<![\w.,])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
)


def squad_words(text: str) -> list[str]:
    """Lower case, no ASCII punctuation, no English articles: SQuAD's normalisation (Rajpurkar et al. 2016)."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(reply: str, reference: str) -> float:
    """1 where both are the same after SQuAD's normalisation, else 0."""
    return float(squad_words(reply) == squad_words(reference))


def token_f1(reply: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, as often as each occurs; 1 if both hold none."""
    ours, theirs = squad_words(reply), squad_words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def longest_common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, one machine word for 30 tokens or so (Hyyr\u00f6 2004)."""
    where: dict[str, int] = {}
    for i, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        hit = row & where.get(word, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(a) - row.bit_count()


def rouge_l(reply: str, reference: str) -> float:
    """F1 of the longest common subsequence of lower-case words (letters and digits). In [0, 1]. Lin 2004, beta 1.

    On ASCII text equal to the package rouge-score without its stemmer, which would drop every other letter.
    """
    ours, theirs = _WORDS.findall(reply.lower()), _WORDS.findall(reference.lower())
    return 2 * longest_common(ours, theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def chrf(reply: str, reference: str) -> float:
    """F2 of character n-grams of order 1 to 6 without blanks, averaged over the orders that both have. In [0, 1].

    sacrebleu's `sentence_chrf` at its defaults, divided by 100. Popovi\u0107 2015.
    """
    ours, theirs = "".join(reply.split()), "".join(reference.split())
    precision = recall = 0.0
    n_orders = min(CHRF_ORDER, len(ours), len(theirs))
    for n in range(1, n_orders + 1):
        a, b = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (ours, theirs))
        hits = sum((a & b).values())
        precision += hits / a.total() / n_orders
        recall += hits / b.total() / n_orders
    beta2 = CHRF_BETA**2
    return (1 + beta2) * precision * recall / (beta2 * precision + recall) if precision + recall else 0.0


def last_number(text: str) -> Decimal | None:
    """The last number of a text, read the English way (1,234.5); None where there is none."""
    found = _NUMBER.findall(text)
    if not found:
        return None
    try:
        return Decimal(found[-1].replace(",", "").replace("\u2212", "-"))
    except InvalidOperation:  # an exponent that no decimal can hold
        return None


def numeric_match(reply: str, reference: str) -> float | None:
    """1 where the last numbers are equal (5, 5.0 and 5e0 are), else 0; None where the reference has no number."""
    wanted = last_number(reference)
    return None if wanted is None else float(last_number(reply) == wanted)


MEASURES: dict[str, Callable[[str, str], float | None]] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "chrf": chrf,
    "numeric_match": numeric_match,
}
