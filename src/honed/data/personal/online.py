"""E-mail addresses, IP addresses, and web addresses that name or log in a person."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from honed.data.personal.context import words
from honed.data.personal.hit import Hit

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}\Z")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@])")
_EDGE = "!#$%&'*/=?^`{|}~.-"
# what stands before the @ of a picture for high-resolution screens, and after the @ of a package or a repository
_FILE_SUFFIXES = frozenset(
    ("png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "ts", "html", "htm", "py", "json", "xml", "txt",
     "csv", "pdf", "zip", "gz", "tgz", "md", "yml", "yaml", "exe", "dll")
)  # fmt: skip
_SPELLED_AT = re.compile(r"at[ ]?[)\]}]", re.IGNORECASE)
_SPELLED = re.compile(
    r"(?<![\w.])([\w.+-]{1,64})[ ]?[(\[{][ ]?at[ ]?[)\]}][ ]?"
    r"([\w-]{1,63}(?:[ ]?(?:\.|[(\[{][ ]?dot[ ]?[)\]}])[ ]?[\w-]{1,63}){0,4}[ ]?(?:\."
    r"|[(\[{][ ]?dot[ ]?[)\]}])[ ]?[a-z]{2,24})"
    r"(?!\w)",
    re.IGNORECASE,
)
_USER_INFO = re.compile(
    r"(?<![\w])(?:https?|ftps?|ssh|sftp|smb|rdp|wss?|mongodb|postgres(?:ql)?|mysql|redis"
    r"|amqp)(?:\+\w{1,8})?://[^\s/@:]{1,64}(?::[^\s/@]{0,64})?@[\w.-]{1,253}"
)
_PROFILE = re.compile(
    r"(?<![\w.@-])(?:https?://)?(?:[a-z]{2,3}\.|www\.|m\.)?(?:"
    r"linkedin\.com/(?:in|pub)/|(?:twitter|x|facebook|instagram|github|gitlab|snapchat|twitch|tumblr|pinterest)\.com/"
    r"|facebook\.com/profile\.php\?id=|(?:tiktok|threads|youtube|medium)\.(?:com|net)/@"
    r"|(?:old\.)?reddit\.com/u(?:ser)?/"
    r"|t\.me/|orcid\.org/|researchgate\.net/profile/|strava\.com/athletes/|vk\.com/|paypal\.me/|venmo\.com/)"
    r"([\w.%-]{2,64}[\w%])/?(?![\w/])",
    re.IGNORECASE,
)
_NO_PROFILE = re.compile(
    r"home|search|intent|share|about|login|signin|signup|explore|settings|features|pricing|help|privacy|terms|topics"
    r"|trending|marketplace|watch|groups|pages|events|gaming|policies|legal|contact|download|joinchat|hashtag"
)
_IP4 = re.compile(r"(?<![\w.:-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IP6 = re.compile(r"(?<![\w.:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?![\w:])")
_IP_CUE = words(
    r"ips?|ip[- ]?address(?:es)?|ipv4|ipv6|hosts?|server|ping(?:ed)?|adresse? ip|ip-adresse|direcci[oó]n ip"
    r"|log(?:ged)?[ -]?in|from"
)
_AS_VERSIONS = re.compile(r"\d+(?:\.\d+){2,3}[ ]?(?:to|and|or|->|-|,|through|via|bis|und|a)[ ]?\Z")
_VERSION = words(
    r"v|ver|versions?|releases?|build|firmware|driver|update|upgraded?|sections?|chapter|clause|paragraph|article|§"
    r"|table|figure"
    r"|appendix|software|kernel|chrome|firefox|edge|safari|android|windows|php|openssl|kapitel|abschnitt|versi[oó]n"
    r"|versione"
)
_LARGE_OCTET = 31


def find_emails(text: str) -> Iterator[Hit]:
    """E-mail addresses, in any script, also spelled `name (at) example (dot) org`; no packages, pictures, remotes."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL.search(text, max(0, at - 64), at) if domain else None
        if domain and local:
            start = local.start() + len(local.group()) - len(local.group().lstrip(_EDGE))
            name, after = text[start:at], text[domain.end() : domain.end() + 1]
            is_remote = name == "git" or (after == ":" and text[domain.end() + 1 : domain.end() + 2].isalpha())
            suffix = domain.group().rpartition(".")[2].lower()
            if name and name[-1] != "." and ".." not in name and not is_remote and suffix not in _FILE_SUFFIXES:
                yield Hit("email", start, domain.end(), 1.0)
        at = text.find("@", at + 1)
    for match in _SPELLED.finditer(text) if _SPELLED_AT.search(text) else ():
        yield Hit("email", match.start(), match.end(), 0.8, "spelled out")


def find_web_addresses(text: str) -> Iterator[Hit]:
    """Addresses of a person's page at well-known sites, and user names (with passwords) before a host."""
    for match in _USER_INFO.finditer(text):
        yield Hit("profile", match.start(), match.end(), 1.0, "login in a web address")
    for match in _PROFILE.finditer(text):
        if not _NO_PROFILE.fullmatch(match.group(1).lower()):
            yield Hit("profile", match.start(), match.end(), 0.9, "personal page")


def find_ip_addresses(text: str) -> Iterator[Hit]:
    """IPv4 and IPv6 addresses of machines; no loopback, broadcast or mask, no version or section number.

    Four small numbers with dots are a version or a section unless a word such as "IP" or "host" stands before.
    """
    versions: set[int] = set()
    for match in (*_IP4.finditer(text), *_IP6.finditer(text)):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            continue
        if address.version == 4:
            before = max(0, match.start() - 24)
            sibling = _AS_VERSIONS.search(text, before, match.start())
            if _VERSION.search(text, before, match.start()) or (sibling and sibling.start() in versions):
                versions.add(match.start())
                continue
            octets = address.packed
            is_network = octets[3] in (0, 255) or octets[0] in (0, *range(240, 256))
            is_small = max(octets) <= _LARGE_OCTET
            if is_network or (is_small and not _IP_CUE.search(text, before, match.start())):
                continue
        elif sum(map(bool, match.group().split(":"))) < 4:
            continue
        yield Hit("ip", match.start(), match.end(), 0.9, f"IPv{address.version}")
