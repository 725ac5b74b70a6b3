"""What a client sent, checked against a model of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from honed.serving.guard import Refused

T = TypeVar("T", bound=BaseModel)


def validated(make: Callable[[], T]) -> T:
    """What `make` makes.

    Raises Refused: 400 for what is no JSON, 422 for a wrong field, which is named; what was in it is not repeated.
    """
    try:
        return make()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(400, "The body is no JSON.") from None
        parts = [str(part)[:50] for part in first["loc"]]
        where = ".".join(parts) or "body"
        raise Refused(422, f"`{where}`: {first['msg']}.", field=parts[0] if parts else None) from None
