"""Columns whose name says that each cell is personal data: `patient_name`, `e-mail`, `Geburtsdatum`."""

from __future__ import annotations

import re

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
_ACCENTS = str.maketrans("éèêáàâíìîóòôúùûüöäç", "eeeaaaiiiooouuuuoac")


def kind_of_column(name: str) -> str | None:
    """The kind of personal data that a column holds by its name, or None: `Patient Name`, `patientName` -> "name".

    A bare `name` or `id` is None: it may be that of a product or a file.
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    snake = re.sub(r"[^a-z0-9]+", "_", snake.lower().translate(_ACCENTS)).strip("_")
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(snake)), None)
