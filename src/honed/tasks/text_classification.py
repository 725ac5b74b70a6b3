"""Text classification: one label a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from honed.bases import ResolvedBase, load_tokenizer
from honed.tasks.base import Reading, cross_entropy

if TYPE_CHECKING:
    import torch

    from honed.tasks.heads import Pooling


class TextClassification:
    """encode texts to token ids, collate them to a padded batch, and give the loss of each row."""

    name: ClassVar[str] = "text_classification"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "auroc", "ece")
    default_base: ClassVar[str] = "minilm"
    default_head: ClassVar[str] = "mean"
    heads: ClassVar[tuple[str, ...]] = ("mean", "cls", "native")
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    n_views = n_averaged = 1
    has_classes: ClassVar[bool] = True
    n_parts: ClassVar[int] = 1
    has_reference: ClassVar[bool] = False
    layers_frac: ClassVar[float] = 1.0
    defaults: ClassVar[Mapping[str, Any]] = {}
    least_steps: ClassVar[int] = 0
    micro_batch_tokens: ClassVar[int] = 8192

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        # Padding is masked everywhere, so a tokenizer without a pad token may use any id.
        pad = tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else tokenizer.eos_token_id or 0)

    @classmethod
    def over(cls, base: ResolvedBase, reading: Reading, model: Any) -> Self:
        """See `Task`. reading : `max_tokens`."""
        del model
        return cls(load_tokenizer(base), int(reading["max_tokens"]))

    def pooling(self, head: str) -> tuple[Pooling, int]:
        """See `Task`."""
        from honed.tasks.heads import first_token, masked_mean

        return (first_token if head == "cls" else masked_mean), 1

    def to_json(self) -> dict[str, Any]:
        """See `Task`."""
        return {}

    def n_tokens(self, encoded: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int64]:
        """See `Task`."""
        return np.array([len(row) for row in encoded], dtype=np.int64)

    def row_weights(self, encoded: Sequence[Any]) -> npt.NDArray[np.float64]:
        """See `Task`: all alike."""
        return np.ones(len(encoded))

    def as_read(self, encoded: Sequence[npt.NDArray[np.int32]]) -> list[list[int]]:
        """See `Task`: the token ids."""
        return [row.tolist() for row in encoded]

    def encode(self, inputs: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Token ids of each text, truncated to `max_tokens`; never empty."""
        encoded: list[npt.NDArray[np.int32]] = []
        for start in range(0, len(inputs), 1000):
            ids = self.tokenizer(
                list(inputs[start : start + 1000]), truncation=True, max_length=self.max_tokens, verbose=False
            )["input_ids"]
            encoded += [np.asarray(row or [self.pad_id], dtype=np.int32) for row in ids]
        return encoded

    def collate(self, encoded: Sequence[npt.NDArray[np.int32]], n_tokens: int | None = None) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask, (rows, tokens), padded on the right to the longest or to `n_tokens`."""
        import torch

        width = n_tokens or max(len(row) for row in encoded)
        ids = np.full((len(encoded), width), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(encoded), width), dtype=np.int64)
        for i, row in enumerate(encoded):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def content(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See `Task`: all but padding and the tokenizer's special tokens; where there is nothing else, those."""
        import torch

        ids, mask = batch["input_ids"], batch["attention_mask"].bool()
        special = torch.tensor(sorted(set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}))
        words = mask & ~torch.isin(ids, special.to(ids))
        return torch.where(words.any(dim=1, keepdim=True), words, mask)

    def blanked(self, batch: Mapping[str, torch.Tensor], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `Task`: a blank token is the tokenizer's mask, or unknown, or padding token, by what it has."""
        own = (self.tokenizer.mask_token_id, self.tokenizer.unk_token_id, self.pad_id)
        blank = next(token for token in own if token is not None)
        return {**batch, "input_ids": batch["input_ids"].masked_fill(tokens, blank)}

    @staticmethod
    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each row in nats. logits: (rows, c), label: (rows,) -> (rows,)."""
        return cross_entropy(logits, label)


TASK = TextClassification
