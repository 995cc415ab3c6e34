"""Secrets that tell by their form: e-mail addresses, payment cards, tokens of well-known makers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kebpf.recording.redaction.names import CARD, EMAIL, KEY, PASSWORD, TOKEN
from kebpf.recording.redaction.spans import JSON, RAW, URL, Span, decode

_ESCAPED = r"\\u[0-9A-Fa-f]{4}"  # a letter in JSON
_EMAIL = re.compile(
    r"(?:(?<![\w.+%\\-])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrtbf])|(?<=\\u00[0-3][0-9A-Fa-f]))"
    rf"(?P<local>(?:\w|{_ESCAPED}|%[89A-Fa-f][0-9A-Fa-f])(?:[\w.+-]|{_ESCAPED}|%2[Bb]|%[89A-Fa-f][0-9A-Fa-f]){{0,63}})"
    r"(?P<at>@|%40)(?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?!(?:png|jpe?g|gif|svg|webp|js|css|json|html|map)(?![A-Za-z]))[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9-]|\.[A-Za-z0-9])"
)
_JWT = r"eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]{16,}"
_MAKERS = re.compile(  # the beginning is what tells whose a token is, and stays
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_\w{22,251}"
    r"|glpat-[\w-]{20,64}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}|dop_v1_[0-9a-f]{64}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-\d-[A-Za-z0-9-]{10,250}"  # Slack
    r"|(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{10,247}|whsec_[A-Za-z0-9+/=]{24,}"  # Stripe
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{28}"  # Google
    r"|sk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,200}|SG\.[\w-]{22}\.[\w-]{43}|hf_[A-Za-z0-9]{34}"
    rf"|{_JWT})",
    re.ASCII,
)
_PREFIX = re.compile(
    r"(?:AKIA|ASIA|AROA|AIDA|gh[pousr]_|github_pat_|glpat-|npm_|pypi-|dop_v1_|xox[abeoprs]-|xapp-"
    r"|(?:sk|rk)_(?:live|test)_|whsec_|AIza|ya29\.|GOCSPX-|sk-(?:proj-|ant-)?|SG\.|hf_)"
)
_SIGNS = ("eyJ", "AKIA", "ASIA", "AROA", "AIDA", "AIza")
_SIGNS_BESIDE = {  # such a one is there only if the character is
    "_": ("gh", "npm_", "dop_v1_", "_live_", "_test_", "whsec_", "hf_"),
    "-": ("glpat-", "pypi-", "xox", "xapp-", "GOCSPX-", "sk-", "PRIVATE KEY"),
    ".": ("ya29.", "SG."),
}
_LEAST_CARD = 14  # characters
_LEAST_TOKEN = 18
_PEM = re.compile(
    r"-----BEGIN (?P<what>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----(?P<key>.+?)"
    r"-----END (?P=what)-----",
    re.DOTALL,
)
_CARD = re.compile(
    r"(?<![\w.%-])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d|64[4-9]\d|35[2-8]\d)"
    r"(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?P=gap)\d{4}"
    r"|3[47]\d\d(?P<other>[ -]?)\d{6}(?P=other)\d{5}|3(?:0[0-5]|[68]\d)\d(?P<third>[ -]?)\d{6}"
    r"(?P=third)\d{4})(?![\w-]|\.\d)",
    re.ASCII,
)
_CARD_LIKE = re.compile(  # quicker: it begins with characters that are seldom there
    r"[2-6](?<![\w.%-].)\d{3}[ -]?(?:\d{4}[ -]?\d{4}[ -]?\d{4}|\d{6}[ -]?\d{4})", re.ASCII
)
_USERINFO = re.compile(r"://(?P<user>[^/?#\s:@\"'<>\\]*):(?P<password>[^/?#\s@\"'<>\\]+)@")
_EXAMPLES = re.compile(r"(?:.+\.)?(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)")
_LEAST_EXAMPLE = 9  # characters of a domain for which there is one of that length in .example


def may_hold_forms(text: str) -> bool:
    """Whether `find_forms` may find something, at a small part of its price."""
    if "@" in text or "%40" in text:
        return True
    size = len(text)
    if size >= _LEAST_CARD and _CARD_LIKE.search(text) is not None:
        return True
    return size >= _LEAST_TOKEN and _may_hold_tokens(text)


def _may_hold_tokens(text: str) -> bool:
    if any(sign in text for sign in _SIGNS):
        return True
    beside = (signs for mark, signs in _SIGNS_BESIDE.items() if mark in text)
    return any(sign in text for signs in beside for sign in signs)


def find_forms(text: str) -> Iterator[Span]:
    """All that tells by itself; some may overlap."""
    if "@" in text or "%40" in text:
        yield from _find_addresses(text)
    if _may_hold_tokens(text):
        for found in _MAKERS.finditer(text):
            kind = TOKEN if found.group().startswith("eyJ") else KEY
            yield Span(*found.span(), found.group(), kind)
        for found in _PEM.finditer(text):
            yield _span_of(found, "key", KEY)
    for found in _CARD.finditer(text):
        if has_valid_sum(found.group()):
            yield Span(*found.span(), found.group(), CARD)


def _find_addresses(text: str) -> Iterator[Span]:
    """The passwords of URLs, and e-mail addresses."""
    if "://" in text:
        for found in _USERINFO.finditer(text):
            yield _span_of(found, "password", PASSWORD, URL)
    for found in _EMAIL.finditer(text):
        style = URL if "%" in found.group() else JSON if "\\" in found.group() else RAW
        yield Span(*found.span(), decode(found.group(), style), EMAIL, style)


def _span_of(found: re.Match[str], group: str, kind: str, style: str = RAW) -> Span:
    return Span(*found.span(group), decode(found.group(group), style), kind, style)


def has_valid_sum(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1, annex B)."""
    return _sum_digits(text) % 10 == 0


