"""Replies in OpenAI's JSON: whole, and piece by piece."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from honed.serving.asked import Done


class Usage(BaseModel):
    """Tokens read and written; that which ends a reply is not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """A reply."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


class CompletionResponse(BaseModel):
    """How a text goes on."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: Usage


@dataclass(frozen=True)
class Shape:
    """One reply of one specialist. is_chat : else a completion.    wants_usage : of a stream."""

    model: str
    is_chat: bool
    wants_usage: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, done: Done) -> dict[str, Any]:
        """The reply at once."""
        said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.is_chat else {"text": text}
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._named(kind, [self._choice(said, done.reason)]) | {"usage": _usage(done)}

    def first(self) -> list[bytes]:
        """What a stream begins with."""
        return [self._chunk({"role": "assistant", "content": "", "refusal": None})] if self.is_chat else []

    def piece(self, text: str) -> bytes:
        """A piece of a stream."""
        return self._chunk({"content": text} if self.is_chat else text)

    def last(self, done: Done) -> list[bytes]:
        """What a stream ends with."""
        end = [self._chunk({} if self.is_chat else "", done.reason)]
        if self.wants_usage:
            end.append(_event(self._named(self._kind, []) | {"usage": _usage(done)}))
        return [*end, b"data: [DONE]\n\n"]

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, said: Any, reason: str | None = None) -> bytes:
        choice = self._choice({"delta": said} if self.is_chat else {"text": said}, reason)
        return _event(self._named(self._kind, [choice]) | ({"usage": None} if self.wants_usage else {}))

    def _named(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        own = f"{'chatcmpl' if self.is_chat else 'cmpl'}-{self.id}"
        return {"id": own, "object": kind, "created": self.created, "model": self.model, "choices": choices}

    @staticmethod
    def _choice(said: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": 0, **said, "logprobs": None, "finish_reason": reason}


def error_event(body: dict[str, Any]) -> bytes:
    """An error in the midst of a stream."""
    return _event(body)


def _usage(done: Done) -> dict[str, int]:
    total = done.n_prompt + done.n_new
    return {"prompt_tokens": done.n_prompt, "completion_tokens": done.n_new, "total_tokens": total}


def _event(fields: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()
