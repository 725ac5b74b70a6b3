"""A language specialist that is talked to, and its base: each reply told as it is written."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from honed.errors import HonedError

if TYPE_CHECKING:
    from honed.data.conversations import Message
    from honed.serving.engine import Specialist
    from honed.serving.generation import Writing

SPEAKERS: dict[str, int | None] = {"specialist": 0, "base": None}
"""Who can be asked, and the slot of each."""
Tell = Callable[[dict[str, Any]], None]
_MOST_BYTES = 4
"""Of a character in UTF-8; a token may be a single one."""


class _Stopped(Exception):  # noqa: N818 - no fault: nobody listens any more
    """Leaves the writing between two tokens."""


class Chat:
    """A loaded specialist. It writes one reply at a time; who asks meanwhile waits."""

    def __init__(self, specialist: Specialist) -> None:
        self._specialist = specialist
        self._lock = threading.Lock()

    async def reply(self, prompt: tuple[Message, ...], who: str, how: Writing) -> AsyncIterator[dict[str, Any]]:
        """Pieces of a reply: `{"text": ...}` as they are written, then one `{"done": {...}}` or `{"error": {...}}`.

        What is done: the whole `reply`, which is the last word; n_tokens; seconds; is_cut, at the most new tokens;
        is_prompt_cut, at the longest conversation that the specialist reads.

        Closing it before its end stops the writing at the next token.
        """
        loop, told, stopped = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]](), threading.Event()

        def tell(piece: dict[str, Any]) -> None:
            with suppress(RuntimeError):  # the studio was ended meanwhile
                loop.call_soon_threadsafe(told.put_nowait, piece)

        threading.Thread(target=self._write, args=(prompt, who, how, tell, stopped), daemon=True).start()
        try:
            while True:
                piece = await told.get()
                yield piece
                if "text" not in piece:
                    return
        finally:
            stopped.set()

    def _write(self, prompt: tuple[Message, ...], who: str, how: Writing, tell: Tell, stopped: threading.Event) -> None:
        try:
            with self._lock:
                tell({"done": self._stream(prompt, SPEAKERS[who], how, tell, stopped)})
        except _Stopped:
            pass
        except HonedError as error:
            tell({"error": {"problem": error.problem, "cause": error.cause, "remedy": error.remedy}})
        except Exception as error:  # whatever a model or its template raises, the page must hear of it
            logging.getLogger("honed.studio").exception("A fault in honed")
            problem = f"A fault in honed: {type(error).__name__}."
            tell({"error": {"problem": problem, "cause": "The terminal shows more.", "remedy": ""}})

    def _stream(
        self, prompt: tuple[Message, ...], slot: int | None, how: Writing, tell: Tell, stopped: threading.Event
    ) -> dict[str, Any]:
        """Write a reply; returns what is to be said of it."""
        from honed.serving.generation import stream_reply

        stack = self._specialist.stack
        reader, begun_s = stack.task.reader, time.perf_counter()
        teller = Teller(reader.tokenizer, lambda text: tell({"text": text}), stopped)
        stream_reply(stack, prompt, slot, how, teller)
        return {
            "reply": teller.decode(teller.ids).strip(),
            "n_tokens": len(teller.ids),
            "seconds": round(time.perf_counter() - begun_s, 2),
            "is_cut": teller.ids[-1] not in reader.end_ids,
            "is_prompt_cut": teller.n_prompt >= reader.max_tokens,  # encoding keeps the right end of a longer one
        }


class Teller:
    """What `generate` gives its tokens to; tells text as soon as its characters are whole, with or without spaces.

    ids : of the reply so far.    n_prompt : tokens of the prompt.
    """

    def __init__(self, tokenizer: Any, tell: Callable[[str], None], stopped: threading.Event) -> None:
        self._tokenizer, self._tell, self._stopped = tokenizer, tell, stopped
        self.ids: list[int] = []
        self.n_prompt = 0
        self._start = self._read = 0

    def decode(self, ids: list[int]) -> str:
        """The text of tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def put(self, value: Any) -> None:
        """The tokens of the prompt, then those of the reply, one after the other."""
        if self._stopped.is_set():
            raise _Stopped
        if not self.n_prompt:
            self.n_prompt = value.numel()
            return
        self.ids.append(int(value[-1]))
        # The difference of two decodings that begin alike: what begins a text may be written otherwise within it.
        before, after = self.decode(self.ids[self._start : self._read]), self.decode(self.ids[self._start :])
        is_part = after.endswith("\ufffd") and len(self.ids) - self._read < _MOST_BYTES
        if len(after) > len(before) and not is_part:
            self._tell(after[len(before) :])
            self._start, self._read = self._read, len(self.ids)

    def end(self) -> None:
        """What is still held back is part of no character; the whole reply has it."""
