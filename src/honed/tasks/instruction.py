"""Instruction tuning: a causal language model learns the replies of a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from honed.bases import ResolvedBase, load_tokenizer
from honed.data.chat_template import ChatTemplate, ConversationReader, EncodedConversation
from honed.data.conversations import Conversation
from honed.tasks.base import Reading

if TYPE_CHECKING:
    import torch

    from honed.tasks.heads import Pooling


class Instruction:
    """encode conversations to token ids with a mask of what carries loss; a row costs its nats per such token."""

    name: ClassVar[str] = "instruction"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "row_loss", "perplexity")
    default_base: ClassVar[str] = "gemma-3-270m"
    default_head: ClassVar[str] = "language"
    heads: ClassVar[tuple[str, ...]] = ("language",)
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    n_views = n_averaged = 1
    layers_frac: ClassVar[float] = 1.0
    has_classes: ClassVar[bool] = False
    n_parts: ClassVar[int] = 1
    has_reference: ClassVar[bool] = False
    least_steps: ClassVar[int] = 100
    micro_batch_tokens: ClassVar[int] = 3072
    defaults: ClassVar[Mapping[str, Any]] = {"max_tokens": 512, "epochs": 2, "batch_size": 8, "stop_frac": 0.0}

    def __init__(self, reader: ConversationReader) -> None:
        self.reader = reader
        self.tokenizer = reader.tokenizer
        pad = self.tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    @classmethod
    def over(cls, base: ResolvedBase, reading: Reading, model: Any) -> Self:
        """See `Task`. reading : template, max_tokens and train_on of a `ConversationReader`."""
        del model
        template = ChatTemplate.from_json(reading["template"])
        return cls(ConversationReader(load_tokenizer(base), template, int(reading["max_tokens"]), reading["train_on"]))

    def pooling(self, head: str) -> tuple[Pooling, int]:
        """See `Task`."""
        from honed.tasks.heads import masked_mean

        return masked_mean, 1

    def to_json(self) -> dict[str, Any]:
        """See `Task`."""
        own = self.reader
        return {"template": own.template.to_json(), "max_tokens": own.max_tokens, "train_on": own.train_on}

    def encode(self, inputs: Sequence[Conversation]) -> list[EncodedConversation]:
        """See `Task`."""
        return self.reader.encode_all(inputs)

    def n_tokens(self, encoded: Sequence[EncodedConversation]) -> npt.NDArray[np.int64]:
        """See `Task`."""
        return np.array([len(row.ids) for row in encoded], dtype=np.int64)

    def row_weights(self, encoded: Sequence[EncodedConversation]) -> npt.NDArray[np.float64]:
        """See `Task`: the tokens that carry loss, so that every token counts the same."""
        return np.array([row.is_target.sum() for row in encoded], dtype=np.float64)

    def as_read(self, encoded: Sequence[EncodedConversation]) -> list[list[int]]:
        """See `Task`: the token ids."""
        return [row.ids.tolist() for row in encoded]

    def collate(self, encoded: Sequence[EncodedConversation]) -> dict[str, torch.Tensor]:
        """input_ids, attention_mask and targets, (rows, tokens), padded on the right."""
        import torch

        from honed.tasks.language_head import NO_TARGET

        width = max(len(row.ids) for row in encoded)
        ids = np.full((len(encoded), width), self.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        targets = np.full_like(ids, NO_TARGET)
        for i, row in enumerate(encoded):
            ids[i, : len(row.ids)] = row.ids
            mask[i, : len(row.ids)] = 1
            targets[i, : len(row.ids)] = np.where(row.is_target, row.ids, NO_TARGET)
        parts = {"input_ids": ids, "attention_mask": mask, "targets": targets}
        return {name: torch.from_numpy(values) for name, values in parts.items()}

    def content(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See `Task`: all but padding."""
        return batch["attention_mask"].bool()

    def blanked(self, batch: Mapping[str, torch.Tensor], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `Task`."""
        return {**batch, "input_ids": batch["input_ids"].masked_fill(tokens, self.pad_id)}

    @staticmethod
    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The head says the loss itself. logits: (rows, 1) -> (rows,)."""
        del label
        return logits[:, 0]


TASK = Instruction
