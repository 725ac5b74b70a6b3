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


class _Stopped(Exception):  # noqa: N818 - no fault: nobody listens any more
    """Leaves the writing between two tokens."""


class Chat:
    """A loaded specialist. It writes one reply at a time; who asks meanwhile waits."""

    def __init__(self, specialist: Specialist) -> None:
        self._specialist = specialist
        self._lock = threading.Lock()

    async def reply(self, prompt: tuple[Message, ...], who: str, how: Writing) -> AsyncIterator[dict[str, Any]]:
        """Pieces of a reply: `{"text": ...}` as they are written, then one `{"done": facts}` or `{"error": {...}}`.

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

    def _write(
        self, prompt: tuple[Message, ...], who: str, how: Writing, tell: Tell, stopped: threading.Event
    ) -> None:
        try:
            with self._lock:
                tell({"done": self._stream(prompt, SPEAKERS[who], how, tell, stopped)})
        except _Stopped:
            pass
        except HonedError as error:
            tell({"error": {"problem": error.problem, "cause": error.cause, "remedy": error.remedy}})
        except Exception as error:  # noqa: BLE001 - whatever a model or its template raises, the page must hear of it
            logging.getLogger("honed.studio").error("A fault in honed", exc_info=error)
            problem = f"A fault in honed: {type(error).__name__}."
            tell({"error": {"problem": problem, "cause": "The terminal shows more.", "remedy": ""}})

    def _stream(
        self, prompt: tuple[Message, ...], slot: int | None, how: Writing, tell: Tell, stopped: threading.Event
    ) -> dict[str, Any]:
        """Write a reply; returns what is to be said of it."""
        from transformers import TextStreamer

        from honed.serving.generation import stream_reply

        class Streamer(TextStreamer):  # type: ignore[misc]
            """Tells finished words, and counts."""

            n_prompt = n_tokens = last = 0

            def put(self, value: Any) -> None:
                if stopped.is_set():
                    raise _Stopped
                if self.next_tokens_are_prompt:
                    self.n_prompt = value.numel()
                else:
                    self.n_tokens, self.last = self.n_tokens + 1, int(value[-1])
                super().put(value)

            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                if text:
                    tell({"text": text})

        stack = self._specialist.stack
        reader, begun_s = stack.task.reader, time.perf_counter()
        streamer = Streamer(stack.task.tokenizer, skip_prompt=True, skip_special_tokens=True)
        if stopped.is_set():
            raise _Stopped
        stream_reply(stack, prompt, slot, how, streamer)
        return {
            "n_tokens": streamer.n_tokens,
            "seconds": round(time.perf_counter() - begun_s, 2),
            "is_cut": streamer.last not in reader.end_ids,
            "is_prompt_cut": streamer.n_prompt >= reader.max_tokens,  # encoding keeps the right end of a longer one
        }
