"""Checksums: the definitions in `personal_values`, made for the tests, against python-stdnum, which the finder uses."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module

import pytest

import personal_values as values
from honed.data.personal.find import find_personal
from honed.data.personal.national_ids import RULES

PAIRS: dict[str, Callable[[random.Random], str]] = {
    "luhn": values.card,
    "iban": values.iban,
    "us.ssn": values.us_ssn,
    "gb.nhs": values.uk_nhs,
    "de.idnr": values.german_tax_id,
    "fr.nir": values.french_nir,
    "es.dni": values.spanish_dni,
    "it.codicefiscale": values.codice_fiscale,
    "nl.bsn": values.dutch_bsn,
    "pl.pesel": values.polish_pesel,
    "br.cpf": values.brazilian_cpf,
    "in_.aadhaar": values.indian_aadhaar,
}


@pytest.mark.parametrize("module", PAIRS)
def test_numbers_made_from_the_definition_are_valid(module: str) -> None:
    draw = random.Random(11)
    check = import_module(f"stdnum.{module}")
    numbers = [PAIRS[module](draw) for _ in range(200)]
    arguments = {"check_country": False} if module == "iban" else {}
    assert [number for number in numbers if not check.is_valid(number, **arguments)] == []


@pytest.mark.parametrize("module", [name for name in PAIRS if name != "us.ssn"])
def test_one_changed_digit_is_caught(module: str) -> None:
    draw = random.Random(12)
    check = import_module(f"stdnum.{module}")
    n_caught = n = 0
    for _ in range(200):
        number = PAIRS[module](draw)
        places = [i for i, character in enumerate(number) if character.isdigit()]
        i = draw.choice(places)
        changed = number[:i] + draw.choice([d for d in "0123456789" if d != number[i]]) + number[i + 1 :]
        n += 1
        n_caught += not check.is_valid(changed)
    assert n_caught >= 0.97 * n, "these checksums catch (nearly) every single wrong digit"


def test_every_rule_names_a_check_that_exists() -> None:
    for rule in RULES:
        if rule.check not in ("", "RVNR"):
            assert callable(import_module(f"stdnum.{rule.check}").is_valid), rule.name


def test_german_pension_number() -> None:
    # the example of the pension insurance, and the same with another last digit
    assert [hit.kind for hit in find_personal("15 070649 C 103")] == ["national_id"]
    assert find_personal("15 070649 C 104") == []
    assert find_personal("15 320649 C 103") == [], "no day"
