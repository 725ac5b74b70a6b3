"""What may be asked at `/v1/chat/completions` and `/v1/completions`: OpenAI's fields, as far as they mean something."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from honed.data.conversation_cells import BrokenRow, ordered, turns_of_list
from honed.data.conversations import Message
from honed.serving.generation import Prompt, Writing
from honed.serving.guard import Refused
from honed.serving.validation import validated

DEFAULT_TOKENS = 256
"""New tokens where a request does not say it."""
_MOST_MESSAGES = 200  # the template is run once for each reply among them, over all that stands before
_GREEDY = 1e-5  # below, only the likeliest token is ever drawn
_IGNORED = frozenset(
    ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
)
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "logprobs": (False,), "top_logprobs": (0,), "echo": (False,), "suffix": ("",),
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "functions": ([],),
    "tool_choice": ("none", "auto"), "function_call": ("none", "auto"), "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}  # fmt: skip
"""Fields that change nothing if they have one of these values; any other is refused."""
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class _Request(BaseModel):
    """Fields of both routes. null is the same as nothing."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(description="name of a specialist that writes")
    stream: bool | None = Field(None, description="send the reply piece by piece, as server-sent events")
    stream_options: dict[str, Any] | None = Field(None, description="`include_usage`: say at the end what was used")
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, description="default 1; 0: no draws")
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False, description="default 1")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="the same draws for the same request")
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = Field(None, description="texts that end the reply")
    max_tokens: int | None = Field(None, ge=1, description=f"of the reply; default {DEFAULT_TOKENS}")

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """A request.

        Raises Refused: 400 for what is no JSON, 422 for a field that is wrong or not supported, which is named.
        """
        asked = validated(lambda: cls.model_validate_json(body))
        for name, value in (asked.model_extra or {}).items():
            if name not in _IGNORED and value is not None and value not in _NEUTRAL.get(name, ()):
                raise Refused(422, f"`{name[:50]}` is not supported here.", remedy="Leave it out.", field=name[:50])
        return asked

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the reply."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def length(self) -> tuple[str, int | None]:
        """The name of the field that says how many tokens may be written, and what it says."""
        return "max_tokens", self.max_tokens

    def writing(self, most: int) -> Writing:
        """How the reply is written. most : new tokens that the server allows.

        Raises Refused (422) for more.
        """
        name, n_tokens = self.length
        if n_tokens is not None and n_tokens > most:
            raise Refused(422, f"`{name}`: {n_tokens} is more than this server writes ({most}).", field=name)
        temperature = 1.0 if self.temperature is None else self.temperature
        return Writing(
            max_new_tokens=min(DEFAULT_TOKENS, most) if n_tokens is None else n_tokens,
            temperature=temperature if temperature >= _GREEDY else 0.0,
            seed=secrets.randbits(62) if self.seed is None else self.seed,
            top_p=1.0 if self.top_p is None else self.top_p,
        )


class ChatRequest(_Request):
    """A conversation whose last message is the user's."""

    messages: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=_MOST_MESSAGES,
        description="`system` (at most one, first), then `user` and `assistant` in turn; text alone",
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="a newer name of `max_tokens`")

    @property
    def length(self) -> tuple[str, int | None]:
        """See `_Request`."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return "max_tokens", self.max_tokens

    def prompt(self) -> Prompt:
        """The messages.

        Raises Refused (422) for other roles, another order, or what is no text.
        """
        try:
            turns, _ = ordered(turns_of_list(self.messages), require_reply=False)
            if turns[-1][0] != "user":
                raise BrokenRow("roles_out_of_order", "the last message is not the user's")
        except BrokenRow as broken:
            raise Refused(422, f"`messages`: {broken.reason}.", field="messages") from None
        return tuple(Message(role, content) for role, content in turns)


class CompletionRequest(_Request):
    """A text to go on with, read as it is: no chat template."""

    prompt: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=1)] = Field(
        description="one text"
    )

    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]
