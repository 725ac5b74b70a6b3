"""A language model writes: specialists of several slots and the frozen base, in one batch where the method stacks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.conversations import Message
from honed.errors import UsageError
from honed.events import Emitter
from honed.routing import Segment
from honed.training.stack import Stack, token_batches

Prompt = tuple[Message, ...]
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Writing:
    """How replies are written. temperature : 0 always takes the likeliest token.    seed : of the draws."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0


def write_replies(
    stack: Stack, prompts: Sequence[Prompt], slots: Sequence[int | None], how: Writing, emitter: Emitter
) -> list[str]:
    """The reply to each prompt, in their order. slots : who writes each; None is the frozen base.

    Raises UsageError if a prompt and its reply are more than the base can read.
    """
    reader = stack.task.reader
    encoded = [reader.encode_prompt(prompt) for prompt in prompts]
    n_tokens = np.array([len(ids) for ids in encoded], dtype=np.int64)
    if not encoded:
        return []
    _check_length(stack, int(n_tokens.max()), how)
    replies = [""] * len(prompts)
    done = 0
    # A method that does not stack has one slot in use at a time.
    parts = [None] if stack.is_shared else sorted(set(slots), key=_order)
    for only in parts:
        own = np.array([i for i, slot in enumerate(slots) if stack.is_shared or slot == only], dtype=np.int64)
        order = own[np.argsort(n_tokens[own], kind="stable")]
        for batch in token_batches(order, n_tokens + how.max_new_tokens, BATCH_TOKENS):
            rows = sorted(batch.tolist(), key=lambda i: _order(slots[i]))
            written = _generate(stack, [encoded[i] for i in rows], [slots[i] for i in rows], how)
            for i, ids in zip(rows, written, strict=True):
                replies[i] = reader.tokenizer.decode(ids, skip_special_tokens=True).strip()
            done += len(rows)
            emitter.emit("progress", "writing replies", done=done, total=len(prompts), unit="reply")
    return replies


def stream_reply(stack: Stack, prompt: Prompt, slot: int | None, how: Writing, streamer: Any) -> None:
    """Write one reply; `streamer` (of transformers) gets the tokens as they come, those of the prompt first.

    Raises UsageError as `write_replies`.
    """
    ids = stack.task.reader.encode_prompt(prompt)
    _check_length(stack, len(ids), how)
    _generate(stack, [ids], [slot], how, streamer)


def _order(slot: int | None) -> int:
    return -1 if slot is None else slot


def _generate(
    stack: Stack,
    prompts: Sequence[npt.NDArray[np.int32]],
    slots: Sequence[int | None],
    how: Writing,
    streamer: Any = None,
) -> list[list[int]]:
    """The new token ids of each prompt, without what ends them. slots : the rows of one slot stand together."""
    import torch
    from transformers import DynamicCache

    width = max(len(ids) for ids in prompts)
    tokens = torch.full((len(prompts), width), stack.task.pad_id)
    mask = torch.zeros_like(tokens)
    for i, ids in enumerate(prompts):  # padded on the left: all replies begin at one place
        tokens[i, width - len(ids) :] = torch.from_numpy(ids.astype(np.int64))
        mask[i, width - len(ids) :] = 1
    draws: dict[str, Any] = {"do_sample": False}
    if how.temperature > 0:
        draws = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 0.95}
    ends = stack.task.reader.end_ids
    stack.routing.segments = _segments(slots)
    stack.adapters.use(slots[0])
    with torch.inference_mode(), torch.random.fork_rng(devices=[]) if how.temperature > 0 else nullcontext():
        if how.temperature > 0:
            torch.manual_seed(how.seed)
        written = stack.model.generate(
            input_ids=tokens.to(stack.device),
            attention_mask=mask.to(stack.device),
            max_new_tokens=how.max_new_tokens,
            past_key_values=DynamicCache(),  # a sliding cache would forget where in the text its keys stood
            use_cache=True,
            eos_token_id=list(ends),
            pad_token_id=stack.task.pad_id,
            streamer=streamer,
            **draws,
        )[:, width:]
    return [_until_end(row, ends) for row in written.tolist()]


def _segments(slots: Sequence[int | None]) -> tuple[Segment, ...]:
    segments = []
    for slot in dict.fromkeys(slots):
        own = [i for i, other in enumerate(slots) if other == slot]
        if slot is not None:
            segments.append(Segment(slot, own[0], own[-1] + 1))
    return tuple(segments)


def _until_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    return ids[:stop]


def _check_length(stack: Stack, n_prompt: int, how: Writing) -> None:
    limit = getattr(stack.model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and n_prompt + how.max_new_tokens > limit:
        raise UsageError(
            f"A prompt of {n_prompt} tokens and a reply of up to {how.max_new_tokens} are more than the base can read "
            f"({limit}).",
            remedy="Shorten the prompt, or ask for fewer new tokens.",
        )
