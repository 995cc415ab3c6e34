"""What a place for a probe is: which function of which TLS library, and what is where there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Library(Enum):
    """Whose functions they are; their arguments differ."""

    OPENSSL = auto()
    GNUTLS = auto()
    GO = auto()
    RUSTLS = auto()


class Place(Enum):
    """Which end of a call."""

    ENTRY = auto()
    RETURN = auto()


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a file: the first byte of an instruction, where ``registers`` are as said.

    At ENTRY they hold the function's arguments in order, which are for functions that read and
    write: session, buffer, size, and, if there is a fourth, where the count will be written (a
    ``size_t``).  At RETURN they hold the result.  Names are x86-64's without their first letter
    (``ax``, ``r8``); ``sp+8`` is a value on the stack.

    ``is_start``: the stack is as at the function's first instruction, so that a uretprobe may be
    put there.  Anywhere else one would destroy what is on the stack.
    """

    function: str
    offset: int
    place: Place
    registers: tuple[str, ...]
    is_start: bool = False
