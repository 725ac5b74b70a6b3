"""The scores of a specialist that answers in words: how each is named, bounded and read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from honed.evidence.report_format import Metric as Shown


@dataclass(frozen=True)
class LanguageScore:
    """A score of replies.

    name : in metrics.json and in --require.    title, meaning : for people.    lowest, highest : of its values.
    """

    name: str
    title: str
    meaning: str
    higher_is_better: bool
    lowest: float = 0.0
    highest: float = math.inf

    @property
    def in_unit_interval(self) -> bool:
        """Whether its values lie in [0, 1]."""
        return (self.lowest, self.highest) == (0.0, 1.0)

    @property
    def shown(self) -> Shown:
        """How the report prints it."""
        return Shown(self.name, self.title, self.in_unit_interval, not self.higher_is_better, self.meaning)


LOSS_SCORES = {
    score.name: score
    for score in (
        LanguageScore(
            "loss",
            "Loss (nats per token)",
            "how surprised the model was by a token of the reply; every token counts",
            False,
        ),
        LanguageScore("row_loss", "Loss, mean over rows", "the same; every reply counts once, however long", False),
        LanguageScore(
            "perplexity",
            "Perplexity",
            "among how many equally likely words it wavers: exp of the loss per token",
            False,
            1.0,
        ),
    )
}
PREFERENCE_SCORES = {
    score.name: score
    for score in (
        LanguageScore("preference_loss", "Preference loss (nats per pair)",
                      "-log sigmoid of by how much more than the base it favours the chosen reply; 0.693 is the base's",
                      False),
        LanguageScore("reward_accuracy", "Moved towards the chosen reply",
                      "pairs in which the chosen reply gained more likelihood over the base than the rejected one",
                      True, 0.0, 1.0),
        LanguageScore("preference_accuracy", "Chosen reply preferred",
                      "pairs in which the chosen reply is the likelier one, per token", True, 0.0, 1.0),
        LanguageScore("chosen_loss", "Loss of the chosen replies (nats per token)",
                      "tuning on preferences can make both replies less likely; this is what became of the chosen one",
                      False),
    )
}  # fmt: skip
"""Of pairs, a chosen and a rejected reply to the same prompt."""
REPLY_SCORES = {
    score.name: score
    for score in (
        LanguageScore("exact_match", "Exact match", "replies equal to the reference, but for case and punctuation",
                      True, 0.0, 1.0),
        LanguageScore("token_f1", "Token F1", "words shared with the reference (SQuAD)", True, 0.0, 1.0),
        LanguageScore("rouge_l", "ROUGE-L", "the longest common run of words, gaps allowed (Lin 2004)", True, 0.0, 1.0),
        LanguageScore("chrf", "chrF", "runs of up to six characters shared with the reference (Popovi\u0107 2015)",
                      True, 0.0, 1.0),
        LanguageScore("numeric_match", "Numeric match", "replies whose last number is the reference's", True, 0.0, 1.0),
    )
}  # fmt: skip


def own_score(name: str) -> LanguageScore:
    """A user's score: nothing is known but that more is better."""
    return LanguageScore(name, name, "a score of your own; more is better", True, -math.inf)


def language_score(name: str) -> LanguageScore:
    """The score of that name; an unknown one is the user's own."""
    known = {**LOSS_SCORES, **PREFERENCE_SCORES, **REPLY_SCORES}
    return known.get(name) or own_score(name)
