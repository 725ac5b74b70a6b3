"""`POST /v1/predict`: labels and calibrated probabilities for texts and images."""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from honed.serving.answers import told
from honed.serving.guard import Refused
from honed.serving.openapi import error_responses
from honed.serving.validation import validated

if TYPE_CHECKING:
    from fastapi import FastAPI

    from honed.serving.service import Service

Text = Annotated[str, Field(pattern=r"\S")]
Base64 = Annotated[
    str, Field(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", min_length=4)
]


def _one_kind(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["text"]}, {"required": ["image"]}]
    for name in ("text", "image"):
        schema["properties"][name].pop("default")


class PredictRequest(BaseModel):
    """What is asked: each input of each model. One of `text` and `image` is given."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_one_kind)

    model: str | Annotated[list[str], Field(min_length=1)] = Field(description="name of a specialist, or several")
    text: Text | Annotated[list[Text], Field(min_length=1)] = Field(default="", description="a text, or several")
    image: Base64 | Annotated[list[Base64], Field(min_length=1)] = Field(
        default="", description="the content of an image file in base64, or several"
    )
    abstain_below: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="give no label where the highest probability is lower"
    )


class Prediction(BaseModel):
    """What one specialist says of one input."""

    model: str
    label: str | None = Field(description="null: it abstained")
    probability: float = Field(ge=0, le=1, description="of the most probable label, calibrated")
    abstained: bool
    probabilities: dict[str, float]
    n_tokens: int = Field(description="tokens (or patches) that it read")
    grade: str | None = Field(None, description="of grades in their order: the median one")
    positive_probability: float | None = Field(None, description="of the classes that count as ill")
    positive: bool | None = Field(None, description="whether that reaches the operating point")


class PredictResponse(BaseModel):
    """Input after input, and for each of them model after model."""

    predictions: list[Prediction]


def add_predict_routes(app: FastAPI, service: Service) -> None:
    """Add the route."""

    async def predict(request: Request) -> Response:
        caller = service.caller(request)
        asked, values = await _read(request)
        names = [asked.model] if isinstance(asked.model, str) else asked.model
        start = time.perf_counter()
        limits = service.limits
        if len(names) * len(values) > limits.n_inputs:
            raise Refused(413, f"{len(values)} inputs for {len(names)} specialists are more than {limits.n_inputs}.")
        for value in values:
            if isinstance(value, str):
                _check_text(value, limits.n_chars)
        entries = [service.specialist(caller, name) for name in names]
        service.check_rate(request, caller, len(names) * len(values))
        pairs = [(entry, value) for value in values for entry in entries]
        answers = await service.answers(pairs)
        below = service.abstain_below if asked.abstain_below is None else asked.abstain_below
        said = [told(entry.name, answer, below) for (entry, _), answer in zip(pairs, answers, strict=True)]
        service.metrics.answer_s.observe(time.perf_counter() - start)
        return JSONResponse({"predictions": said})

    app.add_api_route(
        "/v1/predict",
        predict,
        methods=["POST"],
        summary="Ask specialists about texts or images",
        description="JSON, or a form with a file `image` (repeat `model` and `image` for more).",
        responses={
            200: {"model": PredictResponse},
            **error_responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
        openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    )


_FORM = {
    "type": "object",
    "required": ["model", "image"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "image": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
        "abstain_below": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
_CONTENT = {
    "application/json": {"schema": PredictRequest.model_json_schema()},
    "multipart/form-data": {"schema": _FORM},
}


async def _read(request: Request) -> tuple[PredictRequest, list[Any]]:
    """What is asked, and the inputs: texts, or bytes of images.

    Raises Refused: 400 for what cannot be read, 415 for another kind of content, 422 for wrong fields.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _from_json(await request.body())
    if kind == "multipart/form-data":
        return await _from_form(request)
    raise Refused(415, "The content is neither application/json nor multipart/form-data.")


def _from_json(body: bytes) -> tuple[PredictRequest, list[Any]]:
    asked = validated(lambda: PredictRequest.model_validate_json(body))
    given = asked.model_fields_set & {"text", "image"}
    if len(given) != 1:
        raise Refused(422, "One of `text` and `image` is needed.")
    if "text" in given:
        return asked, [asked.text] if isinstance(asked.text, str) else list(asked.text)
    encoded = [asked.image] if isinstance(asked.image, str) else asked.image
    try:
        return asked, [base64.b64decode(one, validate=True) for one in encoded]
    except (binascii.Error, ValueError):
        raise Refused(422, "`image` is not base64.") from None


async def _from_form(request: Request) -> tuple[PredictRequest, list[Any]]:
    try:
        async with request.form(max_files=256, max_fields=512, max_part_size=4096) as form:
            odd = set(form) - {"model", "image", "abstain_below"}
            images = [file for file in form.getlist("image") if not isinstance(file, str)]
            if odd or len(images) != len(form.getlist("image")) or not images:
                raise Refused(422, "A form has `model`, a file `image`, and perhaps `abstain_below`.")
            fields: dict[str, Any] = {"model": form.getlist("model")}
            if "abstain_below" in form:
                fields["abstain_below"] = form["abstain_below"]
            asked = validated(lambda: PredictRequest.model_validate(fields))
            return asked, [await file.read() for file in images]
    except HTTPException:
        raise Refused(400, "The form cannot be read.") from None
    except (UnicodeDecodeError, ValueError, KeyError, AssertionError):
        raise Refused(400, "The form cannot be read.") from None


def _check_text(text: str, n_chars: int) -> None:
    if len(text) > n_chars:
        raise Refused(413, f"A text has more than {n_chars:,} characters.")
