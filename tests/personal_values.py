"""Made-up personal data with right checksums, for tests and benchmarks of the finder.

Every check digit is computed here from its definition, not by the library that the finder uses. Phone numbers lie in
the ranges that regulators keep for fiction, addresses of machines and of mail in those kept for documents.
"""

from __future__ import annotations

import random
from itertools import pairwise

_GIVEN = """
James Olivia Sarah Michael Fatima Carlos Anna Giulia Pierre Katrin Ahmed Priya Hannah Luca Sophie Thomas Elena Daniel
Marie Jonas Laura Kevin Ines Stefan Chiara Oluwadamilola Thorvald Ximena Zbigniew Kalpana Tuğba Ngaire Siobhán Aurelio
Bronwyn Chidi Dragana Eoghan Gwendolyn Hyacinth Ikaika Jaroslav Kasimir Leontine Mirela Nikos Oksana Parvati Quentin
Rurik Saoirse Tadeusz Ulla Vasilis Wiebke Xanthe Yevgenia Zainab
"""
_FAMILY = """
Smith Johnson Müller Schneider Dubois Moreau García Fernández Rossi Bianchi Patel Khan Okafor Lindqvist Novák Kowalczyk
O'Connor McAllister Featherstonehaugh Bhattacharya Papadopoulos Öztürk Castellanos Vandenberghe Steinmetz Haraldsson
Achterberg Quisenberry Tregenza Yamaguchi Delacroix Montefiore Kirchhoff Abernathy Zubiri Oyelaran Brzezinski Halvorsen
Iwasaki Jaworski
"""
_CITIES = "Leeds Boston Hamburg Lyon Sevilla Torino Portland Cardiff Dresden Nantes Bilbao Verona Denver Bristol"
_MONTHS = """
en January February March April May June July August September October November December
de Januar Februar März April Mai Juni Juli August September Oktober November Dezember
fr janvier février mars avril mai juin juillet août septembre octobre novembre décembre
es enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
it gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
"""
GIVEN, FAMILY, CITIES = _GIVEN.split(), _FAMILY.split(), _CITIES.split()
MONTHS = {line[:2]: line[3:].split() for line in _MONTHS.strip().splitlines()}
Draw = random.Random


def digits(draw: Draw, n: int) -> str:
    return "".join(str(draw.randrange(10)) for _ in range(n))


def luhn_digit(payload: str) -> str:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, figure in enumerate(reversed(payload)):
        value = int(figure) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def luhn_number(draw: Draw, start: str, length: int) -> str:
    payload = start + digits(draw, length - len(start) - 1)
    return payload + luhn_digit(payload)


def card(draw: Draw) -> str:
    start, length = draw.choice(
        (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("36", 14))
    )
    return luhn_number(draw, start, length)


def card_in_groups(draw: Draw) -> str:
    number = card(draw)
    sizes = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[len(number)]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return draw.choice((" ", "-")).join(number[end - size : end] for size, end in zip(sizes, ends, strict=True))


def _mod97(country: str, account: str) -> str:
    moved = "".join(str(int(character, 36)) for character in account + country + "00")
    return f"{98 - int(moved) % 97:02d}"


def iban(draw: Draw) -> str:
    country = draw.choice(("DE", "GB", "FR", "ES", "NL", "IT"))
    account = {
        "DE": lambda: digits(draw, 18),
        "GB": lambda: draw.choice(("NWBK", "BARC", "MIDL")) + digits(draw, 14),
        "FR": lambda: digits(draw, 23),
        "ES": lambda: digits(draw, 20),
        "NL": lambda: draw.choice(("ABNA", "INGB", "RABO")) + digits(draw, 10),
        "IT": lambda: draw.choice("ABCX") + digits(draw, 22),
    }[country]()
    return country + _mod97(country, account) + account


def iban_in_groups(draw: Draw) -> str:
    number = iban(draw)
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def us_ssn(draw: Draw) -> str:
    area = draw.choice([n for n in range(100, 900) if n != 666])
    return f"{area:03d}-{draw.randrange(1, 100):02d}-{draw.randrange(1, 10000):04d}"


def uk_nino(draw: Draw) -> str:
    number = draw.choice("ABCEGHJKLMPRSTWXYZ") + draw.choice("ACEHJLMPRSTWXYZ") + digits(draw, 6) + draw.choice("ABCD")
    if draw.random() < 0.5:
        number = f"{number[:2]} {number[2:4]} {number[4:6]} {number[6:8]} {number[8]}"
    return number


