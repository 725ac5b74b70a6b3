"""What stands around a candidate: words that speak for it or against it."""

from __future__ import annotations

import re

_BEFORE = 48
# "... (mobile)", "... is my phone": what may stand between a number and the word that says what it is.
_AFTER = re.compile(
    r"[ )\]]{0,2}[-(\[]?[ ]?(?:(?:is|was|as|ist|est|es)[ ])?(?:(?:my|his|her|our|their|the|your|a|meine?|mon|mi)[ ])?",
    re.IGNORECASE,
)

# Numbers of things: an order, a parcel, a product is no person, whatever its checksum says.
_THINGS = (
    r"orders?|invoices?|tracking|parcel|shipment|consignment|waybill|serial|s/n|imei|isbn|issn|ean|upc|gtin|barcode|sku"
    r"|parts?|items?|articles?|products?|model|batch|lot|tickets?|booking|confirmation|transaction|reference|ref"
    r"|case|docket|version|build|commit|hash|checksum|doi|pmid|nct|catalogu?e|asset|device|firmware|sample|accession"
    r"|receipt|voucher|coupon|licen[cs]e key|bestell\w*|rechnung\w*|artikel\w*|auftrag\w*|sendung\w*|paket\w*"
    r"|seriennummer|commande|facture|colis|article|pedido|factura|art[ií]culo|env[ií]o|ordine|fattura|spedizione"
    r"|articolo"
)


# A number, and what may stand between two numbers that one word announces.
_NUMBER = re.compile(r"\d(?:[ ./()-]{0,2}\d){4,}")
_LIST = re.compile(r"[ ,;/]*(?:or|and|oder|und|ou|et|o|y|e)?[ ]*")


def words(pattern: str) -> re.Pattern[str]:
    """Whole words, in any case."""
    return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)


def verdict_of_context(text: str, start: int, end: int, cue: re.Pattern[str], against: re.Pattern[str]) -> int:
    """+1 if a cue speaks for text[start:end], -1 if a word speaks against it, 0 if neither is near.

    Before the candidate the nearer of the two decides; right after it only a cue counts.
    """
    between = _AFTER.match(text, end)
    if between is not None and cue.match(text, between.end()):
        return 1
    low = max(0, start - _BEFORE)
    # A number in between takes the words before it to itself, unless the two are a list.
    for number in _NUMBER.finditer(text, low, start):
        if number.end() < start and not _LIST.fullmatch(text, number.end(), start):
            low = number.end()
    nearest_cue = max((match.end() for match in cue.finditer(text, low, start)), default=-1)
    nearest_against = max((match.end() for match in against.finditer(text, low, start)), default=-1)
    if nearest_cue < 0 and nearest_against < 0:
        return 0
    return 1 if nearest_cue >= nearest_against else -1


AGAINST = words(_THINGS)
