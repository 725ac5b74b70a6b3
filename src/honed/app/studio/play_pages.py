"""The playground: one input, base against specialist. A task has one if it has a form here and an `ask` below.

A specialist that writes is chatted with instead.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from honed.app.studio.chat_pages import chat_page
from honed.app.studio.run_list import RunCard, find_run, read_card
from honed.app.studio.state import Studio
from honed.errors import HonedError, UsageError
from honed.evidence.attention_plots import jpeg
from honed.evidence.report_format import decimal, percent

if TYPE_CHECKING:
    from honed.pipeline.playground import Answer, Playground

MOST_IMAGE_BYTES = 32 << 20
MOST_SHOWN = 12


@dataclass(frozen=True)
class Form:
    """template : of the form's fields.    ask : what is done with what they held."""

    template: str
    ask: Callable[[Playground, str, bytes], Answer]


FORMS = {
    "text_classification": Form("play_text.html.j2", lambda playground, text, _: playground.ask_text(text)),
    "image_classification": Form("play_image.html.j2", lambda playground, _, data: playground.ask_image(data)),
}
"""By task."""


def play_routes(studio: Studio) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter()

    def card_of(name: str) -> RunCard:
        return read_card(name, find_run(studio.root, name))

    def form_of(card: RunCard) -> Form:
        if card.task not in FORMS:
            raise UsageError(f"There is no playground for {card.task or 'a run that does not say its task'}.")
        return FORMS[card.task]

    def page(card: RunCard, form: Form, more: dict[str, Any], status: int = 200) -> Response:
        shown = {"card": card, "form": form.template, "text": "", "answer": None, "error": None}
        return studio.page("play.html.j2", {**shown, **more}, status)

    @routes.get("/runs/{name:path}/play")
    def show(name: str) -> Response:
        card = card_of(name)
        return chat_page(studio, card) if card.is_language else page(card, form_of(card), {})

    @routes.post("/runs/{name:path}/play")
    async def ask(name: str, request: Request) -> Response:
        card = card_of(name)
        form = form_of(card)
        async with request.form(max_files=1, max_fields=4, max_part_size=1 << 20) as sent:
            text, file = sent.get("text"), sent.get("image")
            data = await file.read(MOST_IMAGE_BYTES + 1) if isinstance(file, UploadFile) else b""
        text = text if isinstance(text, str) else ""

        def answer() -> Response:
            try:
                if len(data) > MOST_IMAGE_BYTES:
                    raise UsageError(f"The image has more than {MOST_IMAGE_BYTES:,} bytes.")
                found = form.ask(studio.playgrounds.open(card.run), text, data)
                return page(card, form, {"text": text, "answer": answer_view(found)})
            except HonedError as error:
                return page(card, form, {"text": text, "error": error}, 400)

        return await run_in_threadpool(answer)

    return routes


def answer_view(answer: Answer) -> dict[str, Any]:
    """What the page says of an answer: the likeliest classes of either model, and where each looked."""
    said = {"base": answer.base, "specialist": answer.specialist}
    both = {name: probs.tolist() for name, probs in said.items() if probs is not None}
    order = sorted(range(len(answer.label_names)), key=lambda j: -max(probs[j] for probs in both.values()))
    pictures = []
    if answer.overlay is not None:
        own = answer.overlay
        shown = [("specialist", own.specialist, f"strongest {own.peaks[1]}")]
        if answer.base is not None:
            shown.insert(0, ("base", own.base, f"strongest {own.peaks[0]}"))
            shown.append(("difference", own.difference, f"largest change {own.peaks[2]}"))
        pictures = [(name, _data(jpeg(picture)), told) for name, picture, told in shown]
    return {
        "said": {name: answer.label_names[probs.index(max(probs))] for name, probs in both.items()},
        "rows": [
            (answer.label_names[j], {name: (percent(probs[j]), probs[j]) for name, probs in both.items()})
            for j in order[:MOST_SHOWN]
        ],
        "n_more": max(0, len(order) - MOST_SHOWN),
        "base_not_run": answer.base_not_run,
        "tokens": _tokens(answer),
        "pictures": pictures,
        "scale": f"Scales end at {decimal(answer.overlay.top)} times an even spread." if answer.overlay else "",
        "map_not_run": answer.map_not_run,
        "notes": answer.notes,
    }  # fmt: skip


def _tokens(answer: Answer) -> dict[str, Any]:
    if answer.tokens is None:
        return {}
    names = ("base", "specialist") if answer.base is not None else ("", "specialist")
    return {name: tokens for name, tokens in zip(names, answer.tokens, strict=True) if name}


def _data(file: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"
