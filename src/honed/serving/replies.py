"""What a language model thinks of given words: their loss, under the specialist and under the frozen base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.chat_template import EncodedConversation
from honed.data.conversations import Conversation
from honed.events import Emitter
from honed.training.loop import predict
from honed.training.stack import Inputs, Stack, token_batches
from honed.training.trunk import TrunkCache

BLOCK_TOKENS = 65536
"""Tokens whose trunk is kept at a time."""


@dataclass(frozen=True)
class ReplyLosses:
    """Of n texts. base, specialist : (n,) nats per token that carries loss.    n_tokens : (n,) such tokens."""

    base: npt.NDArray[np.float64]
    specialist: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int64]


def reply_losses(
    stack: Stack, conversations: Sequence[Conversation], emitter: Emitter, *, slot: int = 0
) -> ReplyLosses:
    """The losses of the conversations' replies under the frozen base and under `slot`."""
    return losses(stack, stack.task.encode(conversations), emitter, slot=slot)


def text_losses(stack: Stack, texts: Sequence[str], emitter: Emitter, *, slot: int = 0) -> ReplyLosses:
    """The losses of plain texts, of every token but the first, outside any conversation."""
    tokenizer = stack.task.tokenizer
    rows = [np.array(tokenizer(text)["input_ids"], dtype=np.int32) for text in texts]
    encoded = [EncodedConversation(ids, np.arange(len(ids)) > 0, n_cut=0, n_prompt=1) for ids in rows]
    return losses(stack, encoded, emitter, slot=slot)


def losses(stack: Stack, encoded: Sequence[EncodedConversation], emitter: Emitter, *, slot: int) -> ReplyLosses:
    """The losses of the tokens that are targets, under the frozen base and under `slot`, over one pass of the trunk."""
    n_tokens = stack.task.n_tokens(encoded)
    base, specialist = np.empty(len(encoded)), np.empty(len(encoded))
    done = 0
    for rows in token_batches(np.argsort(n_tokens, kind="stable"), n_tokens, BLOCK_TOKENS):
        part = Inputs([encoded[i] for i in rows], n_tokens[rows])
        trunk, every = _trunk(stack, part), np.arange(len(rows))
        base[rows] = predict(stack, part, trunk, None, every)[:, 0]
        specialist[rows] = predict(stack, part, trunk, slot, every)[:, 0]
        done += len(rows)
        emitter.emit("progress", "reading", done=done, total=len(encoded), unit="text")
    return ReplyLosses(base, specialist, stack.task.row_weights(encoded).astype(np.int64))


def _trunk(stack: Stack, inputs: Inputs) -> TrunkCache | None:
    if stack.cut == 0:
        return None
    trunk = TrunkCache(inputs.n_tokens, stack.model.config.get_text_config().hidden_size, stack.dtype)
    stack.build_trunk(inputs, trunk, Emitter())
    return trunk
