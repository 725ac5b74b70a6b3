"""Each kind of personal data is found where it stands, and what only looks like it is left in peace."""

from __future__ import annotations

import pytest

from honed.data.personal.columns import kind_of_column
from honed.data.personal.find import find_personal, find_personal_batch, mask
from honed.data.personal.hit import KINDS, Hit, without_overlaps


def found(text: str) -> list[tuple[str, str]]:
    return [(hit.kind, text[hit.start : hit.end]) for hit in find_personal(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to Jane.Doe+x@mail.example.org.", [("email", "Jane.Doe+x@mail.example.org")]),
        ("jürgen@büro.example", [("email", "jürgen@büro.example")]),
        ("bob [at] example [dot] com", [("email", "bob [at] example [dot] com")]),
        ("call me: (202) 555-0123 x45", [("phone", "(202) 555-0123 x45")]),
        ("+44 (0)20 7946 0958", [("phone", "+44 (0)20 7946 0958")]),
        ("Mobil 0171 39200 12", [("phone", "0171 39200 12")]),
        ("06 12 34 56 78", [("phone", "06 12 34 56 78")]),
        ("paid with 4539 5787 6362 1486", [("card", "4539 5787 6362 1486")]),
        ("Amex 3782-822463-10005", [("card", "3782-822463-10005")]),
        ("to GB82 WEST 1234 5698 7654 32 TODAY", [("iban", "GB82 WEST 1234 5698 7654 32")]),
        ("de89370400440532013000", [("iban", "de89370400440532013000")]),
        ("SSN 536-22-8726", [("national_id", "536-22-8726")]),
        ("my ssn is 536228726", [("national_id", "536228726")]),
        ("NHS number 943 476 5919", [("national_id", "943 476 5919")]),
        ("RVNR 15070649C103", [("national_id", "15070649C103")]),
        ("codice RSSMRA85T10A562S", [("national_id", "RSSMRA85T10A562S")]),
        ("passport no. C01X00T47", [("national_id", "C01X00T47")]),
        ("born on 12 March 1985 in Leeds", [("birth_date", "12 March 1985")]),
        ("03/12/1985 (DOB)", [("birth_date", "03/12/1985")]),
        ("geb. 12.03.85", [("birth_date", "12.03.85")]),
        ("née le 3 février 1970", [("birth_date", "3 février 1970")]),
        ("MRN: 00123456", [("record", "00123456")]),
        ("from 203.0.113.77", [("ip", "203.0.113.77")]),
        ("2001:db8:85a3::8a2e:370:7334", [("ip", "2001:db8:85a3::8a2e:370:7334")]),
        ("https://www.linkedin.com/in/jane-doe-1", [("profile", "https://www.linkedin.com/in/jane-doe-1")]),
        ("at 12 Baker Street, London NW1 6XE", [("address", "12 Baker Street, London NW1 6XE")]),
        ("Lindenstr. 3\n10115 Berlin", [("address", "Lindenstr. 3\n10115 Berlin")]),
        ("Dr. Zorblax O'Quux said", [("name", "Zorblax O'Quux")]),
        ("Frau Müller-Lüdenscheidt kam", [("name", "Müller-Lüdenscheidt")]),
        ("Ludwig van Beethoven played", [("name", "Ludwig van Beethoven")]),
        ("MR. JOHN SMITH appeared", [("name", "JOHN SMITH")]),
        ("Dear Quetzal,\nthanks", [("name", "Quetzal")]),
        ("Dr. Grayson came. Later Grayson left.", [("name", "Grayson"), ("name", "Grayson")]),
    ],
)  # fmt: skip
def test_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "@jane_doe posted, see user@localhost and git@github.com:org/repo.git",
        "react@18.2.0, icon@2x.png",
        "order 4539578763621486 was late",
        "4539578763621487 has a wrong checksum",
        "the figure 4.539578763621486 and 1,4539578763621486",
        "GB83 WEST 1234 5698 7654 32",
        "part 536-22-8726, SSN 000-22-8726, SSN 666-22-8726",
        "943 476 5919 without a word for it",
        "the appointment is on 12 March 2024; the company was born on 12 March 1998",
        "a birthday party on 12 March 2024",
        "born on 45.13.1985",
        "version 10.2.33.4, OpenSSL 1.1.1.1, section 3.2.1.4, 127.0.0.1, 255.255.255.255, 12:30:45",
        "std::vector, a::b",
        "12 Wall Street analysts",
        "May I? Will you? Mark the box. Bill them. Jordan River, Virginia Beach",
        "St. Thomas Hospital in San Francisco, Gilles de la Tourette syndrome",
        "Dear customer, dear Sir or Madam",
        "rates of 100-200-3000 in 1990-2000-2010, n = 1234567890",
        "github.com/org/repo, https://x.com/home",
        "",
        " ",
    ],
)
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_the_nearer_word_decides() -> None:
    assert found("for order 17, charge card 4539578763621486") == [("card", "4539578763621486")]
    assert found("my card was charged for order 4539578763621486") == []
    assert found("tel. 020 7946 0958, rates 212-555-0188") == [("phone", "020 7946 0958"), ("phone", "212-555-0188")]
    assert found("tel. 07700 900123. Rates 7700900124") == [("phone", "07700 900123")], "the word is used up"


