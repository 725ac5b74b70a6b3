"""All kinds at once: `find_personal` of a text, `find_personal_batch` of many, `mask` of a text that will be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from honed.data.personal.birth_dates import find_birth_dates
from honed.data.personal.folding import fold
from honed.data.personal.hit import KINDS, Finder, Hit, without_overlaps
from honed.data.personal.names import find_names
from honed.data.personal.national_ids import find_national_ids
from honed.data.personal.online import find_emails, find_ip_addresses, find_web_addresses
from honed.data.personal.payment import find_cards, find_ibans
from honed.data.personal.phones import find_phones
from honed.data.personal.postal import find_addresses
from honed.data.personal.records import find_records

# What a text must have before the slower patterns are tried on it.
_SIX_DIGITS = re.compile(r"(?:\d[^\d\n]{0,3}){5}\d")


def find_personal(text: str) -> list[Hit]:
    """Personal data in a text, by start; no two overlap. Without a language model: see `presidio` for that.

    Promises: time grows with the length of the text alone, whatever it holds; the same text has the same hits.
    """
    folded = fold(text)
    hits = without_overlaps(_candidates(folded.text))
    if folded.places is None:
        return hits
    spans = [folded.span(hit.start, hit.end) for hit in hits]
    return [replace(hit, start=start, end=end) for hit, (start, end) in zip(hits, spans, strict=True)]


def _candidates(text: str) -> Iterator[Hit]:
    yield from find_emails(text)
    if "/" in text:
        yield from find_web_addresses(text)
    if text.count(".") >= 3 or text.count(":") >= 3:
        yield from find_ip_addresses(text)
    if _SIX_DIGITS.search(text):
        yield from find_cards(text)
        yield from find_ibans(text)
        yield from find_national_ids(text)
        yield from find_phones(text)
    if any(map(text.__contains__, "0123456789")):
        yield from find_birth_dates(text)
        yield from find_records(text)
        yield from find_addresses(text)
    yield from find_names(text)


def find_personal_batch(texts: Sequence[str]) -> list[tuple[int, Hit]]:
    """(position of the text, hit) of all texts, by position and then by start."""
    return [(i, hit) for i, text in enumerate(texts) for hit in find_personal(text)]


def mask(text: str, finder: Finder = find_personal_batch) -> str:
    """The text with each hit replaced by what it is, such as `[e-mail address]`, for pages and terminals."""
    shown, position = [], 0
    for _, hit in finder([text]):
        shown += [text[position : hit.start], f"[{KINDS[hit.kind].one}]"]
        position = hit.end
    return "".join((*shown, text[position:]))
