"""Where OpenSSL, in any of its versions and builds, reads and writes plaintext.

``SSL_read`` and ``SSL_read_ex`` both begin by calling ``ssl_read_internal(s, buf, num,
&readbytes)``, and those that write ``ssl_write_internal(s, buf, num, &written)``, from 3.3 on
``ssl_write_internal(s, buf, num, flags, &written)`` (ssl/ssl_lib.c; ``bio_read_intern`` and
``bio_write_intern`` of crypto/bio/bio_lib.c are alike).  These have no symbol where a library is
stripped, begin with a ``push``, which makes a probe cheap, and are found where two exported forms
lead to the same.  Some builds have them within the exported functions, as Node has; BoringSSL has
none: then the exported ones are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kebpf.capture.elf import X86_64, Elf
from kebpf.capture.extents import find_size
from kebpf.capture.instructions import REGISTERS
from kebpf.capture.placing import (
    NONE,
    STACK,
    Call,
    cut_function,
    find_all_returns,
    find_call,
    find_callers,
    find_entry,
    find_result,
    find_successors,
    is_at_start,
)
from kebpf.capture.points import Place, Point
from kebpf.capture.symbols import Symbol, follow_stub

_NAME = b"OpenSSL "
_VERSION = re.compile(rb"OpenSSL \d+\.\d+\.\d+[\w.+-]* +(?:FIPS +)?\d{1,2} [A-Z][a-z]{2} \d{4}")
_SESSION, _BUFFER, _SIZE, _FOURTH, _FIFTH = "di", "si", "dx", "cx", "r8"
_RESULT = ("ax",)
_MOST_SIZE = 4096  # of a function whose end is not known
_MOST_CODE = 16 << 20  # where calls of an internal function are looked for; libssl has 0.5


@dataclass(frozen=True, slots=True)
class _Family:
    """One thing to do, in its exported forms.

    ``plain`` returns the count, the others write it where one of their arguments says.
    """

    internal: str
    plain: str
    others: tuple[tuple[str, str], ...]  # name, register of the count's address

    @property
    def names(self) -> tuple[str, ...]:
        return (self.plain, *(name for name, _ in self.others))


_FAMILIES = (
    _Family("ssl_read", "SSL_read", (("SSL_read_ex", _FOURTH),)),
    _Family("ssl_write", "SSL_write", (("SSL_write_ex", _FOURTH), ("SSL_write_ex2", _FIFTH))),
    _Family("bio_read", "BIO_read", (("BIO_read_ex", _FOURTH),)),
    _Family("bio_write", "BIO_write", (("BIO_write_ex", _FOURTH),)),
)
#: Function → its arguments.
_OTHERS = {"SSL_free": (_SESSION,), "SSL_set_bio": (_SESSION, "si", "dx"), "SSL_CTX_new": ()}
SIGNS = frozenset({"SSL_read", "SSL_write", "BIO_read", "BIO_write"})
FUNCTIONS = frozenset(_OTHERS).union(*(family.names for family in _FAMILIES))


def find_points(elf: Elf, functions: dict[str, Symbol]) -> Iterator[Point]:
    """Those of the functions that are there; without an order."""
    for family in _FAMILIES:
        if family.plain in functions:
            yield from _find_family(elf, functions, family)
    for name, registers in _OTHERS.items():
        if name in functions:
            yield from find_exported(elf, name, functions[name], registers)


def find_exported(
    elf: Elf,
    name: str,
    symbol: Symbol,
    registers: tuple[str, ...],
    *,
    knows_returns: bool = True,
) -> Iterator[Point]:
    """A function's own beginning, and ends if they are to be known and are."""
    offset = elf.find_offset(symbol.address)
    if offset is None:
        return
    if elf.machine != X86_64:
        yield Point(name, offset, Place.ENTRY, registers, is_start=True)
        return
    returns = list_returns(elf, symbol) if knows_returns else None
    code = _read_code(elf, symbol.address, symbol.size)
    yield _make_entry(name, offset, code, registers, has_returns=bool(returns))
    for address in returns or ():
        at = elf.find_offset(address)
        if at is not None:
            yield Point(name, at, Place.RETURN, _RESULT)


def list_returns(elf: Elf, symbol: Symbol) -> list[int]:
    """Addresses at which a function returns; none if they are not all known."""
    if elf.machine != X86_64:
        return []
    size = symbol.size or find_size(elf, symbol.address)
    return find_all_returns(elf.read, lambda at: find_size(elf, at), symbol.address, size) or []


