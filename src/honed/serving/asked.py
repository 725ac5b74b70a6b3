"""One reply that somebody asked for, and what is told of it while it is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from honed.data.chat_template import ConversationReader
from honed.errors import DataError, HonedError
from honed.serving.family import Key
from honed.serving.generation import Ids, Prompt, Writing
from honed.serving.lookup import Found
from honed.serving.reply_text import ReplyText
from honed.serving.store import Entry

Reason = Literal["stop", "length"]


class PromptTooLong(DataError):  # noqa: N818 - an outcome, not a fault
    """A prompt and its reply are more than may be read."""


@dataclass(frozen=True)
class Piece:
    """Text that follows what was told before."""

    text: str


@dataclass(frozen=True)
class Done:
    """The reply is whole. n_prompt, n_new : tokens read and written, without that which ended it.

    reason : "length" if it had to end, "stop" if it came to an end.
    """

    reason: Reason
    n_prompt: int
    n_new: int


Event = Piece | Done | HonedError


@dataclass(eq=False)
class Asked:
    """prompt : messages, or a text to go on with.    stops : texts that end the reply and are not told.

    tell : hears of it, from another thread.    is_left : nobody listens any more; may be set from any thread.
    All below is the writer's.
    """

    entry: Entry
    prompt: Prompt | str
    how: Writing
    stops: tuple[str, ...]
    tell: Callable[[Event], object]
    is_left: bool = False
    arrived: float = field(default_factory=time.monotonic)
    found: Found | None = None
    ids: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    is_settled: bool = False
    n_new: int = 0
    _text: ReplyText | None = None
    _n_made: int = 0
    _n_told: int = 0

    @property
    def family(self) -> Key | None:
        """Whom it can be written beside."""
        return self.found.facts.family if self.found else None

    def read(self, reader: ConversationReader) -> None:
        """Turn the prompt into tokens, all of them.

        Raises DataError if the template refuses it, or there is nothing in it.
        """
        if isinstance(self.prompt, str):
            self.ids = np.array(reader.tokenizer(self.prompt)["input_ids"], np.int32)
        else:
            self.ids = reader.whole_prompt(self.prompt)
        if not len(self.ids):
            raise DataError("The prompt is empty.")
        self.restart(reader)

    def restart(self, reader: Any) -> None:
        """Begin once more; what was told is not told again."""
        self._text, self.n_new, self._n_made = ReplyText(reader.tokenizer, self.stops), 0, 0

    def take(self, token: int, *, is_end: bool) -> Done | None:
        """One more token; what it adds is told. Done if it was the last one."""
        assert self._text is not None
        reason: Reason | None = None
        if is_end:
            reason = "stop"
        else:
            self.n_new += 1
            self._tell_text(self._text.add(token))
            if self._text.is_stopped:
                reason = "stop"
            elif self.n_new == self.how.max_new_tokens:
                reason = "length"
        if reason is None:
            return None
        self._tell_text(self._text.rest())
        return Done("stop" if self._text.is_stopped else reason, len(self.ids), self.n_new)

    def say(self, event: Event) -> None:
        """Tell who asked; whoever cannot be told has left."""
        try:
            self.tell(event)
        except RuntimeError:  # the server's loop is closed
            self.is_left = True

    def _tell_text(self, piece: str) -> None:
        self._n_made += len(piece)
        n_fresh = self._n_made - self._n_told
        if n_fresh > 0:
            self._n_told = self._n_made
            self.say(Piece(piece[-n_fresh:]))
