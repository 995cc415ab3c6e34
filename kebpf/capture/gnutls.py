"""Where GnuTLS reads and writes plaintext.

``gnutls_record_send`` is ``gnutls_record_send2`` (since 3.6.3) with two more arguments
(lib/record.c); where it leads there, that one stands for both.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from kebpf.capture.elf import X86_64, Elf
from kebpf.capture.openssl import find_exported, list_returns
from kebpf.capture.placing import find_successors
from kebpf.capture.points import Point
from kebpf.capture.symbols import Symbol, follow_stub

# what a point's function is called, and which of the library's it may be: the same to look at
_GROUPS = {
    "gnutls_record_recv": ("gnutls_record_recv", "gnutls_record_recv_seq"),
    "gnutls_record_send": ("gnutls_record_send", "gnutls_record_send2"),
    "gnutls_deinit": ("gnutls_deinit",),
    "gnutls_init": ("gnutls_init",),
}
_ARGUMENTS = {"gnutls_deinit": 1, "gnutls_init": 0}  # those of interest
FUNCTIONS = frozenset(itertools.chain.from_iterable(_GROUPS.values()))
_DATA = ("di", "si", "dx")
_LOGGED = b"Enabled GnuTLS "
_VERSION = re.compile(rb"Enabled GnuTLS (\d+\.\d+\.\d+\w*) logging")


def find_points(elf: Elf, functions: Mapping[str, Symbol]) -> Iterator[Point]:
    """Those of the functions that are there; they may share what they end with."""
    for group, names in _GROUPS.items():
        taken = [functions[name] for name in names if name in functions]
        if len(taken) == len(names) and group == "gnutls_record_send" and _leads_on(elf, functions):
            taken = taken[1:]
        knows_returns = all(list_returns(elf, symbol) for symbol in taken)
        for symbol in taken:
            registers = _DATA[: _ARGUMENTS.get(group, len(_DATA))]
            yield from find_exported(elf, group, symbol, registers, knows_returns=knows_returns)


def find_version(elf: Elf) -> str:
    """As it would say when it logs; empty if it does not."""
    for text in elf.find_constants(_LOGGED):
        found = _VERSION.match(text)
        if found:
            return f"GnuTLS {found[1].decode()}"
    return ""


def _leads_on(elf: Elf, functions: Mapping[str, Symbol]) -> bool:
    """Whether sending is always by the longer form."""
    if elf.machine != X86_64:
        return False
    shorter = functions["gnutls_record_send"].address
    successors = find_successors(elf.read, lambda at: follow_stub(elf, at), shorter)
    return functions["gnutls_record_send2"].address in successors
