"""Which languages the texts are in, and the rows in another than the main one (py3langid, an extra, works offline)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue, shorten
from honed.data.personal.find import mask
from honed.data.sampling import drawn, sample_groups

MAX_ROWS = 10_000
NOT_INSTALLED = "Languages: not run, because py3langid is not installed: pip install 'honed[languages]'."
_FEWEST_LETTERS = 20
_CHARACTERS = 300  # of a text
# Measured on 10,058 short messages in 23 languages: from .8 on, 0.3 % of the texts of 20 to 40 characters and none of
# the longer ones are given a wrong language; of 9,350 English texts of five domains none was called foreign.
_SURE = 0.8
_MAIN_SURELY_NOT = 0.01
_CLEAR_MAJORITY = 0.8
_FEWEST_JUDGED = 20
_NO_LANGUAGE = "zxx"  # numbers, code, markup
_MAX_LISTED = 6


@dataclass(frozen=True)
class Languages:
    """issues : `other_language` rows and the `language_mix`.        shares : code -> share of the judged texts.

    n_judged : texts whose language was told; shorter and doubtful ones are left out.        not_run : why, or "".
    """

    issues: list[Issue]
    shares: dict[str, float]
    n_judged: int
    not_run: str = ""


def languages(dataset: Dataset, n_all: int | None = None) -> Languages:
    """`other_language` for each row that is surely not in the clear main language, `language_mix` if there is none.

    A text is judged if it has 20 letters and its language is at least 80 % probable. There is a main language if 80 %
    of the judged texts are in it. At most 10,000 rows are read, the first 300 characters of each.

    n_all : rows of the file, if the dataset is a sample of them.
    """
    try:
        identifier = _identifier()
    except ImportError:
        return Languages([], {}, 0, NOT_INSTALLED)
    rows = dataset.take(sample_groups(dataset.group, MAX_ROWS))
    told: dict[int, str] = {}
    for i, text in enumerate(rows.inputs):
        start = text[:_CHARACTERS]
        if sum(map(str.isalpha, start)) >= _FEWEST_LETTERS:
            language, probability = identifier.classify(start)
            if probability >= _SURE and language != _NO_LANGUAGE:
                told[i] = language
    counts = Counter(told.values())
    shares = {language: n / len(told) for language, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
    if len(told) < _FEWEST_JUDGED:
        return Languages([], shares, len(told))
    main = next(iter(shares))
    seen = drawn(len(rows), n_all or len(dataset))
    if shares[main] < _CLEAR_MAJORITY:
        listed = ", ".join(f"{language} {share:.0%}" for language, share in list(shares.items())[:_MAX_LISTED])
        evidence = (
            f"No main language: {listed} of {len(told):,} texts that could be judged{seen}. Does the base know all?"
        )
        return Languages([Issue("language_mix", 0.5, "none", evidence)], shares, len(told))
    issues = []
    for i, language in told.items():
        if language == main:
            continue
        start = str(rows.inputs[i])[:_CHARACTERS]
        if dict(identifier.rank(start))[main] < _MAIN_SURELY_NOT:  # else a neighbour of it: Danish beside Norwegian
            quoted = shorten(mask(start), 100)
            evidence = f"In {language!r}, where {shares[main]:.0%} of the texts are in {main!r}{seen}: {quoted!r}"
            issues.append(Issue("other_language", 0.3, "review", evidence, str(rows.example_id[i]), int(rows.row[i])))
    return Languages(issues, shares, len(told))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
