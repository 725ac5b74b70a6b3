"""A language model writes: greedily or by sampling, the specialist of a slot or the frozen base."""

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
from honed.training.stack import Stack, token_batches

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Writing:
    """How replies are written. temperature : 0 always takes the likeliest token.    seed : of the draws."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0


def write_replies(
    stack: Stack, prompts: Sequence[tuple[Message, ...]], how: Writing, *, slot: int | None, emitter: Emitter
) -> list[str]:
    """The reply to each prompt. slot : None is the frozen base.

    Raises UsageError if a prompt and its reply are more than the base can read.
    """
    reader = stack.task.reader
    encoded = [reader.encode_prompt(prompt) for prompt in prompts]
    n_tokens = np.array([len(ids) for ids in encoded], dtype=np.int64)
    _check_length(stack, int(n_tokens.max(initial=0)), how)
    replies = [""] * len(prompts)
    done = 0
    order = np.argsort(n_tokens, kind="stable")
    for rows in token_batches(order, n_tokens + how.max_new_tokens, BATCH_TOKENS):
        written = _generate(stack, [encoded[i] for i in rows], how, slot)
        for i, ids in zip(rows.tolist(), written, strict=True):
            replies[i] = reader.tokenizer.decode(ids, skip_special_tokens=True).strip()
        done += len(rows)
        emitter.emit("progress", "writing replies", done=done, total=len(prompts), unit="reply")
    return replies


def stream_reply(stack: Stack, prompt: tuple[Message, ...], how: Writing, *, slot: int | None, streamer: Any) -> None:
    """Write one reply; `streamer` (of transformers) gets the tokens as they come, those of the prompt first."""
    ids = stack.task.reader.encode_prompt(prompt)
    _check_length(stack, len(ids), how)
    _generate(stack, [ids], how, slot, streamer)


def _generate(
    stack: Stack, prompts: Sequence[npt.NDArray[np.int32]], how: Writing, slot: int | None, streamer: Any = None
) -> list[list[int]]:
    import torch
    from transformers import DynamicCache

    width = max(len(ids) for ids in prompts)
    tokens = torch.full((len(prompts), width), stack.task.pad_id)
    mask = torch.zeros_like(tokens)
    for i, ids in enumerate(prompts):  # padded on the left: all replies begin at one place
        tokens[i, width - len(ids) :] = torch.from_numpy(ids.astype(np.int64))
        mask[i, width - len(ids) :] = 1
    ends = stack.task.reader.end_ids
    draws: dict[str, Any] = {"do_sample": False}
    if how.temperature > 0:
        draws = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 0.95}
    stack.routing.segments, stack.routing.only = (), slot
    stack.adapters.use(slot)
    seeded = torch.random.fork_rng(devices=[]) if how.temperature > 0 else nullcontext()
    try:
        with torch.inference_mode(), seeded:
            if how.temperature > 0:
                torch.manual_seed(how.seed)
            written = stack.model.generate(
                input_ids=tokens.to(stack.device),
                attention_mask=mask.to(stack.device),
                max_new_tokens=how.max_new_tokens,
                # Full caches everywhere: a sliding one forgets where in the text its keys stood.
                past_key_values=DynamicCache(),
                use_cache=True,
                eos_token_id=list(ends),
                pad_token_id=stack.task.pad_id,
                streamer=streamer,
                **draws,
            )[:, width:]
    finally:
        stack.routing.only = None
    return [_until_end(row, ends) for row in written.tolist()]


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
