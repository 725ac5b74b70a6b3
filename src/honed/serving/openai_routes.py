"""`POST /v1/chat/completions` and `/v1/completions`: what clients of OpenAI's interface ask of a specialist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from honed.errors import HonedError
from honed.serving.asked import Asked, Done, Event, Piece
from honed.serving.generation import Prompt
from honed.serving.guard import Refused, openai_error
from honed.serving.openai_fields import ChatRequest, CompletionRequest
from honed.serving.openai_shapes import ChatResponse, CompletionResponse, Shape, error_event
from honed.serving.openapi import OpenAiErrorResponse, error_responses
from honed.serving.service import refusal_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from honed.serving.service import Service
    from honed.serving.writer import Writer

_LEFT = 499  # as nginx logs it; nobody reads the answer


def add_openai_routes(app: FastAPI, service: Service) -> None:
    """Add the routes, if the server has what writes."""
    writer = service.writer
    if writer is None:
        return

    async def chat(request: Request) -> Response:
        caller = service.caller(request)
        asked = ChatRequest.from_json(await _body(request))
        return await answer(request, caller, asked, asked.prompt())

    async def complete(request: Request) -> Response:
        caller = service.caller(request)
        asked = CompletionRequest.from_json(await _body(request))
        return await answer(request, caller, asked, asked.text())

    async def answer(
        request: Request, caller: Any, asked: ChatRequest | CompletionRequest, prompt: Prompt | str
    ) -> Response:
        entry = service.specialist(caller, asked.model)
        how = asked.writing(writer.limits.new_tokens)
        n_chars = len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)
        if n_chars > service.limits.n_chars:
            raise Refused(413, f"The prompt has more than {service.limits.n_chars:,} characters.")
        service.check_rate(request, caller, 1)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        own = Asked(entry, prompt, how, asked.stops, lambda event: loop.call_soon_threadsafe(queue.put_nowait, event))
        reply = _Reply(writer, own, queue)
        shape = Shape(asked.model, isinstance(asked, ChatRequest), asked.wants_usage)
        return await (_stream if asked.stream else _whole)(request, reply, shape)

    for path, function, asks, response, summary in (
        ("/v1/chat/completions", chat, ChatRequest, ChatResponse, "Let a specialist reply to a conversation"),
        ("/v1/completions", complete, CompletionRequest, CompletionResponse, "Let a specialist go on with a text"),
    ):
        app.add_api_route(
            path, function, methods=["POST"], summary=summary, response_model=None,
            description="As OpenAI's interface has it. With `stream`, the answer is `text/event-stream`.",
            responses={
                200: {"model": response, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                **error_responses(
                    400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504, shape=OpenAiErrorResponse
                ),
            },
            openapi_extra={"requestBody": {"required": True, "content": _json_body(asks)}},
        )  # fmt: skip


def _json_body(asks: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": asks.model_json_schema()}}


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "The content is not application/json.")
    return await request.body()


class _Reply:
    """What the writer says of one request, in the server's own loop. queue : None in it says that the client left."""

    def __init__(self, writer: Writer, asked: Asked, queue: asyncio.Queue[Event | None]) -> None:
        self._writer, self._asked, self._queue = writer, asked, queue
        self._deadline = 0.0

    def start(self) -> None:
        """Raises Refused (429) if the queue is full."""
        self._deadline = asyncio.get_running_loop().time() + self._writer.limits.reply_s
        try:
            self._writer.submit(self._asked)
        except HonedError as error:
            raise refusal_of(error) from None

    def leave(self) -> None:
        """Nobody listens any more: the row stops at its next token."""
        self._asked.is_left = True

    async def watch_client(self, request: Request) -> None:
        """Put None into the queue when the client is gone; to be cancelled."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._queue.put_nowait(None)

    async def next(self) -> Piece | Done | None:
        """What is said next; None if the client left.

        Raises Refused for an error of the writer, and (504) if it takes too long.
        """
        try:
            left = self._deadline - asyncio.get_running_loop().time()
            event = await asyncio.wait_for(self._queue.get(), left)
        except TimeoutError:
            limit = self._writer.limits.reply_s
            raise Refused(504, f"The reply was not whole after {limit:g} s.", retry_after_s=1) from None
        if isinstance(event, HonedError):
            raise refusal_of(event)
        return event


async def _whole(request: Request, reply: _Reply, shape: Shape) -> Response:
    reply.start()
    watching = asyncio.create_task(reply.watch_client(request))
    try:
        parts: list[str] = []
        while isinstance(event := await reply.next(), Piece):
            parts.append(event.text)
        return Response(status_code=_LEFT) if event is None else JSONResponse(shape.whole("".join(parts), event))
    finally:
        watching.cancel()
        reply.leave()


async def _stream(request: Request, reply: _Reply, shape: Shape) -> Response:
    """The status is said when the first piece is there, so that a refusal has its own."""
    reply.start()
    watching = asyncio.create_task(reply.watch_client(request))
    try:
        first = await reply.next()
    except BaseException:
        reply.leave()
        raise
    finally:
        watching.cancel()  # from here on the response itself watches
    if first is None:
        reply.leave()
        return Response(status_code=_LEFT)
    return _Events(reply, first, shape)


class _Events(StreamingResponse):
    """Server-sent events; however they end, the writer knows it."""

    def __init__(self, reply: _Reply, first: Piece | Done, shape: Shape) -> None:
        self._reply = reply
        super().__init__(_events(reply, first, shape), media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reply.leave()


async def _events(reply: _Reply, first: Piece | Done, shape: Shape) -> AsyncIterator[bytes]:
    for chunk in shape.first():
        yield chunk
    event: Piece | Done | None = first
    try:
        while isinstance(event, Piece):
            yield shape.piece(event.text)
            event = await reply.next()
    except Refused as refusal:
        yield error_event(openai_error(refusal))
        return
    if event is not None:
        for chunk in shape.last(event):
            yield chunk
