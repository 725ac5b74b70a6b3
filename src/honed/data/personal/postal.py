"""Postal addresses: a street of the usual spellings with its house number, and what follows of town and postcode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.context import words
from honed.data.personal.hit import Hit

_CAP = r"[A-ZÀ-ÞŒ][\w'.-]{0,24}"
_UNIT = r"(?:,?[ ](?:apt|apartment|suite|ste|unit|flat|floor|#)\.?[ ]?#?[\w-]{1,6})?"
_US_TAIL = rf"(?:,?[ ]{_CAP}(?:[ ]{_CAP}){{0,2}},?[ ][A-Z]{{2}}[ ]\d{{5}}(?:-\d{{4}})?)?"
_UK_TAIL = rf"(?:(?:,[ ]{_CAP}(?:[ ]{_CAP}){{0,2}}){{0,2}},?[ ][A-Z]{{1,2}}\d[A-Z\d]?[ ]\d[A-Z]{{2}})?"
_EU_TAIL = rf"(?:,?[ ](?:[A-Z]{{1,2}}-)?\d{{4,5}}(?:[ ][A-Z]{{2}}(?=[ ]))?[ ]{_CAP}(?:[ -]{_CAP}){{0,2}})?"
_ENGLISH = re.compile(
    rf"(?<![\w.,/-])(?:(?:flat|apt"
    rf"|unit)[ ]\w{{1,5}},[ ])?\d{{1,5}}[A-Za-z]?(?:-\d{{1,5}})?[ ](?:[NSEW]\.?[ ])?(?:(?:{_CAP}|\d{{1,3}}(?:st|nd"
    rf"|rd|th))[ ]){{1,3}}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way"
    r"|Close|Crescent|Gardens"
    rf"|Grove|Mews|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Walk|Hill)(?!\w)\.?{_UNIT}(?P<town>{_UK_TAIL}{_US_TAIL})"
)
_GERMAN = re.compile(
    rf"(?<![\w-])(?:[A-ZÄÖÜ][\wäöüß.-]{{1,24}}(?:straße|strasse|str\.|weg|platz|allee|gasse|damm|ufer)"
    rf"|(?:{_CAP}[ ]){{1,2}}(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Damm|Ufer)"
    rf"|[A-ZÄÖÜ][\wäöüß.-]{{1,24}}ring(?= \d{{1,4}}[a-z]?,? \d{{5}} ))[ ]\d{{1,4}}[ ]?[a-z]?(?![\w%]|[.,]\d){_EU_TAIL}"
)
_FRENCH = re.compile(
    r"(?<![\w.,-])\d{1,4}(?:[ ](?:bis|ter))?,?[ ](?:rue|avenue|av\.|boulevard|bd|place|chemin|all[ée]e|impasse|quai"
    r"|route|cours)[ ]"
    rf"(?:(?:de la|de l'|des|du|de|d')[ ]?)?{_CAP}(?:[ -](?:(?:de la|des|du|de)[ ])?{_CAP}){{0,3}}{_EU_TAIL}",
)
_SOUTHERN = re.compile(
    rf"(?<!\w)(?:(?:Calle|C/|Avenida|Avda\.|Av\.|Plaza|Paseo|Carrera|Rua|Travessa|Via|Viale|Piazza|Corso|Largo"
    rf"|Vicolo)[ ]?)"
    rf"(?:(?:de la|del|de los|de|della|dei|degli|di|da|dos|das|do)[ ])?{_CAP}(?:[ ](?:(?:de la|del|de|della|di"
    rf"|da)[ ])?{_CAP}){{0,3}},?[ ](?:n[º°.]?[ ]?)?\d{{1,4}}[A-Za-z]?(?![\w%]|[.,]\d){_EU_TAIL}"
)
_CUE = words(
    r"address|live[sd]?(?: at)?|living|resid\w+|deliver\w* to|ship\w* to|sent? to|moved? to|mail\w* to|home|house"
    r"|located|at|wohn\w*|anschrift|adresse"
    r"|habite|domicili\w+|direcci[oó]n|vive|vivo|domicilio|indirizzo|abit\w+|resident[ei]"
)
# A street name at the end of what is said, or with a town or a place after it; "12 Wall Street analysts" is none.
_END = re.compile(r"\s*(?:[,.;:)\]!?\n]|\Z|(?:in|near|and|on|since|opposite|behind|for|with|to)\b|(?=[A-Z]{1,2}\d))")


def find_addresses(text: str) -> Iterator[Hit]:
    """Postal addresses in the usual English, German, French, Spanish, Portuguese and Italian spellings."""
    for match in _ENGLISH.finditer(text):
        is_told = _CUE.search(text, max(0, match.start() - 32), match.start())
        if is_told or match["town"] or _END.match(text, match.end()):
            yield Hit("address", match.start(), match.end(), 0.8)
    for pattern in (_GERMAN, _FRENCH, _SOUTHERN):
        for match in pattern.finditer(text):
            yield Hit("address", match.start(), match.end() - (match.group()[-1] in ".'-"), 0.8)