def _read_code(elf: Elf, address: int, size: int = 0) -> bytes:
    """A function's, as far as it is known."""
    size = size or find_size(elf, address)
    return elf.read(address, size) if size else cut_function(elf.read(address, _MOST_SIZE))


def _make_entry(
    name: str, offset: int, code: bytes, registers: tuple[str, ...], *, has_returns: bool
) -> Point:
    """At the start, as far as the stack goes, unless all returns are known."""
    kept = {REGISTERS.index(each) for each in registers}
    place = find_entry(code, kept if has_returns else kept | {STACK})
    return Point(name, offset + place, Place.ENTRY, registers, is_at_start(code, place))


def _find_family(elf: Elf, functions: dict[str, Symbol], family: _Family) -> Iterator[Point]:
    others = {name: count for name, count in family.others if name in functions}
    plain = functions[family.plain]
    internal = _find_internal(elf, functions, family, others)
    if internal is None:
        yield from find_exported(elf, family.plain, plain, (_SESSION, _BUFFER, _SIZE))
    else:
        yield from _place_internal(elf, functions, family, internal)
    taken = {functions[name].address for name in family.names if name in functions}
    taken |= {internal.target} if internal else set()
    for name, count in others.items():
        if not taken & _find_successors(elf, functions[name]):
            registers = (_SESSION, _BUFFER, _SIZE, count)
            yield from find_exported(elf, name, functions[name], registers)


def _find_internal(
    elf: Elf, functions: dict[str, Symbol], family: _Family, others: dict[str, str]
) -> Call | None:
    """What the plain form calls first, if another form does so with the same arguments."""
    own = _find_call(elf, functions[family.plain])
    for name, count in others.items() if own else ():
        call = _find_call(elf, functions[name], count)
        if call and own and (call.target, call.count) == (own.target, own.count):
            return own
    return None


def _find_call(elf: Elf, function: Symbol, count: str = "") -> Call | None:
    if elf.machine != X86_64:
        return None
    register = REGISTERS.index(count) if count else NONE
    return find_call(elf.read, lambda at: follow_stub(elf, at), function.address, register)


def _find_successors(elf: Elf, function: Symbol) -> set[int]:
    """What a function goes on to first, with its own arguments."""
    if elf.machine != X86_64:
        return set()
    return set(find_successors(elf.read, lambda at: follow_stub(elf, at), function.address))


def _place_internal(
    elf: Elf, functions: dict[str, Symbol], family: _Family, call: Call
) -> Iterator[Point]:
    """Its beginning, and where it returns to: it ends by jumping into other functions."""
    offset = elf.find_offset(call.target)
    if offset is None:
        return
    code = _read_code(elf, call.target)
    registers = (_SESSION, _BUFFER, _SIZE, REGISTERS[call.count])
    returns = _find_callers(elf, call.target)
    yield _make_entry(family.internal, offset, code, registers, has_returns=bool(returns))
    known = [functions[name] for name in family.names if name in functions]
    for behind in returns:
        yield Point(family.internal, _find_result(elf, known, behind), Place.RETURN, _RESULT)


def _find_callers(elf: Elf, target: int) -> list[int]:
    """Where its calls return to; none if there are others that are not found."""
    found = []
    for segment in elf.segments:
        if segment.is_code and segment.file_size <= _MOST_CODE:
            code = elf.read(segment.address, segment.file_size)
            callers, is_jumped_to = find_callers(code, segment.address, target)
            if is_jumped_to:
                return []
            found += callers
    return found


def _find_result(elf: Elf, known: list[Symbol], behind: int) -> int:
    """The place behind a call, in the file: further on in a function that is known as a whole."""
    offset = elf.find_offset(behind) or 0
    for function in known:
        if 0 < behind - function.address < function.size:
            code = elf.read(function.address, function.size)
            at = behind - function.address
            return offset + find_result(code, at) - at
    return offset


def find_version(elf: Elf) -> str:
    """As the library says it (``OpenSSL 3.0.15 3 Sep 2024``); empty where it does not."""
    for text in elf.find_constants(_NAME):
        found = _VERSION.match(text)
        if found:
            return b" ".join(found[0].split()).decode()
    return ""
