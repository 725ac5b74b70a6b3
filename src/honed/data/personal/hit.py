"""What is found: a kind of personal data at a place in a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of personal data. `one`, `many`: for sentences. `mark`: in placeholders such as <EMAIL_1>."""

    one: str
    many: str
    mark: str


KINDS = {
    "name": Kind("name of a person", "names of persons", "NAME"),
    "email": Kind("e-mail address", "e-mail addresses", "EMAIL"),
    "phone": Kind("phone number", "phone numbers", "PHONE"),
    "card": Kind("card number", "card numbers", "CARD"),
    "iban": Kind("bank account (IBAN)", "bank accounts (IBAN)", "IBAN"),
    "national_id": Kind("national id", "national ids", "ID"),
    "birth_date": Kind("date of birth", "dates of birth", "BIRTH_DATE"),
    "address": Kind("postal address", "postal addresses", "ADDRESS"),
    "record": Kind("record or account number", "record or account numbers", "RECORD"),
    "ip": Kind("IP address", "IP addresses", "IP"),
    "profile": Kind("profile or login in a web address", "profiles or logins in web addresses", "PROFILE"),
}


@dataclass(frozen=True, slots=True)
class Hit:
    """text[start:end] is personal data of `kind` (a key of KINDS).

    score : in (0, 1], the belief that it is.
    detail : what spoke for it, in words and without the text itself, such as "Visa, checksum right"; may be "".
    """

    kind: str
    start: int
    end: int
    score: float
    detail: str = ""


Finder = Callable[[Sequence[str]], list[tuple[int, Hit]]]
"""Texts -> (position of the text, hit), by position and then by start; hits of one text do not overlap."""


def without_overlaps(hits: Iterable[Hit]) -> list[Hit]:
    """The hits by start; of hits that overlap, the one with the higher score stays, then the longer one."""
    kept: list[Hit] = []  # by start, and apart from each other: only the neighbours can overlap
    for hit in sorted(hits, key=lambda h: (-h.score, h.start - h.end, h.start)):
        i = bisect_left(kept, hit.start, key=lambda h: h.start)
        if (i == 0 or kept[i - 1].end <= hit.start) and (i == len(kept) or hit.end <= kept[i].start):
            kept.insert(i, hit)
    return kept
