"""What a language model thinks of given replies: their loss, under the specialist and under the frozen base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.data.conversations import Conversation
from honed.events import Emitter
from honed.training.build import encode, row_weights
from honed.training.loop import predict
from honed.training.stack import Inputs, Stack, token_batches
from honed.training.trunk import TrunkCache

BLOCK_TOKENS = 65536
"""Tokens whose trunk is kept at a time."""


@dataclass(frozen=True)
class ReplyLosses:
    """Of n conversations. base, specialist : (n,) nats per token of the replies.    n_tokens : (n,) such tokens."""

    base: npt.NDArray[np.float64]
    specialist: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int64]


def reply_losses(
    stack: Stack, conversations: Sequence[Conversation], emitter: Emitter, *, slot: int = 0
) -> ReplyLosses:
    """The losses of the conversations' replies under the frozen base and under `slot`, over one pass of the trunk."""
    inputs = encode(stack, conversations)
    base, specialist = np.empty(len(conversations)), np.empty(len(conversations))
    order = np.argsort(inputs.n_tokens, kind="stable")
    done = 0
    for rows in token_batches(order, inputs.n_tokens, BLOCK_TOKENS):
        part = Inputs([inputs.encoded[i] for i in rows], inputs.n_tokens[rows])
        trunk, every = _trunk(stack, part), np.arange(len(rows))
        base[rows] = predict(stack, part, trunk, None, every)[:, 0]
        specialist[rows] = predict(stack, part, trunk, slot, every)[:, 0]
        done += len(rows)
        emitter.emit("progress", "reading replies", done=done, total=len(conversations), unit="reply")
    return ReplyLosses(base, specialist, row_weights(stack, inputs).astype(np.int64))


def _trunk(stack: Stack, inputs: Inputs) -> TrunkCache | None:
    if stack.cut == 0:
        return None
    trunk = TrunkCache(inputs.n_tokens, stack.model.config.get_text_config().hidden_size, stack.dtype)
    stack.build_trunk(inputs, trunk, Emitter())
    return trunk
