"""Names of persons without a language model: titles, words that announce a name, and frequent given names.

Rare names without a title or an announcement are not found: those need named-entity recognition (`presidio`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from honed.data.personal.context import words
from honed.data.personal.hit import Hit


def _read_words() -> dict[str, frozenset[str]]:
    """The sections of name_words.txt."""
    sections: dict[str, set[str]] = {}
    for line in Path(__file__).with_name("name_words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[] "), set())
        elif line and not line.startswith("#"):
            section.update(line.split())
    return {name: frozenset(members) for name, members in sections.items()}


_WORDS = _read_words()
_GIVEN, _GIVEN_AND_WORD, _SURNAMES = _WORDS["given"], _WORDS["given-and-word"], _WORDS["surname"]
_NOT_A_NAME = _WORDS["not-a-name"]
_ROLES = _WORDS["role"] | {role.upper() for role in _WORDS["role"]}

_UP = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĻŁĽŃŅŇŐŒŘŚŞŠŢŤŪŮŰŲŹŻŽ"
_LOW = r"[^\W\d_A-ZÀ-ÖØ-Þ]"
_FIRST = rf"[{_UP}]{_LOW}{{1,24}}(?:-[{_UP}]{_LOW}{{1,24}})?"
_CAP = rf"(?:(?:Mc|Mac|O'|D'|L'|De|Di|Da|Le|La|Van)?{_FIRST}|[{_UP}](?:\.-?[{_UP}]){{0,2}}\.)"
_PARTICLE = r"(?:(?:van|von|der|den|de|del|della|di|da|dos|das|do|la|le|du|zu|bin|ibn|al|el|ter|ten) ){0,2}"
_NAME = rf"{_CAP}(?: ?(?<=\.){_CAP}| {_PARTICLE}{_CAP}){{0,3}}"
_WHOLE = re.compile(_NAME)
_SHOUTED = rf"(?:[{_UP}]\. ?){{0,3}}[{_UP}][{_UP}'-]{{1,24}}(?: (?:[{_UP}]\.|[{_UP}][{_UP}'-]{{1,24}})){{0,3}}"

_TITLE = re.compile(
    rf"(?<![\w.])(?P<title>{'|'.join(sorted(_WORDS['title'], key=len, reverse=True))})(?!\w)(?:\.ssa|\.ra)?\.?"
    rf"(?: (?:Dr|Prof|med|Ing|dr|habil|Justice|Judge)\b\.?){{0,2}} (?P<name>{_PARTICLE}(?:{_NAME}"
    rf"|(?<=[A-Z][A-Z]\. ){_SHOUTED}|(?<=[A-Z][A-Z] ){_SHOUTED}))"
)
_SAID = re.compile(
    r"(?<!\w)(?i:(?P<whose>[\w'-]{1,20} )?(?:full |first |last |given |family |maiden |sur|pre)?name(?: is|'s| was"
    r"| ?[:=])"
    r"|mein name ist|ich hei(?:ß|ss)e|je m'appelle|mon nom est|me llamo|mi nombre es|mi chiamo|il mio nome è"
    r"|o meu nome é|chamo-me|me chamo"
    r"|mijn naam is|ik heet|nazywam się|mam na imię|signed by:?|undersigned,?|unterzeichnet(?:e|er)?:?) {0,2}"
    rf"(?P<name>{_NAME})"
)
_ROLE = re.compile(
    rf"(?<!\w)(?:{'|'.join(sorted(_ROLES))})(?: [Nn]ame)? ?: {{0,2}}(?P<name>{_NAME})(?P<after>$|\s*[,;|\n(/<]|\s+-)?"
)
# Salutations and signatures, and parties of a case: any name, since it stands alone between the word and a mark.
_LETTER = re.compile(
    rf"(?<!\w)(?:(?:Dear|Hi|Hello|Lieber?|Sehr geehrter?|Cher|Chère|Estimad[oa]|Querid[oa]|Gentile"
    rf"|Car[oa]) (?P<name>{_NAME})(?=\s*[,!:\n]|\s*\Z)"
    r"|(?:[Rr]egards|[Ss]incerely|[Ff]aithfully|[Tt]ruly|[Bb]est [Ww]ishes|Grüßen|Grüße|Gruß|[Cc]ordialement"
    r"|[Ss]aludos|[Ss]aluti),?[ ]*\n\s*"
    rf"(?P<signed>{_NAME})(?=[ ]*(?:[\n,]|\Z)))"
)
_PARTY = re.compile(
    rf"(?<!\w)(?i:{'|'.join(sorted(_WORDS['party']))})s?,? (?P<name>{_CAP}(?: {_PARTICLE}{_CAP}){{1,3}})(?=,? ?[(,)])"
)
# What else may have a name: "product name: Aspirin"
_THINGS = words(
    r"product|file|brand|drug|generic|trade|company|project|domain|user|host|path|variable|function|class|column"
    r"|table|field|group|team|school|hospital"
    r"|street|city|place|country|song|book|movie|film|game|dog|cat|pet|horse|ship|code|display|common|scientific"
    r"|method|model|server|database|event|store"
    r"|restaurant|hotel|business|organi[sz]ation|medication|medicine|test|study|the"
)
# Right before a name that is a word too: "Hi Mark", "Regards,\nGrace", "spoke with May", "my son Will"
_ADDRESSED = re.compile(
    r"(?<!\w)(?:I am|I'm|[Tt]his is|[Dd]ear|Hi|Hello|Hey|Hallo|Lieber?|Bonjour|Hola|Ciao|Car[oa]|Cher|Chère"
    r"|Querid[oa]|Estimad[oa]|[Tt]hanks|[Tt]hank you"
    r"|[Rr]egards|[Ss]incerely|[Cc]heers|[Ll]ove|[Yy]ours(?: truly| faithfully)?|Grüßen?|Gruß|Cordialement|Saludos"
    r"|Saluti|called|named"
    r"|(?:spoke|talked|met|lives?|works?|speak) (?:to|with)|ask(?:ed)? for|married|told|son|daughter|wife|husband"
    r"|mother|father|brother|sister|friend"
    r"|colleague|neighbou?r|uncle|aunt)[,!.]?\s{1,2}\Z"
)
# Right after a name: an eponym ("Gilles de la Tourette's syndrome"), or what carries the name of a person ("Jules Stein
# Eye Institute"). "Maria's test" is one of Maria.
_CARRIER = re.compile(
    r"(?:'s?)?[ -](?i:syndrome|disease|nodule|phenomenon|sign|criteria|theorem|principle|equation|procedure|solution"
    r"|pouch)"
    r"s?(?!\w)|[ -](?:[A-Z]\w{1,19} )?(?i:test|score|scale|bag|hospital|institute|university|college|school"
    r"|foundation|street"
    r"|road|avenue|airport|station|forum|senate|pizza|hurricane|law|index|method|day)s?(?!\w)"
)

_WORD = re.compile(r"[^\W\d_]+")
_CAPITALISED = re.compile(rf"(?<![\w'-]){_FIRST}")
_REST = re.compile(rf"(?: [{_UP}]\.?(?= [{_UP}]))?(?: {_PARTICLE}{_CAP}){{0,3}}")
_FOLLOWING = re.compile(rf" ([{_UP}]{_LOW}{{3,24}})(?!\w)")
_MOST_REPEATED = 50


def find_names(text: str) -> Iterator[Hit]:
    """Names after a title ("Dr", "Frau"), after words that announce one, and those with a frequent given name.

    A given name that is a word too (May, Will, Mark, Jordan) counts where somebody is addressed or a frequent surname
    follows. The surname of a name that was found is found again wherever the text repeats it.
    """
    present = set(_WORD.findall(text))
    hits: list[Hit] = []
    if not present.isdisjoint(_WORDS["title"]):
        for match in _TITLE.finditer(text):
            # "M. Dupont" is a French gentleman, "Texas M. D. Anderson" an initial
            if match["title"] != "M" or not re.search(
                r"[A-Z][\w.]*,? \Z", text[max(0, match.start() - 24) : match.start()]
            ):
                hits.append(_hit(text, match, 0.9, "after a title"))
    if not present.isdisjoint(_WORDS["letter"]):
        for match in _LETTER.finditer(text):
            group = "name" if match["name"] else "signed"
            hits.append(_trimmed(text, match.start(group), match.end(group), 0.8, "in a letter"))
    lowered = set(map(str.lower, present))
    if not lowered.isdisjoint(_WORDS["party"]):
        hits += [_hit(text, match, 0.7, "a party") for match in _PARTY.finditer(text)]
    if not lowered.isdisjoint(_WORDS["saying"]):
        for match in _SAID.finditer(text):
            if not _is_thing(text, match.end("whose") if match["whose"] else match.start()):
                hits.append(_hit(text, match, 0.8, "announced"))
    if ":" in text and not present.isdisjoint(_ROLES):
        for match in _ROLE.finditer(text):
            first = match["name"].split()[0]
            is_whole = " " in match["name"] and match["after"] is not None
            if _is_thing(text, match.start()):
                continue
            if is_whole or first in _GIVEN or first in _GIVEN_AND_WORD:
                hits.append(_hit(text, match, 0.8, "announced"))
    if not (present.isdisjoint(_GIVEN) and present.isdisjoint(_GIVEN_AND_WORD)):
        hits += _frequent(text)
    found = [hit for hit in hits if hit.end > hit.start]
    yield from found
    yield from _repeated(text, found)


def is_written_like_a_name(text: str) -> bool:
    """Whether capitals and particles are those of a name, and no word of it is known to be none ("Mark" alone is)."""
    words_of_name = text.split(" ")
    is_word = len(words_of_name) == 1 and text in _GIVEN_AND_WORD
    return _WHOLE.fullmatch(text) is not None and not is_word and _NOT_A_NAME.isdisjoint(words_of_name)


def _is_thing(text: str, end: int) -> bool:
    """Whether the word that ends here says that something else than a person is named."""
    return _THINGS.fullmatch(text[max(0, end - 24) : end].rstrip().rpartition(" ")[2].rpartition("\n")[2]) is not None


def _frequent(text: str) -> Iterator[Hit]:
    """Names that begin with a frequent given name."""
    position = 0
    for match in _CAPITALISED.finditer(text):
        first = match.group().partition("-")[0]
        is_given = first in _GIVEN
        if match.start() < position or not (is_given or first in _GIVEN_AND_WORD):
            continue
        rest = _REST.match(text, match.end())
        hit = _trimmed(text, match.start(), rest.end() if rest else match.end(), 0.7, "a frequent given name")
        before = text[max(0, match.start() - 12) : match.start()].rstrip(" ").rpartition(" ")[2].strip(".(\n")
        following = _FOLLOWING.match(text, hit.end) if hit.end == match.end() else None
        is_place = following is not None and following[1] in _NOT_A_NAME
        if is_place or before in _WORDS["before-a-place"] or _CARRIER.match(text, hit.end):
            continue
        if not is_given:
            last = text[match.end() : hit.end].rpartition(" ")[2].partition("-")[0]
            is_addressed = _ADDRESSED.search(text, max(0, match.start() - 24), match.start()) is not None
            is_word = hit.end == match.end() and re.match(r" [^\W\d]|[.,]? ?\d", text[hit.end : hit.end + 4])
            if last not in _SURNAMES and (is_word or not is_addressed):
                continue
        position = hit.end
        yield hit


def _repeated(text: str, found: list[Hit]) -> Iterator[Hit]:
    """Other places where the last word of a name stands, if it is no word of the language that is known to be one."""
    last = {text[hit.start : hit.end].rpartition(" ")[2] for hit in found}
    last = {word for word in last if len(word) > 3 and word.isalpha() and word not in _GIVEN_AND_WORD}
    if not last or len(last) > _MOST_REPEATED:
        return
    for match in re.finditer(rf"(?<![\w'-])(?:{'|'.join(map(re.escape, sorted(last)))})(?![\w-])", text):
        if not _CARRIER.match(text, match.end()):
            yield Hit("name", match.start(), match.end(), 0.6, "repeated")


def _hit(text: str, match: re.Match[str], score: float, detail: str) -> Hit:
    return _trimmed(text, match.start("name"), match.end("name"), score, detail)


def _trimmed(text: str, start: int, end: int, score: float, detail: str) -> Hit:
    """The name up to the first word that is none; an empty hit if nothing but initials is left."""
    stop = start
    for match in re.finditer(r"[^ ]+", text[start:end]):
        if match.group().strip(".,'").capitalize() in _NOT_A_NAME:
            break
        stop = start + match.end()
    name = text[start:stop]
    if not re.search(rf"[{_UP}][^\W\d_]", name):
        return Hit("name", start, start, score)
    if name.endswith("."):  # the end of a sentence, unless it belongs to an initial
        stop -= len(name.rpartition(" ")[2]) > 2
    return Hit("name", start, stop, score, detail)