def uk_nhs(draw: Draw) -> str:
    """Modulus 11, weights 10 to 2; a remainder of 10 is not issued."""
    while True:
        payload = "9" + digits(draw, 8)
        check = 11 - sum((10 - i) * int(figure) for i, figure in enumerate(payload)) % 11
        if check != 10:
            number = payload + str(check % 11)
            return draw.choice((number, f"{number[:3]} {number[3:6]} {number[6:]}"))


def german_tax_id(draw: Draw) -> str:
    """Ten digits of which one stands twice; ISO 7064 modulus 11,10."""
    figures = draw.sample("0123456789", 10)
    figures[draw.randrange(1, 10)] = figures[0]
    draw.shuffle(figures)
    if figures[0] == "0":
        figures[0], figures[9] = figures[9], figures[0]
    if figures[0] == "0":
        return german_tax_id(draw)
    product = 10
    for figure in figures:
        total = (int(figure) + product) % 10 or 10
        product = total * 2 % 11
    number = "".join(figures) + str((11 - product) % 10)
    return draw.choice((number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"))


def french_nir(draw: Draw) -> str:
    number = (
        f"{draw.choice('12')}{draw.randrange(100):02d}{draw.randrange(1, 13):02d}{draw.randrange(10, 90):02d}"
        f"{draw.randrange(1, 990):03d}{draw.randrange(1, 1000):03d}"
    )
    number += f"{97 - int(number) % 97:02d}"
    cuts = (0, 1, 3, 5, 7, 10, 13, 15)
    return draw.choice((number, " ".join(number[a:b] for a, b in pairwise(cuts))))


def spanish_dni(draw: Draw) -> str:
    number = digits(draw, 8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def codice_fiscale(draw: Draw) -> str:
    consonants = "BCDFGLMNPRSTV"
    body = "".join(draw.choice(consonants) for _ in range(6))
    body += f"{draw.randrange(40, 100):02d}{draw.choice('ABCDEHLMPRST')}{draw.randrange(1, 29):02d}"
    body += f"{draw.choice('FHLA')}{draw.randrange(100, 999)}"
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    odd |= dict(
        zip(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
            strict=True,
        )
    )
    even = dict(zip("0123456789", range(10), strict=True)) | dict(
        zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", range(26), strict=True)
    )
    total = sum((odd if i % 2 == 0 else even)[character] for i, character in enumerate(body))
    return body + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[total % 26]


def dutch_bsn(draw: Draw) -> str:
    """The eleven-test: weights 9 to 2 and -1 give a multiple of 11."""
    while True:
        payload = str(draw.randrange(1, 10)) + digits(draw, 7)
        check = sum((9 - i) * int(figure) for i, figure in enumerate(payload)) % 11
        if check < 10:
            return payload + str(check)


def polish_pesel(draw: Draw) -> str:
    payload = f"{draw.randrange(40, 100):02d}{draw.randrange(1, 13):02d}{draw.randrange(1, 29):02d}{digits(draw, 4)}"
    total = sum(int(figure) * weight for figure, weight in zip(payload, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
    return payload + str(-total % 10)


def brazilian_cpf(draw: Draw) -> str:
    payload = digits(draw, 9)
    for _ in range(2):
        rest = sum((len(payload) + 1 - i) * int(figure) for i, figure in enumerate(payload)) * 10 % 11
        payload += str(rest % 10)
    return f"{payload[:3]}.{payload[3:6]}.{payload[6:9]}-{payload[9:]}"


def indian_aadhaar(draw: Draw) -> str:
    """Verhoeff's checksum over the dihedral group of order ten."""

    def product(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5

    def permuted(figure: int, times: int) -> int:
        for _ in range(times):
            figure = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[figure]
        return figure

    payload = str(draw.randrange(2, 10)) + digits(draw, 10)
    state = 0
    for place, figure in enumerate(reversed(payload), 1):
        state = product(state, permuted(int(figure), place % 8))
    number = payload + str(next(digit for digit in range(10) if product(state, digit) == 0))
    return f"{number[:4]} {number[4:8]} {number[8:]}"


def us_phone(draw: Draw) -> str:
    area, rest = draw.choice(("202", "312", "415", "617", "713")), f"555-01{digits(draw, 2)}"
    return draw.choice((f"({area}) {rest}", f"{area}-{rest}", f"{area}.{rest.replace('-', '.')}"))


def uk_phone(draw: Draw) -> str:
    return draw.choice((f"020 7946 0{digits(draw, 3)}", f"07700 900{digits(draw, 3)}", f"0161 496 0{digits(draw, 3)}"))


def german_phone(draw: Draw) -> str:
    return draw.choice((f"030 23125 {digits(draw, 3)}", f"0171 39200{digits(draw, 2)}", f"040/66969 {digits(draw, 3)}"))


def french_phone(draw: Draw) -> str:
    return f"06 39 98 {digits(draw, 2)} {digits(draw, 2)}"


def international_phone(draw: Draw) -> str:
    return draw.choice(
        (
            f"+1 202-555-01{digits(draw, 2)}",
            f"+44 20 7946 0{digits(draw, 3)}",
            f"+44 (0)7700 900{digits(draw, 3)}",
            f"+49 30 23125 {digits(draw, 3)}",
            f"+33 6 39 98 {digits(draw, 2)} {digits(draw, 2)}",
            f"+34 612 34 {digits(draw, 2)} {digits(draw, 2)}",
            f"+39 06 6982 {digits(draw, 4)}",
        )
    )


def email(draw: Draw) -> str:
    first, last = draw.choice(GIVEN).lower(), draw.choice(FAMILY).lower().replace("'", "")
    local = draw.choice(
        (f"{first}.{last}", f"{first[0]}{last}", f"{first}_{draw.randrange(40, 99)}", f"{last}+news", first)
    )
    return f"{local}@{draw.choice(('example.org', 'example.com', 'mail.example.net', 'praxis-nord.example'))}"


def day(draw: Draw, language: str, years: tuple[int, int]) -> str:
    d, m, y = draw.randrange(1, 29), draw.randrange(1, 13), draw.randrange(*years)
    month = MONTHS[language][m - 1]
    shapes = {
        "en": (f"{d} {month} {y}", f"{month} {d}, {y}", f"{m:02d}/{d:02d}/{y}", f"{y}-{m:02d}-{d:02d}"),
        "de": (f"{d:02d}.{m:02d}.{y}", f"{d}. {month} {y}"),
        "fr": (f"{d:02d}/{m:02d}/{y}", f"{d} {month} {y}"),
        "es": (f"{d:02d}/{m:02d}/{y}", f"{d} de {month} de {y}"),
        "it": (f"{d:02d}/{m:02d}/{y}", f"{d} {month} {y}"),
    }
    return draw.choice(shapes[language])


def full_name(draw: Draw) -> str:
    return f"{draw.choice(GIVEN)} {draw.choice(FAMILY)}"


def ip(draw: Draw) -> str:
    if draw.random() < 0.2:
        groups = [f"{draw.randrange(1, 65535):x}" for _ in range(4)]
        return f"2001:db8:{groups[0]}:{groups[1]}::{groups[2]}:{groups[3]}"
    return draw.choice(("203.0.113.", "198.51.100.", "192.0.2.")) + str(draw.randrange(32, 254))


_STREETS = {
    "us": (
        "{n} {a} {b}, Springfield, IL 627{zip}",
        "Maple|Victoria|Mill|Old Station|N. Cedar",
        "Street|Ave|Drive|Blvd",
    ),
    "uk": ("{n} {a} {b}, Leeds LS1 {d}AB", "Maple|Victoria|Mill|Church|St Mary's", "Road|Lane|Close"),
    "de": ("{a} {n}, 101{zip} {b}", "Lindenstraße|Gartenweg|Bahnhofstr.|Goetheplatz|Am Alten Markt", "Berlin|Köln"),
    "fr": ("{n} {b} {a}, 690{zip} Lyon", "Pasteur|de la Gare|des Lilas|du Général Leclerc", "rue|avenue|boulevard"),
    "es": ("{b} {a} {n}, 280{zip} Madrid", "Mayor|de la Paz|Cervantes|del Río", "Calle|Avenida"),
    "it": ("{b} {a} {n}, 201{zip} Milano", "Garibaldi|Dante|Verdi|della Repubblica", "Via|Piazza"),
}


def address(draw: Draw, country: str) -> str:
    shape, first, second = _STREETS[country]
    chosen = {"a": draw.choice(first.split("|")), "b": draw.choice(second.split("|")), "n": draw.randrange(1, 240)}
    return shape.format(**chosen, zip=digits(draw, 2), d=draw.randrange(1, 9))
