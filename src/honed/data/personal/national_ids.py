"""Numbers that a state gives a person, each with its own checksum or rules.

How a number must be found depends on how telling it is. A checksum of one digit lets one random number in ten through,
so such a number needs a word ("BSN", "Steuer-ID") beside it. A number that carries a date of birth, letters, or two
check digits in an unusual grouping stands for itself, unless a word such as "order" stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from honed.data.personal.context import AGAINST, verdict_of_context, words
from honed.data.personal.hit import Hit


@dataclass(frozen=True)
class IdRule:
    """How one country's number is found.

    name : for people.        pattern : how it is written.        check : module of python-stdnum, or "" for none.
    cue : words that announce it.        alone : the spellings that count without a cue; None: there is none.
    """

    name: str
    pattern: re.Pattern[str]
    check: str
    cue: re.Pattern[str]
    alone: re.Pattern[str] | None = None


def _rule(name: str, pattern: str, check: str, cue: str, alone: str | None = None) -> IdRule:
    whole = re.compile(rf"(?<![\w+])(?<!\d[.,/-])(?:{pattern})(?![\w]|[-/][\w]|[.,]\d)")
    return IdRule(name, whole, check, words(cue), None if alone is None else re.compile(alone))


_ANY = ""  # as `alone`: every spelling stands for itself
_TAX = r"|tax (?:id|number|no\.?)|tin"

RULES = (
    _rule("US social security number", r"\d{3}([- ]?)\d{2}\1\d{4}", "us.ssn",
          r"ssns?|social security|soc\.? sec\.?", r"\d{3}-"),
    _rule("US taxpayer number", r"9\d{2}([- ]?)\d{2}\1\d{4}", "us.itin", "itin" + _TAX),
    _rule("UK National Insurance number",
          r"[A-Z]{2}([ -]?)\d{2}\1\d{2}\1\d{2}\1[A-Z]|[A-Z]{2} \d{6} [A-Z]", "",
          r"ni|nino|national insurance|ni number",
          r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][\d -]+[A-D]"),
    _rule("UK NHS number", r"\d{3}([- ]?)\d{3}\1\d{4}", "gb.nhs", r"nhs(?: (?:number|no))?"),
    _rule("German tax id", r"\d{2}([ ]?)\d{3}\1\d{3}\1\d{3}", "de.idnr",
          r"steuer-?id(?:nummer|nr\.?)?|steuer-?identifikationsnummer|steuerliche identifikationsnummer"
          r"|identifikationsnummer|idnr\.?|steuernummer" + _TAX),
    _rule("German pension insurance number", r"\d{2}([ ]?)\d{6}\1[A-Z]\1\d{3}", "RVNR",
          r"(?:renten|sozial)?versicherungs-?(?:nummer|nr\.?)|sv-?(?:nummer|nr\.?)|rvnr", _ANY),
    _rule("French NIR", r"[12]([ ]?)\d{2}\1(?:0[1-9]|1[0-2]|[2-9]\d)\1(?:\d{2}|2[AB])\1\d{3}\1\d{3}\1\d{2}", "fr.nir",
          r"nir|s[ée]curit[ée] sociale|num[ée]ro de s[ée]cu", _ANY),
    _rule("Spanish DNI", r"\d{8}[- ]?[A-HJ-NP-TV-Z]", "es.dni", r"dni|nif|documento nacional", _ANY),
    _rule("Spanish NIE", r"[XYZ][- ]?\d{7}[- ]?[A-HJ-NP-TV-Z]", "es.nie", r"nie|nif", _ANY),
    _rule("Italian codice fiscale", r"[A-Z]{6}\d[\dLMNPQRSTUV][ABCDEHLMPRST][\dLMNPQRSTUV]{2}[A-Z][\dLMNPQRSTUV]{3}"
          r"[A-Z]",
          "it.codicefiscale", r"codice fiscale|c\.?f\.?", _ANY),
    _rule("Dutch BSN", r"\d{9}|\d{4}[. ]\d{2}[. ]\d{3}|\d{3} \d{3} \d{3}", "nl.bsn", r"bsn|burgerservicenummer"
        r"|sofi-?nummer"),
    _rule("Polish PESEL", r"\d{11}", "pl.pesel", r"pesel"),
    _rule("Brazilian CPF", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", "br.cpf", r"cpf", r"\d{3}\."),
    _rule("Indian Aadhaar number", r"[2-9]\d{3}([ -]?)\d{4}\1\d{4}", "in_.aadhaar", r"a+dha+r|uidai|uid|आधार"),
    _rule("Indian PAN", r"[A-Z]{3}P[A-Z]\d{4}[A-Z]", "in_.pan", r"pan|permanent account number|income tax", _ANY),
    _rule("Canadian SIN", r"\d{3}([- ]?)\d{3}\1\d{3}", "ca.sin", r"sin|social insurance|nas"),
    _rule("Swiss AHV number", r"756\.?\d{4}\.?\d{4}\.?\d{2}", "ch.ssn", r"ahv(?:-?(?:nummer|nr\.?))?|avs", r"756\."),
    _rule("Belgian national number", r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", "be.nn",
          r"rijksregister(?:nummer)?|registre national|num[ée]ro national", r"\d{2}\.\d{2}\.\d{2}-"),
    _rule("Swedish personnummer", r"(?:\d{2})?\d{6}[-+]?\d{4}", "se.personnummer",
          r"person(?:al )?-?(?:nummer|number)|pnr", r"\d{6,8}[-+]"),
    _rule("Finnish henkilötunnus", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", "fi.hetu", r"hetu|henkil[öo]tunnus", _ANY),
    _rule("Danish CPR number", r"\d{6}-?\d{4}", "dk.cpr", r"cpr(?:-?(?:nummer|nr\.?|number))?"),
    _rule("Norwegian fødselsnummer", r"\d{6} ?\d{5}", "no.fodselsnummer", r"f[øo]dselsnummer|personnummer|fnr", _ANY),
    _rule("Chilean RUT", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dKk]", "cl.rut", r"rut|run", r"\d{1,2}\."),
    _rule("Mexican CURP", r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{5}[A-Z\d]\d", "mx.curp", r"curp", _ANY),
    _rule("South African id number", r"\d{6} ?\d{4} ?[01][89]\d", "za.idnr", r"id(?:entity)?(?: number| no)?", _ANY),
    _rule("Chinese resident id", r"[1-9]\d{16}[\dXx]", "cn.ric", r"resident id|身份证(?:号码|号)?", _ANY),
    _rule("Korean resident number", r"\d{6}-[1-4]\d{6}", "kr.rrn", r"rrn|주민등록번호|resident registration", _ANY),
    _rule("Turkish id number", r"[1-9]\d{10}", "tr.tckimlik", r"t\.?c\.?|kimlik(?: no)?|tckn"),
    _rule("Romanian CNP", r"[1-9]\d{12}", "ro.cnp", r"cnp", _ANY),
    _rule("Czech or Slovak birth number", r"\d{6}/?\d{3,4}", "cz.rc", r"rodn[ée] [čc][íi]slo|r\.?č\.?", r"\d{6}/\d{4}"),
    _rule("Argentine CUIL", r"(?:20|23|24|27)-?\d{8}-?\d", "ar.cuit", r"cuil|cuit", r"\d{2}-"),
    _rule("Irish PPS number", r"\d{7}[A-W][A-IW]?", "ie.pps", r"pps(?:n|[ -]number)?"),
    _rule("Australian tax file number", r"\d{3}([ ]?)\d{3}\1\d{3}", "au.tfn", r"tfn|tax file"),
    _rule("Croatian OIB", r"\d{11}", "hr.oib", r"oib"),
    _rule("Israeli identity number", r"\d{9}", "il.idnr", r"teudat zehut|t\.?z\.?|ת\.ז|תעודת זהות|identity number"),
    _rule("Portuguese NIF", r"[123]\d{2} ?\d{3} ?\d{3}", "pt.nif", r"nif|contribuinte"),
    _rule("Bulgarian EGN", r"\d{10}", "bg.egn", r"egn|егн"),
    _rule("Estonian or Lithuanian id code", r"[1-6]\d{10}", "ee.ik", r"isikukood|asmens kodas"),
    _rule("Greek AMKA", r"\d{11}", "gr.amka", r"amka|αμκα"),
    _rule("Japanese My Number", r"\d{4}([ ]?)\d{4}\1\d{4}", "jp.in_", r"my ?number|マイナンバー|個人番号"),
)  # fmt: skip

# A document without a checksum is known by its name alone.
_DOCUMENT = re.compile(
    r"(?<!\w)(?:passport|passeport|reisepass|pasaporte|passaporto|driver'?s? licen[cs]e|driving licen[cs]e"
    r"|f[üu]hrerschein"
    r"|permis de conduire|carnet de conducir|patente di guida|personalausweis|identity card|id card|carte d'identit[ée]"
    r"|green card|visa number|alien registration)"
    r"(?:[ -]?(?:numbers?|nummer|nr|no|n\.?[°º]|num[ée]ro|n[úu]mero|numero|#))?\.?[ ]?(?:is|was|ist|est|es"
    r"|è)?[ ]?[:#=]?[ ]?"
    r"((?:[A-Z]{1,3}[ -])?[A-Z\d]{5,18})(?!\w)",
    re.IGNORECASE,
)  # fmt: skip


def find_national_ids(text: str) -> Iterator[Hit]:
    """Numbers of persons by the rules of some forty countries, and numbers of passports, cards and driving licences."""
    for rule in RULES:
        for match in rule.pattern.finditer(text):
            context = verdict_of_context(text, match.start(), match.end(), rule.cue, AGAINST)
            stands_alone = rule.alone is not None and rule.alone.match(match.group()) is not None
            if context < 0 or (context == 0 and not stands_alone) or not _is_right(rule.check, match.group()):
                continue
            checked = ", checksum right" if rule.check and rule.check != "us.ssn" else ", possible number"
            yield Hit("national_id", match.start(), match.end(), 1.0 if context else 0.8, rule.name + checked)
    for match in _DOCUMENT.finditer(text):
        if sum(map(str.isdigit, match.group(1))) >= 4:
            yield Hit("national_id", match.start(1), match.end(1), 0.8, "identity document")


def _is_right(check: str, printed: str) -> bool:
    """Whether the number keeps the rules of its country."""
    if check == "RVNR":
        return _is_rvnr(printed.replace(" ", ""))
    digits = [character for character in printed if character.isdigit()]
    if len(set(digits)) == 1:
        return False
    return not check or bool(import_module(f"stdnum.{check}").is_valid(printed))


def _is_rvnr(number: str) -> bool:
    """The German pension insurance number: area, date of birth, letter, serial, check digit (VKVV § 4)."""
    day, month = int(number[2:4]), int(number[4:6])
    if not (0 < day % 50 <= 31 and 0 < month <= 12):  # 50 is added to the day where a serial ran out
        return False
    letter = f"{ord(number[8]) - ord('A') + 1:02d}"
    figures = [int(digit) for digit in number[:8] + letter + number[9:11]]
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    products = (figure * weight for figure, weight in zip(figures, weights, strict=True))
    return sum(product // 10 + product % 10 for product in products) % 10 == int(number[11])
