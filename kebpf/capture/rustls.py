"""Where rustls reads and writes plaintext, in programs that have their symbols (x86-64).

Programs call it by functions that the compiler makes for each of them or puts into others.  Two of
rustls's own stay whole, in debug and release builds and when optimised as a whole (LTO), and all
plaintext of blocking and of asynchronous programs goes by them once:
``CommonState::take_received_plaintext(&mut self, Payload)``, called with each record that was
decrypted, and ``CommonState::send_appdata_encrypt(&mut self, OutboundChunks, …) -> usize``, with
all that is to be (rustls/src/common_state.rs).  Their second argument is an address where words
lie: of a ``Payload``, its capacity (or 2⁶³: it is borrowed), its bytes' address and how many; of
``OutboundChunks``, 0, address and number likewise, or else of several slices the list's address,
their number, and, as third and fourth words, which bytes of them all.  So it was seen to be in
0.23; of other versions nothing is said to be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kebpf.capture.elf import X86_64, Elf
from kebpf.capture.openssl import find_exported
from kebpf.capture.points import Point
from kebpf.capture.symbols import find_mangled

_FUNCTIONS = {
    "11CommonState23take_received_plaintext": "rustls_read",
    "11CommonState20send_appdata_encrypt": "rustls_write",
}
_MODULE = "6rustls12common_state"
_END = re.compile(r"(17h[0-9a-f]{16}E)?(\.llvm\.\d+)?$")  # of either way to write names
_REGISTERS = ("di", "si")  # connection, and where its second argument lies
_PATH = b"/rustls-0."  # of its sources, which are named when it panics
_VERSION = re.compile(rb"/rustls-(0\.\d+\.\d+)/")
_KNOWN = "rustls 0.23."


def find_points(elf: Elf) -> Iterator[Point]:
    """Both functions' or none: one without the other is of no use.

    At RETURN ``rustls_write`` says how many bytes it took; ``rustls_read`` takes all.
    """
    found = find_mangled(elf, _FUNCTIONS) if elf.machine == X86_64 else {}
    functions = {
        part: [symbol for name, symbol in symbols if _is_named(name, part)]
        for part, symbols in found.items()
    }
    if all(functions.values()) and functions and find_version(elf).startswith(_KNOWN):
        for part, symbols in functions.items():
            for symbol in symbols:
                yield from find_exported(elf, _FUNCTIONS[part], symbol, _REGISTERS)


def find_version(elf: Elf) -> str:
    """By the names of its source files; empty if the program does not have them."""
    for text in elf.find_constants(_PATH):
        found = _VERSION.match(text)
        if found:
            return f"rustls {found[1].decode()}"
    return ""


def _is_named(name: str, part: str) -> bool:
    """Not another one within it, or for other types."""
    before, _, after = name.partition(part)
    return _MODULE in before and _END.fullmatch(after) is not None
