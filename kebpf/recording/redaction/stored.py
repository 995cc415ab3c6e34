"""Passwords as databases keep them: recognised, checked, and made anew for what stands for them.

A program that checks a password against a hash in a database's answer would refuse what stands for
the password.  Where the hash proves to be that password's, the recording gets one of the stand-in,
made in the same way with the same salt, so that the check comes out as it did.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

MOST_SECONDS = 20.0  # of processor time a set, on proving; after that nothing is proved
MOST_ROUNDS = 100_000  # of PBKDF2 where nothing says how many there were
_MOST_TOLD_ROUNDS = 2_000_000
_MOST_COST = 14  # of bcrypt: the logarithm of its rounds
_MOST_MEMORY = 256 << 20  # bytes that scrypt may take

_STORED = re.compile(
    r"(?P<head>\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{22}"  # bcrypt: cost, salt
    r"|\$(?:argon2(?:id|i|d)|pbkdf2(?:-\w+)?|scrypt|7|y|gy|[156]|sha1|apr1)\$(?:[^$\s]+\$)+"
    r"|(?:pbkdf2_\w+|scrypt|argon2|bcrypt(?:_sha256)?|md5|sha1)\$(?:[^$\s]*\$)+"  # Django
    r"|(?:scrypt|pbkdf2)(?::\w+)*\$[^$\s]+\$"  # Werkzeug
    r"|SCRAM-SHA-256\$\d+:[^$\s]+\$)"
    r"(?P<digest>[A-Za-z0-9./+=:_-]{16,})"
)
_CRYPT = re.compile(r"\$(?:2[abxy]?|[156]|y|gy|7)\$.+")
_DJANGO = re.compile(r"pbkdf2_(sha1|sha256)\$(\d+)\$([^$]+)\$(.+)")
_PASSLIB = re.compile(r"\$pbkdf2(?:-(sha1|sha256|sha512))?\$(\d+)\$([^$]+)\$(.+)")
_WERKZEUG = re.compile(r"pbkdf2:(sha1|sha256|sha512)(?::(\d+))?\$([^$]+)\$([0-9a-f]+)")
_SCRYPT = re.compile(r"scrypt:(\d+):(\d+):(\d+)\$([^$]+)\$([0-9a-f]+)")
_SEPARATOR = re.compile(r"[$:](?=[^$:]+\Z)")
_USUAL_COSTS = (1 << 14, 1 << 10, 1 << 12, 1 << 15)  # of scrypt where nothing says which
_PLAIN_SIZES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hexadecimal digits
_BYTES = {20: "sha1", 32: "sha256", 64: "sha512"}

Make = Callable[[str], str]  # the hash of a password, as it is stored


class Stored(NamedTuple):
    """A hash beside which other values stand in its row, of which one may be its salt."""

    text: str
    beside: tuple[str, ...] = ()


def split_stored(text: str) -> tuple[str, str]:
    """How a password was hashed, with its salt, and the hash; both empty for any other text."""
    found = _STORED.fullmatch(text)
    return (found["head"], found["digest"]) if found else ("", "")


def looks_stored(text: str) -> bool:
    """Whether a text may be a password's hash."""
    if split_stored(text)[1] or _decode_digest(text) is not None:
        return True
    mark = _SEPARATOR.search(text)
    return mark is not None and _decode_digest(text[mark.end() :]) is not None


class Prover:
    """Makes hashes anew for as long as there is time for it."""

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self._left = seconds
        self._tried: set[tuple[str, str]] = set()

    def remake(
        self, password: str, stored: Stored, new: str, stand_in: Callable[[str], str]
    ) -> str | None:
        """The hash of ``new`` if the stored one is the password's; ``None``: not, or not known.

        ``stand_in`` gives what stands for a salt.
        """
        if self._left <= 0 or (password, stored.text) in self._tried:
            return None
        self._tried.add((password, stored.text))
        begun = time.process_time()
        try:
            return self._remake(password, stored, new, stand_in)
        finally:
            self._left -= time.process_time() - begun

    def _remake(
        self, password: str, stored: Stored, new: str, stand_in: Callable[[str], str]
    ) -> str | None:
        make = choose_maker(stored.text)
        if make is not None:
            return make(new) if _is_same(make(password), stored.text) else None
        mark = _SEPARATOR.search(stored.text)
        if mark is not None:  # of a scheme of the program's own: salt and hash, perhaps
            head, digest = stored.text[: mark.start()], stored.text[mark.end() :]
            salt = re.split(r"[$:]", head)[-1]
            found = _find_salted(password, salt, digest)
            return None if found is None else head + mark.group() + found(new, salt)
        for salt in stored.beside:
            found = _find_salted(password, salt, stored.text)
            if found is not None:
                return found(new, stand_in(salt))
        return None


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def choose_maker(stored: str) -> Make | None:
    """What hashes as the stored text says of itself; ``None`` if it does not, or nothing here can.

    bcrypt and crypt(3), Django, Werkzeug, passlib.
    """
    if _is_too_dear(stored):
        return None
    if _CRYPT.fullmatch(stored):
        return lambda password: _crypt(password, stored)
    if found := _DJANGO.fullmatch(stored):
        name, rounds, salt, _ = found.groups()
        head = stored.rpartition("$")[0]
        return lambda text: f"{head}${_b64(_pbkdf2(name, text, salt.encode(), int(rounds)))}"
    if found := _WERKZEUG.fullmatch(stored):
        name, rounds, salt, _ = found.groups()
        head = stored.rpartition("$")[0]
        count = int(rounds or 150_000)
        return lambda text: f"{head}${_pbkdf2(name, text, salt.encode(), count).hex()}"
    if found := _SCRYPT.fullmatch(stored):
        return _choose_scrypt(stored, found)
    if found := _PASSLIB.fullmatch(stored):
        return _choose_passlib(stored, found)
    return None


