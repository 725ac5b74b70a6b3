"""A tokenizer with a chat template: from messages to text to ids, the same in training as in use.

A template is a jinja program that comes with a tokenizer; transformers runs it in its sandbox. Whatever a row says, its
text stays text: a control token that somebody typed into a message ("<end_of_turn>") is never read as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from honed.data.control_strings import BREAK, ControlStrings
from honed.data.conversations import Message
from honed.errors import BaseModelError, DataError

_PROMPT, _REPLY, _SYSTEM = "honed asks", "honed replies", "honed instructs"


class Tokens(NamedTuple):
    """ids : of a whole text.    bounds : how many of them each of its beginnings has."""

    ids: list[int]
    bounds: list[int]


class Remark(NamedTuple):
    """What the user should know about a template. check : the finding's name.    is_fault : else it is only told."""

    check: str
    is_fault: bool
    text: str


@dataclass(frozen=True)
class TemplateFacts:
    """What a template does with a tokenizer, tried on a small conversation.

    has_system : whether a system message can be said.    end_id : the token that ends the last reply; None if there is
    none.    ends_every_reply : whether it ends the earlier ones too.
    n_bos_written : beginning-of-text tokens that the template writes.    remarks : for the user.
    """

    has_system: bool
    end_id: int | None
    ends_every_reply: bool
    n_bos_written: int
    remarks: tuple[Remark, ...]


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer with a chat template. source : jinja.

    Raises BaseModelError if it is no fast one, or has no end-of-text token.
    """

    tokenizer: Any
    source: str

    def __post_init__(self) -> None:
        if getattr(self.tokenizer, "backend_tokenizer", None) is None:
            raise BaseModelError(
                f"The tokenizer {type(self.tokenizer).__name__} is not a fast one.",
                remedy="Add the model's tokenizer.json to its folder.",
            )
        if self.tokenizer.eos_token_id is None:
            raise BaseModelError(
                "The tokenizer has no end-of-text token, so that no reply would ever end.",
                remedy='Name one in its tokenizer_config.json, e.g. "eos_token": "</s>".',
            )

    def beginnings(self, messages: Sequence[Message], *, is_prompt: bool) -> list[str]:
        """The texts before each reply, each the beginning of the next, and last the whole.

        Where no token ends every reply, also the texts up to the end of each earlier reply.
        is_prompt : whether the whole ends where a reply is due.

        Raises DataError if the template refuses the messages, or writes what came before differently later on.
        """
        said = self._said(messages)
        texts = []
        for k, message in enumerate(said):
            if message["role"] == "assistant":
                texts.append(self.render(said[:k], is_prompt=True))
                if not self.facts.ends_every_reply and k < len(said) - 1:
                    texts.append(self.render(said[: k + 1], is_prompt=False))
        texts.append(self.render(said, is_prompt=is_prompt))
        for before, after in pairwise(texts):
            if not after.startswith(before):
                raise DataError(
                    "The chat template writes a prompt differently once its reply is there.",
                    cause=f"The prompt ends with {before[-60:]!r}, where the whole conversation has"
                    f" {after[max(0, len(before) - 60) : len(before) + 20]!r}: a model trained on that would meet"
                    " another text in use.",
                    remedy="Give one reply a row, or use a base whose template keeps earlier turns as they were.",
                )
        return texts

    def tokens(self, rows: Sequence[Sequence[str]]) -> list[Tokens]:
        """The tokens of the last text of each row, those of all beginnings being beginnings of them.

        Where the tokenizer would draw the end of a prompt and the start of a reply into one token, the text is cut
        there: in use, the prompt comes alone.
        """
        whole = self._tokenize([text for texts in rows for text in texts])
        found = []
        first = 0
        for texts in rows:
            found.append(self._nested(texts, whole[first : first + len(texts)]))
            first += len(texts)
        return [self._with_one_bos(tokens) for tokens in found]

    def _nested(self, texts: Sequence[str], whole: Sequence[list[int]]) -> Tokens:
        cuts: list[int] = []
        ids, bounds = whole[0], [len(whole[0])]
        for before, text, own in zip(texts, texts[1:], whole[1:], strict=False):
            longer = self._tokenize([_cut(text, cuts)])[0] if cuts else own
            if longer[: len(ids)] != ids:
                cuts.append(len(before))
                longer = self._tokenize([_cut(text, cuts)])[0]
            ids = longer
            bounds.append(len(ids))
        return Tokens(ids, bounds)

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids without any that the tokenizer adds; a text is cut at every `BREAK`."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()  # both may be switched on by the base's own tokenizer.json
        backend.no_padding()
        pieces = [text.split(BREAK) for text in texts]
        heads = backend.encode_batch([own[0] for own in pieces], add_special_tokens=False)
        return [
            [*head.ids, *(i for piece in own[1:] if piece for i in self._continued(piece))]
            for head, own in zip(heads, pieces, strict=True)
        ]

    def _continued(self, piece: str) -> list[int]:
        """The ids of a text that goes on: some tokenizers begin a text with a blank, but none after a line break."""
        backend = self.tokenizer.backend_tokenizer
        start: list[int] = backend.encode("\n", add_special_tokens=False).ids
        after: list[int] = backend.encode("\n" + piece, add_special_tokens=False).ids
        if after[: len(start)] == start:
            return after[len(start) :]
        alone: list[int] = backend.encode(piece, add_special_tokens=False).ids
        return alone

    def _with_one_bos(self, tokens: Tokens) -> Tokens:
        """The same with exactly one beginning-of-text token, where the model knows one."""
        bos = self.tokenizer.bos_token_id
        n_written = self.facts.n_bos_written
        n_wanted = 1 if n_written or self.adds_bos else 0
        if n_written == n_wanted:
            return tokens
        return Tokens(
            [bos] * n_wanted + tokens.ids[n_written:], [bound + n_wanted - n_written for bound in tokens.bounds]
        )

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer itself begins a text with a beginning-of-text token."""
        ids = self.tokenizer("a")["input_ids"]
        return self.tokenizer.bos_token_id is not None and ids[:1] == [self.tokenizer.bos_token_id]

    @cached_property
    def control_strings(self) -> ControlStrings:
        """What is never read as a token where a user typed it: special tokens, and others that the template writes."""
        tokens = [token for token in self.tokenizer.added_tokens_decoder.values() if not token.content.isspace()]
        return ControlStrings(token.content for token in tokens if token.special or token.content in self.source)

    @cached_property
    def _special_strings(self) -> ControlStrings:
        tokens = self.tokenizer.added_tokens_decoder.values()
        return ControlStrings(token.content for token in tokens if token.special)

    @cached_property
    def facts(self) -> TemplateFacts:
        """What the template does. Raises DataError if it cannot be run, or leaves the reply out."""
        user, reply = {"role": "user", "content": _PROMPT}, {"role": "assistant", "content": _REPLY}
        prompt, whole = self.render([user], is_prompt=True), self.render([user, reply], is_prompt=False)
        _, found, after = whole.rpartition(_REPLY)
        if not found:
            raise DataError("The chat template leaves the reply out.", remedy="Use another base.")
        bos, leading = self.tokenizer.bos_token_id, self._tokenize([prompt])[0]
        n_bos = next((n for n, token in enumerate(leading) if token != bos), len(leading)) if bos is not None else 0
        strings = self.control_strings
        control = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.content in strings}
        end_id = next((i for i in self._tokenize([after])[0] if i in control), None)
        try:
            two = self.render([user, reply, user, reply], is_prompt=False)
            between = two.partition(_REPLY)[2].partition(_PROMPT)[0]
            ends_every_reply = end_id is not None and end_id in self._tokenize([between])[0]
        except DataError:  # one turn alone: told when a row has more
            ends_every_reply = end_id is not None
        try:
            has_system = _SYSTEM in self.render([{"role": "system", "content": _SYSTEM}, user], is_prompt=True)
        except DataError:
            has_system = False
        facts = TemplateFacts(has_system, end_id, ends_every_reply, n_bos, ())
        remarks = tuple(self._remarks(facts, is_prefix=whole.startswith(prompt)))
        return replace(facts, remarks=remarks)

    def _remarks(self, facts: TemplateFacts, *, is_prefix: bool) -> Iterator[Remark]:
        bos, eos = self.tokenizer.bos_token, self.tokenizer.eos_token
        if not is_prefix:
            text = "The template writes a prompt differently once its reply is there: no row can be learned from."
            yield Remark("template_prefix", True, text)
        if facts.end_id is None:
            text = f"The template ends no reply with a token; {eos!r} is put there, else the specialist would not stop."
            yield Remark("missing_eos", True, text)
        elif not facts.ends_every_reply:
            text = "The template ends the last reply with a token, but not the earlier ones of a conversation."
            yield Remark("missing_eos", False, text)
        if facts.n_bos_written > 1:
            text = f"The template writes {bos!r} {facts.n_bos_written} times; one is kept."
            yield Remark("doubled_bos", True, text)
        elif facts.n_bos_written and self.adds_bos:
            text = f"The template writes {bos!r} and the tokenizer adds it too; here it stands once. A program that"
            yield Remark("doubled_bos", False, text + " tokenizes the written text in the usual way doubles it.")
        if not facts.has_system:
            text = "The template has no system role: a system prompt is written above the first user message."
            yield Remark("no_system_role", False, text)
        if "strftime_now" in self.source:
            text = "The template writes the date of the day: a prompt has other tokens tomorrow."
            yield Remark("template_date", False, text)

    def _said(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The messages as the template reads them: control tokens cut apart, a system message moved if it must be."""
        said = [{"role": message.role, "content": self._as_text(message)} for message in messages]
        if said and said[0]["role"] == "system" and not self.facts.has_system:
            system, *said = said
            if said:
                said[0] = {"role": said[0]["role"], "content": f"{system['content']}\n\n{said[0]['content']}"}
        return said

    def _as_text(self, message: Message) -> str:
        """The content, cut within every control token. Of a reply, those that are not special stay: a model that
        thinks aloud writes `<think>` itself.
        """
        strings = self._special_strings if message.role == "assistant" else self.control_strings
        return strings.cut(message.content)

    def render(self, messages: Sequence[Mapping[str, str]], *, is_prompt: bool) -> str:
        """The text that the template makes. Raises DataError if it refuses."""
        try:
            text: str = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=self.source,
                tokenize=False,
                add_generation_prompt=is_prompt,
            )
        except Exception as error:  # a program of the base's makers: it may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                "The chat template cannot write this conversation.",
                cause=f"It says: {reason[:200]}",
                remedy="Mend the row, or use a base whose template takes it.",
            ) from error
        return text


def _cut(text: str, cuts: Sequence[int]) -> str:
    ends = [*cuts, len(text)]
    return BREAK.join(text[begin:end] for begin, end in zip([0, *cuts], ends, strict=True))
