"""2,000 generated rows with personal data and with what only looks like it; half of the templates are held out.

A template is a sentence with slots. The slots of KIND_OF_SLOT are personal data, all others are not: a `luhn` is a
number with a right checksum that is no card, a `date` is no date of birth. The finder was developed on DEVELOPMENT;
figures are given for HELD_OUT, whose rows nobody looked at while patterns were changed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import personal_values as values
from personal_templates import DEVELOPMENT, HELD_OUT
from personal_values import Draw

KIND_OF_SLOT = {
    "name": "name",
    "first": "name",
    "last": "name",
    "email": "email",
    "intl": "phone",
    "us": "phone",
    "uk": "phone",
    "de": "phone",
    "fr": "phone",
    "card": "card",
    "cards": "card",
    "iban": "iban",
    "ibans": "iban",
    "ssn": "national_id",
    "nino": "national_id",
    "nhs": "national_id",
    "taxid": "national_id",
    "nir": "national_id",
    "dni": "national_id",
    "cf": "national_id",
    "bsn": "national_id",
    "pesel": "national_id",
    "cpf": "national_id",
    "aadhaar": "national_id",
    "dob": "birth_date",
    "dobde": "birth_date",
    "dobfr": "birth_date",
    "dobes": "birth_date",
    "dobit": "birth_date",
    "ip": "ip",
    "adus": "address",
    "aduk": "address",
    "adde": "address",
    "adfr": "address",
    "ades": "address",
    "adit": "address",
    "mrn": "record",
    "ssn9": "national_id",
    "passport": "national_id",
}
_BIRTHS, _OTHERS = (1932, 2012), (1995, 2026)
_MAKERS: dict[str, Callable[[Draw], str]] = {
    "name": values.full_name,
    "first": lambda d: d.choice(values.GIVEN),
    "last": lambda d: d.choice(values.FAMILY),
    "email": values.email,
    "intl": values.international_phone,
    "us": values.us_phone,
    "uk": values.uk_phone,
    "de": values.german_phone,
    "fr": values.french_phone,
    "card": values.card,
    "cards": values.card_in_groups,
    "iban": values.iban,
    "ibans": values.iban_in_groups,
    "ssn": values.us_ssn,
    "nino": values.uk_nino,
    "nhs": values.uk_nhs,
    "taxid": values.german_tax_id,
    "nir": values.french_nir,
    "dni": values.spanish_dni,
    "cf": values.codice_fiscale,
    "bsn": values.dutch_bsn,
    "pesel": values.polish_pesel,
    "cpf": values.brazilian_cpf,
    "aadhaar": values.indian_aadhaar,
    "dob": lambda d: values.day(d, "en", _BIRTHS),
    "dobde": lambda d: values.day(d, "de", _BIRTHS),
    "dobfr": lambda d: values.day(d, "fr", _BIRTHS),
    "dobes": lambda d: values.day(d, "es", _BIRTHS),
    "dobit": lambda d: values.day(d, "it", _BIRTHS),
    "ip": values.ip,
    "adus": lambda d: values.address(d, "us"),
    "aduk": lambda d: values.address(d, "uk"),
    "adde": lambda d: values.address(d, "de"),
    "adfr": lambda d: values.address(d, "fr"),
    "ades": lambda d: values.address(d, "es"),
    "adit": lambda d: values.address(d, "it"),
    "mrn": lambda d: d.choice(("", "A", "MR-", "H")) + values.digits(d, d.choice((6, 7, 8))),
    "ssn9": lambda d: values.us_ssn(d).replace("-", ""),
    "passport": lambda d: d.choice(("", "C", "XD")) + values.digits(d, 8),
    # no personal data
    "city": lambda d: d.choice(values.CITIES),
    "date": lambda d: values.day(d, "en", _OTHERS),
    "datede": lambda d: values.day(d, "de", _OTHERS),
    "luhn": lambda d: values.luhn_number(d, d.choice(("4", "51", "37")), 16 if d.random() < 0.7 else 15),
    "d16": lambda d: values.digits(d, 16),
    "d11": lambda d: values.digits(d, 11),
    "d10": lambda d: values.digits(d, 10),
    "d9": lambda d: values.digits(d, 9),
    "d8": lambda d: values.digits(d, 8),
    "d7": lambda d: values.digits(d, 7),
    "d6": lambda d: values.digits(d, 6),
    "d4": lambda d: values.digits(d, 4),
    "d3": lambda d: values.digits(d, 3),
    "d2": lambda d: values.digits(d, 2),
    "n": lambda d: str(d.randrange(2, 99)),
    "version": lambda d: ".".join(str(d.randrange(0, 120)) for _ in range(4)),
    "code": lambda d: "".join(d.choice("ABCDEFGHKLMNPRSTX") for _ in range(2)) + values.digits(d, 6) + d.choice("ABCD"),
    "ninelike": lambda d: f"{values.digits(d, 3)}-{values.digits(d, 2)}-{values.digits(d, 4)}",
    "isbn": lambda d: "978-0-" + values.digits(d, 3) + "-" + values.digits(d, 5) + "-" + d.choice("0123456789"),
    "handle": lambda d: "@" + d.choice(values.GIVEN).lower() + d.choice(("", "_", ".")) + values.digits(d, 2),
    "price": lambda d: f"{d.randrange(1, 999)}.{values.digits(d, 2)}",
    "euro": lambda d: f"{d.randrange(10, 99)} {values.digits(d, 3)} {values.digits(d, 3)}",
    "drug": lambda d: d.choice(
        ("Augmentin", "Warfarin", "Levothyroxine", "Carbamazepine", "Jardiance", "Xarelto", "Ritalin", "Ventolin")
    ),
}


@dataclass(frozen=True)
class PersonalRow:
    """A text and where its personal data stand: (kind, start, end)."""

    text: str
    spans: tuple[tuple[str, int, int], ...]


def personal_rows(seed: int = 7, n: int = 1000) -> tuple[list[PersonalRow], list[PersonalRow]]:
    """n rows of the development templates and n of those held out, every template as often as the others."""
    draw = random.Random(seed)
    return (
        [_fill(draw, DEVELOPMENT[i % len(DEVELOPMENT)]) for i in range(n)],
        [_fill(draw, HELD_OUT[i % len(HELD_OUT)]) for i in range(n)],
    )


def _fill(draw: Draw, template: str) -> PersonalRow:
    text, spans = "", []
    for piece in re.split(r"(\{[a-z]\w*\})", template):
        slot = piece[1:-1] if re.fullmatch(r"\{[a-z]\w*\}", piece) else ""
        filled = _MAKERS[slot](draw) if slot else piece
        if slot in KIND_OF_SLOT:
            spans.append((KIND_OF_SLOT[slot], len(text), len(text) + len(filled)))
        text += filled
    return PersonalRow(text, tuple(spans))


@dataclass
class Score:
    """How a finder did on one kind: found of the true ones, right of the reported ones."""

    n_true: int = 0
    n_found: int = 0
    n_reported: int = 0
    n_right: int = 0

    @property
    def recall(self) -> float:
        return self.n_found / self.n_true if self.n_true else float("nan")

    @property
    def precision(self) -> float:
        return self.n_right / self.n_reported if self.n_reported else float("nan")


def judge(rows: list[PersonalRow], hits: list[tuple[int, str, int, int]]) -> dict[str, Score]:
    """Scores per kind. A hit and a true span are the same if the kinds agree and they share half of their union."""
    scores: dict[str, Score] = {}
    by_row: dict[int, list[tuple[str, int, int]]] = {}
    for i, kind, start, end in hits:
        by_row.setdefault(i, []).append((kind, start, end))
    for i, row in enumerate(rows):
        reported = by_row.get(i, [])
        for mine, others, truth in ((row.spans, reported, True), (reported, row.spans, False)):
            for span in mine:
                score = scores.setdefault(span[0], Score())
                is_matched = any(_same(span, other) for other in others)
                if truth:
                    score.n_true += 1
                    score.n_found += is_matched
                else:
                    score.n_reported += 1
                    score.n_right += is_matched
    return dict(sorted(scores.items()))


def _same(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    shared = min(one[2], other[2]) - max(one[1], other[1])
    return one[0] == other[0] and shared > 0 and 2 * shared >= max(one[2], other[2]) - min(one[1], other[1])
