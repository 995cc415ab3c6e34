"""Secrets in the headers of HTTP: credentials, cookies, keys (RFC 9110 section 11, RFC 6265)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator

from kebpf.recording.redaction.assignments import Assignments, looks_drawn
from kebpf.recording.redaction.names import PASSWORD, TOKEN
from kebpf.recording.redaction.spans import BASE64, RAW, URL, Span, decode

Finder = Callable[[str], Iterable[Span]]

_CREDENTIALS = ("authorization", "proxy-authorization")
_SCHEME = re.compile(r"\s*(?P<scheme>[\w!#$%&'*+.^`|~-]+) +(?P<rest>\S.*)", re.DOTALL)
_DIGEST_PARTS = re.compile(r"\b(?:response|cnonce)=\"?(?P<value>[^\",\s]+)", re.IGNORECASE)
_SIGNATURE = re.compile(r"\bSignature=\"?(?P<value>[^\",\s]+)", re.IGNORECASE)
_COOKIE = re.compile(
    r"(?:\A|(?<=;)|(?<=,)) *(?P<name>[^=;,\s]+)=(?P<quote>\"?)(?P<value>[^;\"\s]+)"
)
_SESSION_NAME = re.compile(
    r"(?i).*(?:sess(?:ion)?(?:[_.-]?id)?|sid|auth|token|jwt|csrf|xsrf|remember(?:[_.-]?me)?"
    r"|login|credential|connect\.sid|secret)s?"
)
_SIGNED = re.compile(r"(?:s(?::|%3A))?[\w+/=%-]{2,}(?:\.[\w+/=%-]{2,}){1,3}|eyJ[\w-]{8,}.*")
_LEAST_COOKIE = 6  # characters of a value that a name alone tells to be a secret


class Headers:
    """Gives for each name of a header the finder of its secrets."""

    def __init__(self, assignments: Assignments) -> None:
        self._assignments = assignments
        self._finders: dict[str, Finder | None] = {}

    def finder_of(self, name: str) -> Finder | None:
        """``None`` for a header that holds none by its name."""
        if name not in self._finders:
            if len(self._finders) > 1000:
                self._finders.clear()
            self._finders[name] = self._choose(name.lower())
        return self._finders[name]

    def _choose(self, name: str) -> Finder | None:
        if name in _CREDENTIALS:
            return find_credentials
        if name == "cookie":
            return self._find_cookies
        if name == "set-cookie":
            return self._find_set_cookie
        if name in ("referer", "location", "content-location", "origin", "link"):
            return lambda text: self._assignments.find_pairs(text, URL)
        is_telling = self._assignments.is_telling(name)
        return (lambda text: self._find_whole(name, text)) if is_telling else None

    def _find_whole(self, name: str, text: str) -> Iterator[Span]:
        kind = self._assignments.judge(name, text)
        if kind is not None:
            yield Span(0, len(text), text, kind)

    def _find_cookies(self, text: str) -> Iterator[Span]:
        for found in _COOKIE.finditer(text):
            yield from self._judge_cookie(found)

    def _find_set_cookie(self, text: str) -> Iterator[Span]:
        found = _COOKIE.match(text)
        if found is not None:
            yield from self._judge_cookie(found)

    def _judge_cookie(self, found: re.Match[str]) -> Iterator[Span]:
        """A cookie is a secret by its name, or if its value was drawn or signed."""
        name, written = found["name"], found["value"]
        style = URL if "%" in written else RAW
        value = decode(written, style)
        is_named = _SESSION_NAME.fullmatch(name) is not None and len(value) >= _LEAST_COOKIE
        is_secret = is_named or _is_signed(value) or looks_drawn(value)
        if is_secret and not self._assignments.keeps(name):
            yield Span(*found.span("value"), value, TOKEN, style)


def _is_signed(value: str) -> bool:
    return _SIGNED.fullmatch(value) is not None and looks_drawn(re.split(r"[.:]", value)[-1])


def find_credentials(text: str) -> Iterator[Span]:
    """Of any scheme; of Basic the password, in base64 with the user's name."""
    found = _SCHEME.fullmatch(text)
    if found is None:
        yield Span(0, len(text), text, TOKEN)
        return
    scheme, rest, start = found["scheme"].lower(), found["rest"], found.start("rest")
    if scheme == "basic" and (password := _password_of(rest)):
        yield Span(start, len(text), password, PASSWORD, BASE64)
    elif scheme == "digest":
        yield from _find_parts(_DIGEST_PARTS, text)
    elif scheme.startswith("aws4-") or "signature=" in rest.lower():
        yield from _find_parts(_SIGNATURE, text)
    else:
        yield Span(start, len(text), rest, TOKEN)


def _find_parts(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for part in pattern.finditer(text):
        yield Span(*part.span("value"), part["value"], TOKEN)


def _password_of(text: str) -> str:
    try:
        return base64.b64decode(text + "==").decode().partition(":")[2]
    except (ValueError, binascii.Error):
        return ""


def find_password(text: str) -> Iterator[Span]:
    """In ``user:password``."""
    start = text.find(":") + 1
    if start:
        yield Span(start, len(text), text[start:], PASSWORD)
