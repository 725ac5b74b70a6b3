"""A language model writes: specialists of several slots and the frozen base, in one batch where the method stacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from honed.data.conversations import Message
from honed.errors import UsageError
from honed.events import Emitter
from honed.routing import Routing, Segment
from honed.training.stack import Stack, token_batches

if TYPE_CHECKING:
    import torch

Prompt = tuple[Message, ...]
Ids = npt.NDArray[np.int32]
Row = list[int]
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Writing:
    """How a reply is written. temperature : 0 always takes the likeliest token.    seed : of the draws.

    top_p : drawn are only the likeliest tokens that together have this probability.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    top_p: float = 0.95


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
            own_draws = [replace(how, seed=how.seed + i) for i in rows]
            written = _generate(stack, [encoded[i] for i in rows], [slots[i] for i in rows], own_draws)
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
    _generate(stack, [ids], [slot], [how], streamer)


def _order(slot: int | None) -> int:
    return -1 if slot is None else slot


def _generate(
    stack: Stack, prompts: Sequence[Ids], slots: Sequence[int | None], hows: Sequence[Writing], streamer: Any = None
) -> list[Row]:
    """slots : the rows of one slot stand together."""
    stack.routing.segments = _segments(slots)
    stack.adapters.use(slots[0])
    return generate(stack.model, stack.task, stack.routing, prompts, hows, streamer)


def generate(
    model: Any, task: Any, routing: Routing, prompts: Sequence[Ids], hows: Sequence[Writing], watch: Any = None
) -> list[Row]:
    """The new token ids of each prompt, without what ends them; each is written as its own `Writing` says.

    task : of the language model.    routing : of its slots, which says whose each row is.    watch : a streamer of
    transformers; if it is a `Watch`, it also says which rows are through before their time.
    """
    import torch
    from transformers import DynamicCache

    device = next(model.parameters()).device
    width = max(len(ids) for ids in prompts)
    tokens = torch.full((len(prompts), width), task.pad_id)
    mask = torch.zeros_like(tokens)
    for i, ids in enumerate(prompts):  # padded on the left: all replies begin at one place
        tokens[i, width - len(ids) :] = torch.from_numpy(ids.astype(np.int64))
        mask[i, width - len(ids) :] = 1
    ends = task.reader.end_ids
    is_watched, draws = isinstance(watch, Watch), Draws(hows)
    routing.left_padding = (width - mask.sum(1)).to(device)
    try:
        with torch.inference_mode():
            written = model.generate(
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=max(how.max_new_tokens for how in hows),
                past_key_values=DynamicCache(),  # a sliding cache would forget where in the text its keys stood
                use_cache=True,
                eos_token_id=list(ends),
                pad_token_id=task.pad_id,
                streamer=watch,
                stopping_criteria=[watch.through] if is_watched else [],
                logits_processor=[*([watch.look] if is_watched else []), *([draws] if draws.generators else [])],
                do_sample=False,
            )[:, width:]
    finally:
        routing.left_padding = None
    rows = zip(written.tolist(), hows, strict=True)
    return [_until_end(row[: how.max_new_tokens], ends) for row, how in rows]


class Watch(ABC):
    """Sees the tokens of a batch as they come, and may stop rows."""

    @abstractmethod
    def put(self, value: torch.Tensor) -> None:
        """First the prompts (rows, tokens), then one token of each row: (rows,)."""

    def end(self) -> None:  # noqa: B027 - the caller knows when `generate` comes back
        """Nothing more comes."""

    @abstractmethod
    def look(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """What the model says of every word, (rows, words), before a token is taken; gives it back."""

    @abstractmethod
    def through(self, input_ids: torch.Tensor, scores: Any) -> torch.Tensor:
        """Which rows need no more tokens: (rows,)."""


class Draws:
    """Draws the next token of each row by that row's own temperature and seed, so that one batch mixes all kinds.

    A drawn token is the largest of p / E, where each E is exponential: the same as drawing from p (Gumbel 1954). A
    row's draws depend on its own seed alone, not on the rows beside it.
    """

    def __init__(self, hows: Sequence[Writing]) -> None:
        import torch

        self.hows = hows
        self.generators = {
            i: torch.Generator().manual_seed(how.seed) for i, how in enumerate(hows) if how.temperature > 0
        }

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        """scores : (rows, words) -> the same, but for drawn tokens, of which each is the only one left in its row."""
        import torch

        del input_ids
        for i, generator in self.generators.items():
            own = scores[i].double()
            probs = torch.softmax((own - own.max()) / self.hows[i].temperature, dim=0)
            if self.hows[i].top_p < 1:
                ordered, at = probs.sort(descending=True)
                probs[at[ordered.cumsum(0) - ordered >= self.hows[i].top_p]] = 0
            wait = torch.empty(len(probs), dtype=torch.float64).exponential_(generator=generator)
            drawn = (probs / wait.to(probs.device)).argmax()
            scores[i].fill_(-torch.inf)[drawn] = 0
        return scores


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
    limit = max_positions(stack.model)
    if limit is not None and n_prompt + how.max_new_tokens > limit:
        raise UsageError(
            f"A prompt of {n_prompt} tokens and a reply of up to {how.max_new_tokens} are more than the base can read "
            f"({limit}).",
            remedy="Shorten the prompt, or ask for fewer new tokens.",
        )


def max_positions(model: Any) -> int | None:
    """Tokens that a language model can read; None: it does not say."""
    limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit
