"""Tells a run of letters and digits that was drawn at random from one that somebody wrote.

A written one has the letter pairs of words and keeps to one kind of character for a while.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import string
from collections.abc import Iterator
from functools import lru_cache

LEAST_LETTERS_AND_DIGITS = 16
LEAST_DISTINCT = 10
MOST_JUDGED = 512  # characters: a multiple of 4, so that base64 ends with a whole byte
MOST_IN_SEQUENCE = 6  # neighbours such as ``ab`` and ``12``: more is an alphabet, or counting

_KINDS = str.maketrans(
    string.digits + string.ascii_lowercase + string.ascii_uppercase,
    "0" * 10 + "a" * 26 + "A" * 26,
    "+/=-_",
)

# How often a letter (row) is followed by another (column) in words of documentation and source,
# as 5 + log2 of how many times as often as by chance, within 0 to 9.
_PAIRS = (
    "26762362615877162878554452", "52435122540632530453600241", "72537217506642832547521030",
    "63358321722433631453522230", "74786653423768464987365741", "51335621700522621544511030",
    "41327234510435420553421022", "61127101601332611434401020", "66766661213769751677261405",
    "30014010201111311121301010", "31126221510303320252203011", "73458321812723731265531162",
    "74248211612452670254410030", "72777582625435641378552131", "45663552424678560866656322",
    "71347334612633661756523140", "00010001110111100120500000", "73559451714465740576543150",
    "52638336714544662378623150", "73548427812543750776523262", "55545440501657350666110211",
    "61107111510021410121211000", "51235214510214511542112100", "31414201400230250125010221",
    "32323221400334350244122011", "30005000300121200101000011",
)  # fmt: skip
_WRITTEN_SCORE = 0.2  # of 2,465 names of 20 and more letters in source trees, 49 in 50 have more
_LEAST_PAIRS = 6
_WORDS_SCORE = 0.9  # above this even changing kinds are camel case
_MANY_PAIRS = 14


def is_random(text: str) -> bool:
    """Whether a text looks drawn, not written; ``+ / = - _`` in it are passed over."""
    return _is_random(text[:MOST_JUDGED])


@lru_cache(maxsize=4096)
def _is_random(text: str) -> bool:
    kinds = text.translate(_KINDS)
    if len(kinds) < LEAST_LETTERS_AND_DIGITS or len(set(text)) < LEAST_DISTINCT:
        return False
    digits = kinds.count("0")
    if 5 * digits > 3 * len(kinds) or _is_encoded_text(text):
        return False
    score, pairs = _score_pairs(text)
    if _is_mixed(text, kinds, digits):
        return pairs < _MANY_PAIRS or score < _WORDS_SCORE * pairs
    if len(text) - len(kinds) > len(text) // 16 or _count_steps(text) > MOST_IN_SEQUENCE:
        return False  # words joined by marks, which may well be short and abbreviated
    return pairs >= _LEAST_PAIRS and score < _WRITTEN_SCORE * pairs


def _is_mixed(text: str, kinds: str, digits: int) -> bool:
    """Whether the kinds of character keep changing."""
    if digits == 0 and sum(c in "aeiouAEIOU" for c in text) * 10 > 3 * len(text):
        return False
    changes = sum(a != b for a, b in itertools.pairwise(kinds)) / (len(kinds) - 1)
    return changes >= (0.25 if digits >= 2 else 0.35)


def _score_pairs(text: str) -> tuple[int, int]:
    """How much its characters follow each other as they do in words, over how many pairs."""
    lowered = text.lower()
    scores = [_SCORES[a + b] for a, b in itertools.pairwise(lowered) if a + b in _SCORES]
    return sum(scores), len(scores)


def _list_scores() -> Iterator[tuple[str, int]]:
    letters = string.ascii_lowercase
    for left, row in zip(letters, _PAIRS, strict=True):
        yield from (
            (left + right, int(score) - 5) for right, score in zip(letters, row, strict=True)
        )
        for digit in string.digits:
            yield left + digit, -1
            yield digit + left, -1


_SCORES = dict(_list_scores())


def _count_steps(text: str) -> int:
    return sum(ord(b) - ord(a) == 1 for a, b in itertools.pairwise(text))


def _is_encoded_text(text: str) -> bool:
    """Base64 of something readable is a message, not a random token."""
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4))
    except (ValueError, binascii.Error):
        return False
    return all(32 <= byte < 127 or byte in b"\r\n\t" for byte in raw)
