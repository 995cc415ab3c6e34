"""A keyed permutation of texts of one shape: another text of the same shape, the same each time.

A Feistel network over numbers of mixed radix, as in format-preserving encryption (the FFX mode of
NIST SP 800-38G's drafts).  A digit stays a digit, a letter a letter of its case, all else stays;
what is hexadecimal stays so.  No two texts of one shape become the same.  The key is forgotten
with the process, so nobody can turn it back.
"""

from __future__ import annotations

import hashlib
import re
import string

ROUNDS = 8
MOST_PERMUTED = 512  # characters; a longer text is enciphered by a stream that it seeds

_LETTERS = string.ascii_lowercase
_HEX = "0123456789abcdef"
_LATIN = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþ"  # two bytes in UTF-8
_WIDE_START, _WIDE_SIZE = 0x4E00, 20_900  # CJK unified ideographs: three bytes
_FAR_START, _FAR_SIZE = 0x20000, 40_000  # of extension B: four
_HEXADECIMAL = re.compile(r"(?=[0-9-]*[A-Fa-f])(?:[0-9a-f-]{6,}|[0-9A-F-]{6,})", re.ASCII)


class Permutation:
    """``key`` is secret; ``permute`` gives what stands for a text."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, digest_size=32, person=b"kebpf-redact").digest()

    def permute(self, text: str, tweak: str = "", keep: frozenset[int] = frozenset()) -> str:
        """What stands for ``text``; the places in ``keep`` stay.

        With another ``tweak`` it is another permutation.
        """
        letters = _choose_letters(text)
        digits, radices = [], []
        for place, character in enumerate(text):
            digit, radix = (0, 1) if place in keep else _read(character, letters)
            digits.append(digit)
            radices.append(radix)
        seed = f"{len(letters)}{tweak}".encode(errors="replace")
        if len(text) > MOST_PERMUTED:
            changed = self._encipher(text, digits, radices, seed)
        else:
            changed = self._exchange(digits, radices, seed)
        each = zip(text, changed, radices, strict=True)
        return "".join(_write(character, digit, radix, letters) for character, digit, radix in each)

    def _exchange(self, digits: list[int], radices: list[int], seed: bytes) -> list[int]:
        half = len(digits) // 2
        left, left_size = _to_number(digits[:half], radices[:half])
        right, right_size = _to_number(digits[half:], radices[half:])
        for number in range(ROUNDS):
            if number % 2:
                left = (left + self._draw(seed, number, right, left_size)) % left_size
            else:
                right = (right + self._draw(seed, number, left, right_size)) % right_size
        return _to_digits(left, radices[:half]) + _to_digits(right, radices[half:])

    def _draw(self, seed: bytes, number: int, other: int, size: int) -> int:
        """A number below ``size``, as good as drawn: 16 bytes more than it needs."""
        data = other.to_bytes(other.bit_length() // 8 + 1, "big")
        hashed = hashlib.shake_256(self._key + bytes((number, len(seed) & 255)) + seed + data)
        return int.from_bytes(hashed.digest(size.bit_length() // 8 + 17), "big") % size

    def _encipher(self, text: str, digits: list[int], radices: list[int], seed: bytes) -> list[int]:
        stream = hashlib.shake_256(self._key + seed + text.encode(errors="replace"))
        drawn = stream.digest(4 * len(digits))
        return [
            (digit + int.from_bytes(drawn[4 * place : 4 * place + 4], "big")) % radix
            for place, (digit, radix) in enumerate(zip(digits, radices, strict=True))
        ]


def _choose_letters(text: str) -> str:
    """What its digits and letters may become: those of hexadecimal, if it is such."""
    if _HEXADECIMAL.fullmatch(text) is None:
        return _LETTERS
    return _HEX.upper() if text.isupper() else _HEX


def _read(character: str, letters: str) -> tuple[int, int]:
    """The number of a character within those it may become, and how many these are."""
    lowered = character.lower()
    if letters is not _LETTERS and character != "-":
        return _HEX.index(lowered), 16
    if "0" <= character <= "9":
        return ord(character) - 48, 10
    if "a" <= lowered <= "z":
        return ord(lowered) - 97, 26
    if character < "\x80" or not character.isalpha():
        return 0, 1
    code = ord(character)
    radix = len(_LATIN) if code < 0x800 else _WIDE_SIZE if code < 0x10000 else _FAR_SIZE
    return code % radix, radix


def _write(character: str, digit: int, radix: int, letters: str) -> str:
    if radix == 1:
        return character
    if radix == 10:
        return chr(48 + digit)
    if radix == 16:
        return letters[digit]
    if radix in (26, len(_LATIN)):
        letter = (letters if radix == 26 else _LATIN)[digit]
        return letter.upper() if character.isupper() else letter
    return chr((_WIDE_START if radix == _WIDE_SIZE else _FAR_START) + digit)


def _to_number(digits: list[int], radices: list[int]) -> tuple[int, int]:
    """The number they make, and how many such numbers there are."""
    number, size = 0, 1
    for digit, radix in zip(digits, radices, strict=True):
        number = number * radix + digit
        size *= radix
    return number, size


def _to_digits(number: int, radices: list[int]) -> list[int]:
    digits = []
    for radix in reversed(radices):
        number, digit = divmod(number, radix)
        digits.append(digit)
    return digits[::-1]