def _sum_digits(text: str) -> int:
    digits = [int(one) for one in reversed(text) if one.isdigit()]
    return sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])


def is_email(text: str) -> bool:
    return "@" in text and _EMAIL.fullmatch(text) is not None


def is_card(text: str) -> bool:
    return _CARD.fullmatch(text) is not None and has_valid_sum(text)


def split_prefix(text: str) -> tuple[str, str]:
    """What tells whose token it is, and the rest, which is the secret."""
    found = _PREFIX.match(text) if _MAKERS.fullmatch(text) else None
    return (text[: found.end()], text[found.end() :]) if found else ("", text)


def card_places(text: str) -> tuple[frozenset[int], int]:
    """The places in a card's number that stay, and the one that makes its sum right.

    The first six and the last four may be kept and shown (PCI DSS, requirement 3.4).
    """
    digits = [place for place, one in enumerate(text) if one.isdigit()]
    return frozenset((*digits[:6], *digits[-5:])), digits[-5]


def correct_sum(text: str, place: int) -> str:
    """The card's number with the digit at ``place`` such that its sum is right."""
    for digit in "0123456789":
        changed = text[:place] + digit + text[place + 1 :]
        if has_valid_sum(changed):
            return changed
    return text  # unreachable: each digit gives another sum


def is_example_domain(domain: str) -> bool:
    """Whether nobody's mail goes there (RFC 2606)."""
    return _EXAMPLES.fullmatch(domain.lower()) is not None


def split_domain(domain: str) -> tuple[str, str]:
    """The part of a domain that is to be changed, and the reserved ending for what it becomes.

    Together they are as long as the domain, if that is long enough.
    """
    ending = ".example" if len(domain) >= _LEAST_EXAMPLE else ".test"
    label = re.sub(r"[^A-Za-z0-9]", "x", domain[: max(1, len(domain) - len(ending))])
    return label, ending
