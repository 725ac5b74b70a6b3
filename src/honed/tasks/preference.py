"""Preference tuning: a causal language model learns which of two replies to a prompt people chose (DPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from honed.bases import ResolvedBase
from honed.data.chat_template import ConversationReader, EncodedConversation
from honed.data.preferences import Preference
from honed.tasks.base import Reading, cross_entropy
from honed.tasks.instruction import Instruction

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EncodedReply(EncodedConversation):
    """One reply of a pair; its last reply alone is the target.

    reference : the frozen base's log-likelihood of it in nats; 0 as long as nobody asked the base.
    """

    reference: float = 0.0


def encode_pairs(reader: ConversationReader, pairs: Sequence[Preference]) -> list[EncodedReply]:
    """The chosen and the rejected reply of each pair, one after the other, each with its prompt."""
    rows = reader.encode_all([row for pair in pairs for row in (pair.with_chosen(), pair.with_rejected())])
    return [
        EncodedReply(
            row.ids, row.is_target & (np.arange(len(row.ids)) >= row.n_prompt), row.n_cut, row.n_prompt, row.n_reply_cut
        )
        for row in rows
    ]


class PreferenceTask(Instruction):
    """encode pairs to two rows of token ids each; a pair costs -log sigmoid(chosen minus rejected reward) in nats.

    What is trained so is used as any other instruction model: the artifact that ships is one.
    """

    name: ClassVar[str] = "preference"
    metrics: ClassVar[tuple[str, ...]] = ("preference_loss", "reward_accuracy", "preference_accuracy", "chosen_loss")
    default_head: ClassVar[str] = "preference"
    heads: ClassVar[tuple[str, ...]] = ("preference",)
    has_classes: ClassVar[bool] = True
    n_parts: ClassVar[int] = 2
    has_reference: ClassVar[bool] = True

    def __init__(self, reader: ConversationReader, beta: float) -> None:
        super().__init__(reader)
        self.beta = beta

    @classmethod
    def over(cls, base: ResolvedBase, reading: Reading, model: Any) -> Self:
        """See `Task`. reading : as for `Instruction`, and beta."""
        return cls(Instruction.over(base, reading, model).reader, float(reading["beta"]))

    def to_json(self) -> dict[str, Any]:
        """See `Task`."""
        return {**super().to_json(), "beta": self.beta}

    def encode(self, inputs: Sequence[Preference]) -> list[EncodedReply]:  # type: ignore[override]
        """See `Task`."""
        return encode_pairs(self.reader, inputs)

    def referenced(self, encoded: Sequence[EncodedReply], said: npt.NDArray[np.float64]) -> list[EncodedReply]:
        """See `Task`. said : the head's (pairs, 2) for replies without a reference, so beta times the likelihoods."""
        likelihood = (said / self.beta).ravel().tolist()
        return [replace(row, reference=own) for row, own in zip(encoded, likelihood, strict=True)]

    def row_weights(self, encoded: Sequence[EncodedConversation]) -> npt.NDArray[np.float64]:
        """See `Task`: all pairs alike."""
        return np.ones(len(encoded))

    def collate(self, encoded: Sequence[EncodedReply]) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """As for `Instruction`, and the reference of each row."""
        import torch

        reference = torch.tensor([row.reference for row in encoded], dtype=torch.float64)
        return {**super().collate(encoded), "reference": reference}

    @staticmethod
    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the chosen reply's class, 0. logits: (pairs, 2), label: (pairs,) -> (pairs,)."""
        return cross_entropy(logits, label)


TASK = PreferenceTask
