"""Postal addresses: a street of the usual spellings with its house number, and what follows of town and postcode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.context import words
from honed.data.personal.hit import Hit

_CAP = r"[A-ZÀ-ÞŒ][\w'.-]{0,24}"
_CAPS = rf"{_CAP}(?: {_CAP}){{0,3}}"
_SEP = r"(?:,[ \n]?| ?\n| )"
_NUMBER = r"\d{1,5}(?:[-/]\d{1,4})?[A-Za-z]?"
_UNIT = r"(?:,? (?i:apt|apartment|suite|ste|unit|flat|floor|#)\.? ?#?[\w-]{1,6})?"
_US_TOWN = rf"{_SEP}{_CAPS},? [A-Z]{{2}} \d{{5}}(?:-\d{{4}})?(?!\w)"
_UK_TOWN = rf"(?:{_SEP}{_CAPS}){{0,3}}{_SEP}[A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}}(?!\w)"
_EU_TOWN = (
    rf"(?:{_SEP}(?:[A-Z]{{1,2}}-)?\d{{4,5}},?(?: [A-Z]{{2}}(?= ))? {_CAP}(?:[ -]{_CAP}){{0,3}}(?: \([A-Z]{{2}}\))?)"
)
_ROOM = r"(?:,? (?:Piso|Puerta|Apt\.|Piano|Appartamento|Interno|Bajo|Esc\.) ?\w{1,4} ?){0,2}"

# A number and names, whatever the kind of street, with a town, its state and its code
_AMERICAN = re.compile(
    rf"(?<![\w.,/-])(?:{_NUMBER} (?:[NSEW]\.? )?{_CAPS}"
    rf"|(?:PSC|Unit) \d{{1,5}},? Box \d{{1,5}}|P\.? ?O\.? Box \d{{1,6}})"
    rf"{_UNIT}{_US_TOWN}"
)
_BRITISH = re.compile(
    rf"(?<![\w.,/-])(?:(?:Flat|Studio|Unit|Apartment) \w{{1,4}}{_SEP})?(?:{_NUMBER} )?{_CAPS}{_UK_TOWN}"
)
_STREET = re.compile(
    rf"(?<![\w.,/-])(?:(?:flat|apt|unit) \w{{1,5}}, )?{_NUMBER} (?:[NSEW]\.? )?"
    rf"(?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Close"
    rf"|Crescent|Gardens|Grove|Mews|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Walk|Hill)(?!\w)\.?{_UNIT}"
)
_GERMAN = re.compile(
    r"(?<![\w-])(?:[A-ZÄÖÜ][\wäöüß.-]{1,30}(?:straße|strasse|str\.|weg|platz|allee|gasse|damm|ufer)"
    rf"|(?:{_CAP} ){{1,2}}(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Damm|Ufer)"
    r"|[A-ZÄÖÜ][\wäöüß.-]{1,40}-(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Ring|Damm|Ufer)"
    r"|(?:Am|An der|Auf dem|Im|Zum|Zur) [A-ZÄÖÜ][\wäöüß-]{2,24}(?: [A-ZÄÖÜ][\wäöüß-]{2,24})?"
    r"(?= \d{1,4}[a-z]?,?\s\d{5} )"
    rf"|[A-ZÄÖÜ][\wäöüß.-]{{1,24}}ring(?= \d[\d/-]{{0,8}}[a-z]?,?\s\d{{5}} )) {_NUMBER}(?![\w%]|[.,]\d){_EU_TOWN}?"
)
_WAY = r"(?:rue|avenue|av\.|boulevard|bd|place|chemin|all[ée]e|impasse|quai|route|cours)"
_OF = r"(?:(?:de la|de l'|des|du|del|de los|de las|de|della|dei|degli|delle|di|da|dos|das|do|d') ?)?"
_FRENCH = re.compile(
    rf"(?<![\w.,-])(?:{_NUMBER}(?: (?:bis|ter))?,? {_WAY} {_OF}{_CAP}(?:[ -]{_OF}{_CAP}){{0,3}}{_EU_TOWN}?"
    rf"|{_WAY} {_OF}{_CAP}(?:[ -]{_OF}{_CAP}){{0,3}}{_EU_TOWN})"
)
_SOUTHERN = re.compile(
    r"(?<!\w)(?:Calle|C/|Avenida|Avda\.|Av\.|Plaza|Paseo|Pasaje|Carrera|Camino|Ronda|Rambla|Glorieta"
    r"|Alameda|Callej[óo]n"
    r"|Urbanizaci[óo]n|Cuesta|Rua|Travessa|Via|Viale|Piazza|Corso|Largo|Vicolo|Strada|Contrada|Borgo|Rotonda)"
    rf" ?{_OF}{_CAP}(?: {_OF}{_CAP}){{0,3}},? (?:n[º°.]? ?)?\d{{1,4}}[A-Za-z]?(?![\w%]|[.,]\d){_ROOM}"
    rf"(?:{_EU_TOWN}|{_SEP}{_CAP}(?: (?:de )?{_CAP}){{0,3}}, \d{{5}})?"
)
_CUE = words(
    r"address|live[sd]?(?: at)?|living|resid\w+|deliver\w* to|ship\w* to|sent? to|moved? to|mail\w* to"
    r"|home|house|located|at"
)
# A street name at the end of what is said, or with a place after it; "12 Wall Street analysts" is none.
_END = re.compile(r"\s*(?:[,.;:)\]!?\n]|\Z|(?:in|near|and|on|since|opposite|behind|for|with|to)\b)")


def find_addresses(text: str) -> Iterator[Hit]:
    """Postal addresses in the usual English, German, French, Spanish, Portuguese and Italian spellings."""
    for match in _STREET.finditer(text):
        if _CUE.search(text, max(0, match.start() - 32), match.start()) or _END.match(text, match.end()):
            yield Hit("address", match.start(), match.end(), 0.75)
    for pattern in (_AMERICAN, _BRITISH, _GERMAN, _FRENCH, _SOUTHERN):
        for match in pattern.finditer(text):
            yield Hit("address", match.start(), match.start() + len(match.group().rstrip(" .'-")), 0.8)
