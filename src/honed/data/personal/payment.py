"""Card numbers and bank accounts (IBAN), each with its checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.context import AGAINST, verdict_of_context, words
from honed.data.personal.hit import Hit

_CARD = re.compile(r"(?<![\w+])(?<!\d[.,])\d(?:[ -]?\d){11,18}(?![\w-]|[.,]\d)")
_CARD_CUE = words(
    r"cards?|visa|master ?card|amex|american express|maestro|discover|diners|jcb|unionpay|credit|debit|cc|pan|cvv|cvc"
    r"|\w*karte|kreditkartennummer|kartennummer|carte(?: bancaire)?|cb|tarjeta|carta(?: di credito)?|cart[aã]o"
)
# issuer: first digits, lengths, how the digits are printed in groups (ISO/IEC 7812; the issuers' published ranges)
_ISSUERS = (
    ("Visa", re.compile(r"4"), (13, 16, 19), ((4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 3, 3, 3))),
    ("Mastercard", re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,), ((4, 4, 4, 4),)),
    ("American Express", re.compile(r"3[47]"), (15,), ((4, 6, 5),)),
    ("Discover", re.compile(r"6011|64[4-9]|65"), (16, 19), ((4, 4, 4, 4), (4, 4, 4, 4, 3))),
    ("Diners Club", re.compile(r"30[0-5]|309|36|3[89]"), (14,), ((4, 6, 4),)),
    ("JCB", re.compile(r"35(?:2[89]|[3-8])|2131|1800"), (15, 16), ((4, 4, 4, 4),)),
    ("UnionPay", re.compile(r"62|81"), (16, 17, 18, 19), ((4, 4, 4, 4), (4, 4, 4, 4, 3), (6, 13))),
)  # fmt: skip
_MAESTRO = re.compile(r"50|5[6-8]|6")
_IBAN = re.compile(r"(?<![\w])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?(?!\w)")


def find_cards(text: str) -> Iterator[Hit]:
    """Card numbers: an issuer's first digits, length and grouping, the Luhn checksum, and no word for a thing before.

    One random number in ten has a right checksum; so "order 4539..." is none, and only a word such as "card" lets
    another issuer or an odd grouping count.
    """
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if len(set(digits)) < 3 or not luhn.is_valid(digits):
            continue
        context = verdict_of_context(text, match.start(), match.end(), _CARD_CUE, AGAINST)
        issuer = _issuer(digits, match.group(), is_told=context > 0)
        if issuer and context >= 0:
            yield Hit("card", match.start(), match.end(), 1.0 if context > 0 else 0.8, f"{issuer}, checksum right")


def _issuer(digits: str, printed: str, *, is_told: bool) -> str:
    groups = tuple(len(group) for group in re.split(r"[ -]", printed))
    for name, start, lengths, groupings in _ISSUERS:
        if start.match(digits) and len(digits) in lengths:
            return name if is_told or len(groups) == 1 or groups in groupings else ""
    return "other issuer" if is_told and (len(digits) > 12 or _MAESTRO.match(digits)) else ""


def find_ibans(text: str) -> Iterator[Hit]:
    """IBANs with a country's own length and structure and the checksum of ISO 7064 (mod 97)."""
    from stdnum import iban

    for match in _IBAN.finditer(text):
        end = match.end()
        # In capitals the next words may look like further groups: they are taken off until the checksum is right.
        while end - match.start() >= 15:
            printed = text[match.start() : end]
            if _is_mod97(printed) and iban.is_valid(printed, check_country=False):
                yield Hit("iban", match.start(), end, 1.0, "checksum right")
                break
            end = max(match.start() + printed.rfind(" "), match.start() + printed.rfind("-"))


def _is_mod97(printed: str) -> bool:
    """ISO 7064: letters as 10 to 35, the first four characters last; the rest by 97 is 1."""
    account = re.sub(r"[ -]", "", printed)
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1