@pytest.mark.parametrize(
    "number",
    [
        "４５３９ ５７８７ ６３６２ １４８６",
        "٤٥٣٩٥٧٨٧٦٣٦٢١٤٨٦",
        "4539\u200b5787\u200b6362\u200b1486",
        "4539\u00a05787\u00a06362\u00a01486",
        "4539\u20115787\u20116362\u20111486",
    ],
)
def test_digits_of_other_scripts_and_invisible_characters_hide_nothing(number: str) -> None:
    text = f"\u200bmy card {number} \ud800 end"
    hits = find_personal(text)
    assert [(hit.kind, text[hit.start : hit.end]) for hit in hits] == [("card", number)]


def test_a_mask_shows_the_kind_alone() -> None:
    text = "Dr. Grayson (jane@example.org) was born on 12 March 1985."
    assert mask(text) == "Dr. [name of a person] ([e-mail address]) was born on [date of birth]."
    assert mask("nothing here") == "nothing here"


def test_a_batch_is_its_texts_one_by_one() -> None:
    texts = ["a@example.org b@example.org", "", "SSN 536-22-8726"]
    assert find_personal_batch(texts) == [(i, hit) for i, text in enumerate(texts) for hit in find_personal(text)]
    assert [i for i, _ in find_personal_batch(texts)] == [0, 0, 2]


def test_of_overlapping_hits_the_surer_one_stays_then_the_longer_one() -> None:
    hits = [Hit("name", 0, 9, 0.5), Hit("email", 3, 6, 0.9), Hit("ip", 6, 8, 0.5), Hit("iban", 6, 9, 0.5)]
    assert without_overlaps(hits) == [hits[1], hits[3]]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("patient_name", "name"), ("PatientName", "name"), ("Last Name", "name"), ("Prénom", "name"),
        ("E-Mail", "email"),
        ("customer_email", "email"), ("phone number", "phone"), ("DOB", "birth_date"), ("Geburtsdatum", "birth_date"),
        ("SSN", "national_id"), ("mrn", "record"), ("ip_address", "ip"), ("home address", "address"), ("IBAN", "iban"),
        ("name", None), ("id", None), ("text", None), ("product_name", None), ("label", None), ("filename", None),
    ],
)  # fmt: skip
def test_columns_that_say_what_they_hold(header: str, kind: str | None) -> None:
    assert kind_of_column(header) == kind
    assert kind is None or kind in KINDS


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("piece", "n_characters"),
    [("1", 10**6), ("a@", 10**6), ("Aa ", 10**6), (":", 10**6), (" ", 10**6), ("name is ", 10**6), ("born ", 10**6)]
    + [
        (piece, 10**5)
        for piece in ("1 ", "@", "John ", "Dr. Aa ", "GB82", "\n", "1\u200b", "+1 ", "1.", "Flat 1, ", "1 Aa ")
    ],
)
def test_a_text_made_to_stall_a_pattern_comes_to_an_end(piece: str, n_characters: int) -> None:
    text = piece * (n_characters // len(piece))
    assert all(0 <= hit.start < hit.end <= len(text) for hit in find_personal(text))
