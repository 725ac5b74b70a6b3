"""How a conversation becomes tokens with a loss mask, and a prompt the very same tokens when the model is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from honed.data.chat_tokens import ChatTokenizer, TemplateFacts, Tokens
from honed.data.conversations import Conversation, Message
from honed.errors import DataError

PLAIN_SOURCE = (
    "{% for message in messages %}"
    "{{ ('' if loop.first else '\\n\\n') + '### ' + message['role'] | capitalize + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### Assistant:\\n' }}{% endif %}"
)
"""For models without a template of their own; see docs/conversations.md."""
PROMPT_FRAC = 0.25
"""Of `max_tokens`, what a prompt keeps at least (if it is that long) where a row is cut."""
_BATCH = 512


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template. source : jinja.    name : "model" if it came with the tokenizer, "plain" if it is honed's."""

    source: str
    name: Literal["model", "plain"]

    def to_json(self) -> dict[str, str]:
        """As it is stored in an artifact."""
        return {"source": self.source, "name": self.name}

    @classmethod
    def from_json(cls, stored: Mapping[str, str]) -> ChatTemplate:
        """The template that was stored. Raises DataError if it is none."""
        source, name = stored.get("source"), stored.get("name")
        if not isinstance(source, str) or name not in ("model", "plain"):
            raise DataError(f"This is no stored chat template: {str(dict(stored))[:80]}.")
        return cls(source, "model" if name == "model" else "plain")


def template_of(tokenizer: Any) -> ChatTemplate:
    """The tokenizer's own template (of several, that called "default"), else the plain one."""
    own = getattr(tokenizer, "chat_template", None)
    if isinstance(own, Mapping):
        own = own.get("default")
    return ChatTemplate(own, "model") if own else ChatTemplate(PLAIN_SOURCE, "plain")


@dataclass(frozen=True)
class EncodedConversation:
    """n tokens of one conversation, cut to `max_tokens`.

    ids : (n,).    is_target : (n,) whether token i is predicted and carries loss; never the first.
    n_cut : tokens that were cut.    n_prompt : of the ids, those before the last reply.
    n_reply_cut : of the cut ones, those of the last reply, whose end-of-turn token is then gone.
    """

    ids: npt.NDArray[np.int32]
    is_target: npt.NDArray[np.bool_]
    n_cut: int
    n_prompt: int
    n_reply_cut: int = 0


@dataclass(frozen=True)
class ConversationReader:
    """Encodes conversations. max_tokens : the longest row.

    train_on : what carries loss. "responses": every reply with its end-of-turn token, and nothing else; "all": every
        token but the first (and the beginning-of-text token).

    Promises: the ids of a row that is not cut begin with `encode_prompt(conversation.prompt())`.
    """

    tokenizer: Any
    template: ChatTemplate
    max_tokens: int
    train_on: Literal["responses", "all"] = "responses"

    @cached_property
    def chat(self) -> ChatTokenizer:
        """The tokenizer with its template. Raises BaseModelError as `ChatTokenizer` does."""
        return ChatTokenizer(self.tokenizer, self.template.source)

    @property
    def facts(self) -> TemplateFacts:
        """What the template does with this tokenizer."""
        return self.chat.facts

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens at which generation stops: that which ends a turn, and that which ends a text."""
        eos: int = self.tokenizer.eos_token_id
        return (eos,) if self.facts.end_id in (None, eos) else (int(self.facts.end_id or 0), eos)

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """The tokens of a conversation that ends with a reply, each with whether it carries loss.

        A row that is too long loses the left of its prompt, so that the reply stays whole; of a reply too long for
        that, the end is cut and the prompt keeps `PROMPT_FRAC` of the tokens. The beginning-of-text token stays.

        Raises DataError if the template refuses the conversation or rewrites a prompt once its reply is there.
        """
        return self.encode_all([conversation])[0]

    def encode_all(self, conversations: Sequence[Conversation]) -> list[EncodedConversation]:
        """`encode` of many, faster."""
        encoded = []
        for first in range(0, len(conversations), _BATCH):
            batch = conversations[first : first + _BATCH]
            if not all(row.reply() for row in batch):
                raise DataError("A conversation without a reply at its end cannot be learned from.")
            rows = [self.chat.beginnings(row.messages, is_prompt=False) for row in batch]
            encoded += [self._masked(tokens) for tokens in self.chat.tokens(rows)]
        return encoded

    def encode_prompt(self, messages: Sequence[Message]) -> npt.NDArray[np.int32]:
        """The tokens from which a reply is generated; they end as the template begins a reply.

        Of a prompt longer than `max_tokens`, the right end and the beginning-of-text token are kept.

        Raises DataError as `encode`.
        """
        ids = self.whole_prompt(messages)
        return ids[self._kept(ids, len(ids) - self.max_tokens, 0)]

    def whole_prompt(self, messages: Sequence[Message]) -> npt.NDArray[np.int32]:
        """The same of a prompt of any length, uncut."""
        return np.array(self.chat.tokens([self.chat.beginnings(messages, is_prompt=True)])[0].ids, np.int32)

    def _masked(self, tokens: Tokens) -> EncodedConversation:
        ids, starts = tokens.ids, tokens.bounds[:-1]
        end_id, ends = self.facts.end_id, []
        if not self.facts.ends_every_reply:  # the bounds are start and end of every reply, but for the end of the last
            starts, ends = starts[::2], starts[1::2]
        if end_id is None:
            ids = [*ids, self.tokenizer.eos_token_id]
            end_id = self.tokenizer.eos_token_id
        for start, limit in zip(starts[len(ends) :], [*starts[len(ends) + 1 :], len(ids)], strict=True):
            if end_id not in ids[start:limit]:
                raise DataError(
                    "The chat template ends some replies with a token, and others not.",
                    remedy="Give one reply a row, or use another base.",
                )
            ends.append(ids.index(end_id, start) + 1)
        is_target = np.full(len(ids), self.train_on == "all")
        for start, end in zip(starts, ends, strict=True):
            is_target[start:end] = True
        return self._shortened(np.array(ids, np.int32), is_target, starts[-1], ends[-1])

    def _shortened(
        self, ids: npt.NDArray[np.int32], is_target: npt.NDArray[np.bool_], n_prompt: int, end: int
    ) -> EncodedConversation:
        """First goes what the template writes after the reply's end, then the left of the prompt, then the reply."""
        n_over = max(0, len(ids) - self.max_tokens)
        n_after = min(n_over, len(ids) - end)
        n_left = min(n_over - n_after, n_prompt - min(n_prompt, max(1, int(PROMPT_FRAC * self.max_tokens))))
        kept = self._kept(ids, n_left, n_over - n_left)
        is_target = is_target[kept]
        is_target[0] = False
        return EncodedConversation(ids[kept], is_target, n_over, n_prompt - n_left, n_over - n_left - n_after)

    def _kept(self, ids: npt.NDArray[np.int32], n_left: int, n_right: int) -> npt.NDArray[np.int64]:
        """The positions that stay when so many are cut; of the left, a beginning-of-text token is not."""
        n_bos = int(self.tokenizer.bos_token_id is not None and ids[0] == self.tokenizer.bos_token_id)
        cut_end = n_bos + max(0, n_left)
        return np.concatenate([np.arange(n_bos), np.arange(cut_end, len(ids) - n_right)])