def _is_too_dear(stored: str) -> bool:
    """Whether it says of itself that it takes longer than a recorder has."""
    if stored.startswith("$2"):
        return int(stored.split("$")[2]) > _MOST_COST
    told = re.findall(r"(?:rounds=|\$|:)(\d{5,})\$", stored[:200])
    return any(int(rounds) > _MOST_TOLD_ROUNDS for rounds in told)


def _choose_scrypt(stored: str, found: re.Match[str]) -> Make | None:
    cost, block, lanes = (int(found[number]) for number in (1, 2, 3))
    if 128 * cost * block > _MOST_MEMORY:
        return None
    head, salt, size = stored.rpartition("$")[0], found[4].encode(), len(found[5]) // 2
    return lambda text: (
        f"{head}$"
        + hashlib.scrypt(
            text.encode(), salt=salt, n=cost, r=block, p=lanes, maxmem=2 * _MOST_MEMORY, dklen=size
        ).hex()
    )


def _choose_passlib(stored: str, found: re.Match[str]) -> Make | None:
    salt = _from_b64(found[3].replace(".", "+"))
    if salt is None:
        return None
    name, rounds, head = found[1] or "sha1", int(found[2]), stored.rpartition("$")[0]
    return lambda text: (
        f"{head}$" + _b64(_pbkdf2(name, text, salt, rounds)).rstrip("=").replace("+", ".")
    )


def _pbkdf2(name: str, password: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, password.encode(), salt, rounds)


def _load_crypt() -> Callable[[bytes, bytes], bytes | None] | None:
    """crypt(3) of the host's library, which knows bcrypt and what the host's own passwords are."""
    with suppress(OSError, AttributeError):
        function = ctypes.CDLL("libcrypt.so.1").crypt
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        return function
    return None


_LIBRARY = _load_crypt()  # at once: a process that is confined later could not


def _crypt(password: str, setting: str) -> str:
    made = None
    if _LIBRARY is not None and "\0" not in password:
        made = _LIBRARY(password.encode(), setting.encode())
    return "" if made is None else made.decode("ascii", "replace")


Salted = Callable[[str, str], str]  # the hash of a password with a salt


def _find_salted(password: str, salt: str, stored: str) -> Salted | None:
    """How a hash was made of a password and a salt that stands beside it, if that can be told."""
    digest = _decode_digest(stored)
    if digest is None or not salt:
        return None
    name = _PLAIN_SIZES.get(2 * len(digest))
    if name is None:
        return None

    def write(data: bytes) -> str:
        return data.hex() if len(stored) == 2 * len(digest) else _b64(data)

    for is_before in (True, False):
        join = _join_before if is_before else _join_behind
        if hashlib.new(name, join(password, salt), usedforsecurity=False).digest() == digest:
            return lambda text, other: write(
                hashlib.new(name, join(text, other), usedforsecurity=False).digest()
            )
    return _find_slow(name, password, salt, digest, write) if len(digest) in _BYTES else None


def _find_slow(
    name: str, password: str, salt: str, digest: bytes, write: Callable[[bytes], str]
) -> Salted | None:
    """The same of scrypt and PBKDF2; the salt may be written in hexadecimal or base64."""
    for read in (str.encode, bytes.fromhex, _need_b64):
        with suppress(ValueError, binascii.Error):
            for cost in _USUAL_COSTS:
                if _scrypt(password, read(salt), cost, len(digest)) == digest:
                    return lambda text, other: write(_scrypt(text, read(other), cost, len(digest)))
            rounds = count_rounds(name, password.encode(), read(salt), digest)
            if rounds:
                return lambda text, other: write(_pbkdf2(name, text, read(other), rounds))
    return None


def _scrypt(password: str, salt: bytes, cost: int, size: int) -> bytes:
    memory = 256 * cost * 8
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=8, p=1, maxmem=memory, dklen=size)


def _join_before(password: str, salt: str) -> bytes:
    return f"{salt}{password}".encode()


def _join_behind(password: str, salt: str) -> bytes:
    return f"{password}{salt}".encode()


def count_rounds(name: str, password: bytes, salt: bytes, digest: bytes) -> int:
    """How many rounds of PBKDF2 (RFC 8018, 5.2) give this digest, 0 if not so few.

    Each round adds to what the one before came to, so one look at all of them is enough.
    """
    keyed = hmac.new(password, digestmod=name)

    def sign(data: bytes) -> bytes:
        one = keyed.copy()
        one.update(data)
        return one.digest()

    last = sign(salt + b"\0\0\0\1")
    wanted, reached = int.from_bytes(digest, "big"), int.from_bytes(last, "big")
    for number in range(1, MOST_ROUNDS + 1):
        if reached == wanted:
            return number
        last = sign(last)
        reached ^= int.from_bytes(last, "big")
    return 0


def _decode_digest(text: str) -> bytes | None:
    """The bytes of a digest in hexadecimal or base64, ``None`` for what is none."""
    with suppress(ValueError):
        data = bytes.fromhex(text)
        return data if 2 * len(data) in _PLAIN_SIZES else None
    data = _from_b64(text) or b""
    return data if len(data) in _BYTES else None


def _need_b64(text: str) -> bytes:
    data = _from_b64(text)
    if data is None:
        raise ValueError("it is not base64")
    return data


def _from_b64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pair_stored(values: Sequence[str]) -> Iterator[Stored]:
    """The hashes among the secret values of a row, each with the others."""
    for number, value in enumerate(values):
        if looks_stored(value):
            yield Stored(value, tuple(values[:number]) + tuple(values[number + 1 :]))
