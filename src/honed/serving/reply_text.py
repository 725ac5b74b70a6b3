"""The text of a reply while its tokens come: no half characters, and nothing of what stops it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer says of bytes that are no character yet."""


class ReplyText:
    """Pieces that may be told, one after another; together they are the reply up to the first of `stops`.

    tokenizer : decodes.    stops : texts that end the reply and are not told.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, tuple(stops)
        self._ids: list[int] = []
        self._start = self._read = 0
        self._held = ""
        self.is_stopped = False

    def add(self, token: int) -> str:
        """What can be told after one more token."""
        self._ids.append(token)
        before, now = self._decoded()
        if now.endswith(_HALF) or len(now) == len(before):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return self._checked(now[len(before) :])

    def rest(self) -> str:
        """What is left to tell when no token follows; half a character is not."""
        before, now = self._decoded()
        last = self._checked(now[len(before) :].rstrip(_HALF))
        if self.is_stopped:
            return last
        held, self._held = self._held, ""
        return last + held

    def _decoded(self) -> tuple[str, str]:
        """The text of the tokens last told, alone and with those after them: a token may be written differently at the
        beginning of a text.
        """
        before = self._tokenizer.decode(self._ids[self._start : self._read], skip_special_tokens=True)
        now = self._tokenizer.decode(self._ids[self._start :], skip_special_tokens=True)
        return before, now

    def _checked(self, piece: str) -> str:
        if self.is_stopped:
            return ""
        held = self._held + piece
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.is_stopped = True
            return held[: min(found)]
        # The end may be the beginning of a stop.
        n_kept = max((n for stop in self._stops for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        self._held = held[len(held) - n_kept :]
        return held[: len(held) - n_kept]
