"""Phone numbers: written internationally, written the way a country writes them, or announced by a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.context import AGAINST, verdict_of_context, words
from honed.data.personal.hit import Hit

_CANDIDATE = re.compile(
    r"(?<![\w@#$€£.,/+-])(?:\+|00(?=[ ]?[1-9]))?(?:\([+0-9][0-9]{0,4}\)"
    r"|\d)(?:[ ]?[-./(]?[ ]?\)?[ ]?\d){5,16}(?P<extension>[ ]?(?:x|ext\.?)[ ]?\d{1,6})?"
    r"(?![\w@]|[-./,]\d)"
)
_CUE = words(
    r"tel(?:ephone)?(?: (?:number|no\.?))?|phone(?:[ -]?(?:number|no\.?))?|ph|cell(?:phone|ular)?"
    r"|mobiles?(?: (?:number|no\.?))?|mob|(?:home|work|office|daytime|evening):? ?\Z"
    r"|call(?:ed|ing)?(?: (?:me|us|him|her|them|back))?|dial|fax|whats ?app|sms|text(?:ed)? (?:me|us)|ring|landline"
    r"|contact number|hotline"
    r"|reach(?:ed)? (?:me|us|him|her|them)?|callback|extension|emergency contact"
    r"|telefon(?:nummer)?|tel\.?-?nr\.?|handy(?:nummer)?|mobil(?:nummer|telefon)?|rufnummer|anruf\w*|durchwahl"
    r"|erreichbar|r[üu]ckruf"
    r"|t[ée]l[ée]phone|t[ée]l|portable|appel\w*|joindre|num[ée]ro de t[ée]l[ée]phone"
    r"|tel[ée]fono(?: m[óo]vil)?|m[óo]vil|celular|ll[aá]m\w*|cellulare|chiam\w*|telefoon(?:nummer)?|bel(?:len)?"
    r"|telefone|telem[óo]vel|ligar"
)
# Spellings that hardly anything but a phone number has: (region, how it is written there).
_DISTINCT = (
    ("US", re.compile(r"(?:(?:1|001)[ .-])?(?:\([2-9]\d{2}\)[ ]?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4}")),
    (
        "GB",
        re.compile(
            r"\(?0(?:20|23|24|28|29|1\d1|11\d)\)? \d{3,4} \d{4}|\(?0[17]\d{3}\)? \d{3} ?\d{3}|0800 \d{3} \d{3,4}"
        ),
    ),
    ("FR", re.compile(r"0[1-79]([ .])\d{2}\1\d{2}\1\d{2}\1\d{2}")),
    ("DE", re.compile(r"\(0\d{2,4}\)[ ]?\d{4,8}|0\d{2,4}[/][ ]?\d{4,8}")),
)
# Where a word announces a number without a country code, it is enough that one of these countries has such numbers.
_REGIONS = (
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "IN",
    "BR",
    "AU",
    "PL",
    "PT",
    "CH",
    "AT",
    "BE",
    "IE",
    "SE",
    "ZA",
    "MX",
)
_MOST_DIGITS = 15


def find_phones(text: str) -> Iterator[Hit]:
    """Phone numbers that Google's libphonenumber knows as possible, in one of three ways (see the module).

    Figures with dashes are none: the area and exchange must exist; a word such as "order" before a number without a
    country code rules it out.
    """
    for match in _CANDIDATE.finditer(text):
        printed = match.group().removesuffix(match["extension"] or "")
        n_digits = sum(map(str.isdigit, printed))
        if not 7 <= n_digits <= _MOST_DIGITS:
            continue
        context = verdict_of_context(text, match.start(), match.end(), _CUE, AGAINST)
        if printed.startswith(("+", "00", "(+")):
            international = "+" + re.sub(r"\(0\)|\D", "", printed).removeprefix("00")
            if _is_number(international, None, strictly=context <= 0 and not printed.startswith(("+", "(+"))):
                yield Hit("phone", match.start(), match.end(), 1.0, "with country code")
        elif context > 0:
            if any(_is_number(printed, region, strictly=False) for region in _REGIONS) and not _is_date(printed):
                yield Hit("phone", match.start(), match.end(), 0.9, "announced")
        elif context == 0 and any(
            shape.fullmatch(printed) and _is_number(printed, region, strictly=True) for region, shape in _DISTINCT
        ):
            yield Hit("phone", match.start(), match.end(), 0.7, "as phone numbers are written")


def _is_number(printed: str, region: str | None, *, strictly: bool) -> bool:
    """Whether it can be a number of the region; `strictly`: whether its ranges are in use."""
    import phonenumbers

    try:
        number = phonenumbers.parse(printed, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) if strictly else phonenumbers.is_possible_number(number)


def _is_date(printed: str) -> bool:
    return re.fullmatch(r"\d{1,2}([./-])\d{1,2}\1\d{4}|\d{4}([./-])\d{1,2}\2\d{1,2}", printed) is not None
