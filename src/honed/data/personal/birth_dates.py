"""Dates of birth: a date that can be one, with a word beside it that says so, in nine languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.context import words
from honed.data.personal.hit import Hit

# The first letters of the months in nine languages
_MONTH = (
    r"(?:jan|gen|ene|feb|f[eé]v|mar|m[aä]r|mrt|maa|maj|apr|avr|abr|may|mai|mag|mei|jun|jui|giu|jul|juil|lug|aug|ao[uû]|ago"
    r"|sep|set|oct|okt|ott|out|nov|dec|dez|d[eé]c|dic)[a-zéûôçä]{0,7}\.?"
)
_DATE = (
    r"\d{1,2}[ ]?[./-][ ]?\d{1,2}[ ]?[./-][ ]?(?:\d{4}|\d{2})|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|º|°)?\.?[ -]?(?:of |de |di )?{_MONTH},?[ -]?(?:de |del |di )?\d{{4}}"
    rf"|{_MONTH}[ ]?\d{{1,2}}(?:st|nd|rd|th)?,?[ ]\d{{4}}"
)
_WORD = (
    r"date of birth|birth ?dates?|d\.?\s?o\.?\s?b\.?|birthday|born|b\.(?=\s?\d)"
    r"|geboren|geb\.?(?:\s?dat\.?|-datum)?|geburts(?:datum|tag)|\*(?=\s?\d)"
    r"|n[ée]e?(?= le)|date de naissance|ddn|nacid[oa]|naci[óo]|fecha de nacimiento|f(?:echa)?\.? ?nac\.?"
    r"|nat[oa](?= il| a )|nasce|data di nascita"
    r"|nascid[oa]|data de nascimento|geboortedatum|urodzon[ya]|data urodzenia|ur\.|född|født|fødselsdato|födelsedatum"
)
_BEFORE = re.compile(
    rf"(?<![\w])(?P<word>{_WORD})(?P<gap>(?:[ ]?\([^)\n\d]{{0,16}}\))?[^\n\d.;!?]{{0,28}}?)(?P<date>{_DATE})(?![\w]"
    rf"|[./-]\d)",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"(?<![\w./-])(?P<date>{_DATE})(?P<gap>[ ]?[(\[,-]?[ ]?)(?P<word>date of birth|d\.?o\.?b\.?|birth ?date"
    rf"|geburtsdatum|geb\.|fecha de nacimiento"
    r"|date de naissance|data di nascita)(?!\w)",
    re.IGNORECASE,
)
# Another event stands between the word and the date, or what was born is no person.
_OTHER_EVENT = words(
    r"party|parties|present|gifts?|cake|cards?|celebrat\w+|admi\w+|joined|died|death|married|wedding|since|until"
    r"|expir\w+|issued|discharg\w+"
    r"|visit\w*|appointment|diagnos\w+|started|gestorben|verstorben|gest|d[ée]c[ée]d[ée]e?|muri[óo]|fallecid[oa]"
    r"|mort[oa]|registr(?:y|ation|ar)|records?|updated"
    r"|effective|offer|voucher|sale|order\w*|deliver\w*"
)
_NO_PERSON = words(
    r"(?:company|project|idea|brand|team|club|firm|band|product|website|app|movement|party|nation|state|republic"
    r"|internet|web|concept"
    r"|tradition|festival|magazine|newspaper|genre|style|method|theory|startup|software|language|service|unternehmen"
    r"|firma|projekt|entreprise"
    r"|empresa|azienda)(?:\s+(?:was|is|were|wurde|est|fue|è))?(?:\s+(?:officially|first|really))?"
)
_YEARS = range(1880, 2041)


def find_birth_dates(text: str) -> Iterator[Hit]:
    """Dates of birth: day, month and year (1880 to 2040), beside a word such as "born", "DOB" or "Geburtsdatum"."""
    for pattern in (_BEFORE, _AFTER):
        for match in pattern.finditer(text):
            subject = text[max(0, match.start() - 40) : match.start()].rstrip()
            is_other = _OTHER_EVENT.search(match["gap"]) or any(
                found.end() == len(subject) for found in _NO_PERSON.finditer(subject)
            )
            if not is_other and _is_plausible(match["date"]):
                yield Hit("birth_date", match.start("date"), match.end("date"), 0.9)


def _is_plausible(date: str) -> bool:
    """Whether the figures can be day, month and year."""
    figures = [int(figure) for figure in re.findall(r"\d+", date)]
    if len(figures) == 2:
        return 1 <= figures[0] <= 31 and figures[1] in _YEARS
    first, second, third = figures
    year, rest = (first, (second, third)) if first > 31 else (third, (first, second))
    is_year = year in _YEARS or len(re.findall(r"\d+", date)[-1]) == 2
    return is_year and 1 <= min(rest) <= 12 and 1 <= max(rest) <= 31
