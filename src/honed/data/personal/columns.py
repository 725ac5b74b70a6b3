"""Columns whose name says that each cell is personal data: `patient_name`, `e-mail`, `Geburtsdatum`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from honed.data.personal.hit import Finder

_HEADERS = {
    "name": r"(?:full|first|last|given|family|middle|maiden|sur|patient|customer|client|employee|contact|person"
    r"|user_?full|author|doctor|physician|nurse"
    r"|holder|cardholder|recipient|sender|guest|member|student|teacher|parent|guardian|insured|beneficiary"
    r"|spouse)_?names?"
    r"|surname|forename|vorname|nachname|familienname|prenom|nom_de_famille|apellidos?|cognome|nombre_completo"
    r"|nome_completo|naam|achternaam|voornaam",
    "email": r"e?_?mail|(?:\w+_)?e_?mail(?:_?address)?|email_?addr|courriel|correo(?:_electronico)?",
    "phone": r"(?:\w+_)?(?:phone|telephone|mobile|cell|fax)(?:_?(?:number|no|nr))?|tel|telefon(?:nummer)?|handy"
    r"|telefono|movil|celular|cellulare|msisdn",
    "card": r"(?:credit_?|debit_?)?card_?(?:number|no|num)|cc_?(?:number|num)|kreditkarte(?:nnummer)?",
    "iban": r"iban(?:_?(?:number|no))?",
    "national_id": r"ssn|social_security(?:_?(?:number|no))?|national_?(?:id|insurance)(?:_?(?:number|no))?|nino"
    r"|nhs_?(?:number|no)|tax_?(?:id|number)"
    r"|passport(?:_?(?:number|no))?|(?:driver_?s?|driving)_?licen[cs]e(?:_?(?:number|no))?|steuer_?id|dni|nie|nif"
    r"|nir|bsn|pesel|cpf|aadhaar"
    r"|codice_fiscale",
    "birth_date": r"dob|d_o_b|(?:date_of_)?birth_?(?:date|day)|date_?of_?birth|birth_?dt|geburts(?:datum|tag)"
    r"|date_de_naissance|fecha_(?:de_)?nacimiento"
    r"|data_di_nascita|geboortedatum",
    "address": r"(?:street|home|postal|mailing|billing|shipping|delivery|residential)_?address(?:_?(?:line)?_?\d)?"
    r"|address_?(?:line)?_?\d?|street|strasse"
    r"|anschrift|adresse|direccion|indirizzo",
    "record": r"mrn|medical_?record(?:_?(?:number|no))?|patient_?(?:number|no)|account_?(?:number|no)"
    r"|policy_?(?:number|no)|member_?(?:id|number|no)",
    "ip": r"ip|ip_?addr(?:ess)?|(?:client|remote|source|src)_?ip(?:_?addr(?:ess)?)?",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _HEADERS.items()}
# Words that head columns of persons, but of products and firms as well: their cells must tell.
_MAY_BE_PERSONS = re.compile(r"names?|patient|person|customer|client|employee|contact|author|doctor|speaker|owner|user")
_FEWEST_NAMES = 0.3
"""Of the cells must be found to be names, far fewer than the .76 of the names that are found in texts: the rest of the
column, whose given names are not among the frequent ones, is meant too.
"""
# Cells of a `patient_name` column that name nobody
_SAYS_NOTHING = re.compile(
    r"|[-?.\\/]+|n\.?/?a\.?|nan|none|null|nil|unknown|anonymous|missing|not known|k\.a\.|unbekannt|<[A-Z_]+_\d+>",
    re.IGNORECASE,
)
_ACCENTS = str.maketrans("éèêáàâíìîóòôúùûüöäç", "eeeaaaiiiooouuuuoac")


def kind_of_column(name: str) -> str | None:
    """The kind of personal data that a column holds by its name, or None: `Patient Name`, `patientName` -> "name".

    A bare `name` or `id` is None: it may be that of a product or a file. See `kind_of_cells`.
    """
    snake = _snake(name)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(snake)), None)


def may_hold_persons(name: str) -> bool:
    """Whether a column is called `name`, `customer` or the like, so that its cells must tell what it holds."""
    return _MAY_BE_PERSONS.fullmatch(_snake(name)) is not None


def holds_persons(n_named: int, n_filled: int) -> bool:
    """Whether so many names among so many filled cells make it a column of persons, each cell of which names one."""
    return n_named > 0 and n_named >= _FEWEST_NAMES * n_filled


def kind_of_cells(name: str, cells: Sequence[str], finder: Finder) -> str | None:
    """The kind of personal data that every filled cell of a column is, by its name or, if it may hold persons, by
    these cells of it; or None.
    """
    if (kind := kind_of_column(name)) or not may_hold_persons(name):
        return kind
    filled = [cell for cell in cells if is_filled(cell)]
    n_named = len({i for i, hit in finder(filled) if hit.kind == "name"})
    return "name" if holds_persons(n_named, len(filled)) else None


def is_filled(cell: str) -> bool:
    """Whether a cell says anything: no blank, dash, "N/A", "unknown" or pseudonym."""
    return _SAYS_NOTHING.fullmatch(cell.strip()) is None


def _snake(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", snake.lower().translate(_ACCENTS)).strip("_")
