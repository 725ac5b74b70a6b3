"""Numbers of patients, members and accounts: no checksum tells them, so a word must."""

from __future__ import annotations

import re
from collections.abc import Iterator

from honed.data.personal.hit import Hit

_NO = r"(?:[ -]?(?:numbers?|num|nummer|nr|no|id|n[°º]|#))"
_ANNOUNCED = re.compile(
    r"(?<!\w)(?:mrn|ehr[ -]id|(?:(?:medical|health|hospital|patient|chart|clinical)[ ](?:record|chart|file)"
    rf"|patient|hospital|chart|health ?card|medicare|medicaid|insurance|policy|member(?:ship)?|beneficiary"
    rf"|subscriber|customer|client|student"
    rf"|employee|staff|payroll|(?:bank |checking |savings )?account|a/c|enrol?lment){_NO}"
    r"|(?:patienten|versicherten|mitglieds|kunden|personal|konto|matrikel|fall)-?(?:nummer|nr|id)"
    r"|num[ée]ro (?:de )?(?:dossier|patient|client|compte|adh[ée]rent)|n[úu]mero de (?:historia(?: cl[íi]nica)?"
    r"|paciente|cliente|cuenta|expediente)"
    r"|numero (?:di )?(?:cartella(?: clinica)?|paziente|cliente|conto))"
    r"\.?(?:[ ]?\([^)\n]{1,12}\))?[ ]{0,2}(?:is|was|ist|lautet|est|es|è)?[ ]{0,2}[:#=]?[ ]{0,2}"
    r"(?P<number>(?:[A-Z]{1,4}[ -]?)?\d[A-Z\d-]{2,17})(?![\w]|[.,]\d)",
    re.IGNORECASE,
)  # fmt: skip


def find_records(text: str) -> Iterator[Hit]:
    """Numbers of medical records, patients, members, customers and bank accounts after a word that says so."""
    for match in _ANNOUNCED.finditer(text):
        if sum(map(str.isdigit, match["number"])) >= 4:
            yield Hit("record", match.start("number"), match.end("number"), 0.8, "announced")
