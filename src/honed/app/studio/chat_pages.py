"""The chat in the browser: one page, and the replies that its script asks for, line by line as they are written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from honed.app.studio.run_list import RunCard, find_run
from honed.app.studio.state import Studio
from honed.data.conversations import Message
from honed.errors import UsageError
from honed.evidence.report_format import visible

MOST_TURNS = 200
LONGEST_MESSAGE = 20_000
"""Characters."""
MOST_NEW_TOKENS = 4096


class Turn(BaseModel):
    """What was said."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str = Field(max_length=LONGEST_MESSAGE)


class Asked(BaseModel):
    """What the page sends: the conversation so far, as one of the two models knows it, and how to go on with it."""

    model_config = ConfigDict(extra="forbid")

    who: Literal["specialist", "base"]
    turns: Annotated[list[Turn], Field(min_length=1, max_length=MOST_TURNS)]
    system: str = Field("", max_length=LONGEST_MESSAGE)
    temperature: float = Field(0.0, ge=0, le=10)
    max_new_tokens: int = Field(256, ge=1, le=MOST_NEW_TOKENS)
    seed: int = Field(0, ge=0, lt=2**31)

    def prompt(self) -> tuple[Message, ...]:
        """The messages. Raises UsageError if user and assistant do not take turns, the user having the last word."""
        expected = ["user", "assistant"] * (len(self.turns) // 2) + ["user"]
        if [turn.role for turn in self.turns] != expected or not self.turns[-1].content.strip():
            raise UsageError("User and assistant must take turns, and a message of the user must be the last.")
        system = (Message("system", self.system),) if self.system.strip() else ()
        return (*system, *(Message(turn.role, turn.content) for turn in self.turns))


def chat_routes(studio: Studio) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    @routes.post("/runs/{name:path}/chat")
    async def chat(name: str, asked: Asked) -> Response:
        from honed.serving.generation import Writing

        prompt = asked.prompt()
        how = Writing(asked.max_new_tokens, asked.temperature, asked.seed)
        opened = await run_in_threadpool(lambda: studio.chats.open(find_run(studio.root, name)))
        return StreamingResponse(_lines(opened.reply(prompt, asked.who, how)), media_type="application/x-ndjson")

    return routes


def chat_page(studio: Studio, card: RunCard) -> Response:
    """The page of a run's chat."""
    limits = {"longest": LONGEST_MESSAGE, "most_tokens": MOST_NEW_TOKENS}
    defaults = {name: field.default for name, field in Asked.model_fields.items()}
    return studio.page("chat.html.j2", {"card": card, "defaults": defaults, **limits})


async def _lines(pieces: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield json.dumps(_shown(piece)).encode() + b"\n"


def _shown(piece: dict[str, Any]) -> dict[str, Any]:
    """The piece, beside its text what is shown of it."""
    if "text" in piece:
        return {**piece, "shown": visible(piece["text"])}
    if "done" in piece:
        return {"done": {**piece["done"], "shown": visible(piece["done"]["reply"])}}
    return piece
