"""Where Go's crypto/tls reads and writes plaintext (x86-64).

Go moves stacks, so return addresses must stay as they are: a call's end is seen at each ``ret``.
A function first looks whether its stack has room, and if not has it moved and begins anew: a call
is counted once only behind that look.  Arguments are in registers from Go 1.17 on
(src/cmd/compile/abi-internal.md), on the stack before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kebpf.capture.elf import X86_64, Elf
from kebpf.capture.gopclntab import find_go_functions
from kebpf.capture.instructions import REGISTERS, Instruction, InstructionError, decode_all
from kebpf.capture.placing import find_entry, find_returns
from kebpf.capture.points import Place, Point

FUNCTIONS = {
    "crypto/tls.(*Conn).Read": "go_read",
    "crypto/tls.(*Conn).Write": "go_write",
    "crypto/tls.(*Conn).Close": "go_close",
}
_Registers = tuple[str, ...]
_RESULTS: _Registers = ("ax", "bx")  # count, error
_STACK_RESULTS: _Registers = ("sp+40", "sp+48")
_CALLS: dict[str, tuple[_Registers, _Registers]] = {
    "go_read": (("ax", "bx", "cx"), _RESULTS),  # connection, buffer, size
    "go_write": (("ax", "bx", "cx"), _RESULTS),
    "go_close": (("ax",), _RESULTS),
}
_STACK_CALLS: dict[str, tuple[_Registers, _Registers]] = {
    "go_read": (("sp+8", "sp+16", "sp+24"), _STACK_RESULTS),
    "go_write": (("sp+8", "sp+16", "sp+24"), _STACK_RESULTS),
    "go_close": (("sp+8",), ("sp+16",)),
}
_MOST_SIZE = 1 << 16
_FEW = 8  # instructions that the look at the stack is made of, at most
_BELOW = (0x76, 0x0F86)  # jbe
_LOOK = b"\x3b\x66\x10"  # cmp 16(%r14), of any register: the goroutine is in r14 from 1.17 on


def find_points(elf: Elf, functions: Mapping[str, str] = FUNCTIONS) -> Iterator[Point]:
    """Those of the functions that are there and understood; each whole or not at all.

    ``functions`` are the names of ``Point`` by Go's.  Raises ``OSError``.
    """
    if elf.machine != X86_64:
        return
    codes = {
        (functions[name], symbol): elf.read(symbol.address, min(max(symbol.size, 0), _MOST_SIZE))
        for name, symbol in find_go_functions(elf, functions).items()
    }
    uses_registers = any(map(_uses_registers, codes.values()))
    calls = _CALLS if uses_registers else _STACK_CALLS
    for (name, symbol), code in codes.items():
        offset = elf.find_offset(symbol.address)
        if offset is not None:
            yield from _find_ends(name, code, offset, *calls[name])


def _uses_registers(code: bytes) -> bool:
    return _LOOK in code[: find_body(code) or 0]


def _find_ends(
    name: str, code: bytes, offset: int, arguments: _Registers, results: _Registers
) -> Iterator[Point]:
    body, returns = find_body(code), find_returns(code, stays=True)
    if body is None or not returns:
        return
    if results is _RESULTS:
        body = find_entry(code, [REGISTERS.index(each) for each in arguments], body)
    yield Point(name, offset + body, Place.ENTRY, arguments)
    for at in returns:
        yield Point(name, offset + at, Place.RETURN, results)


def find_body(code: bytes) -> int | None:
    """The instruction of a function behind its look at the stack; None if that is not clear."""
    try:
        steps = list(decode_all(code))
    except InstructionError:
        return None
    if not any(_goes_to(step, 0) for step in steps):
        return 0  # it does not look
    for step in steps[:_FEW]:
        if step.opcode in _BELOW:
            return step.end if _begins_anew(steps, step.target) else None
        if step.is_branch or step.is_jump or step.is_call:
            return None
    return None


def _begins_anew(steps: list[Instruction], start: int) -> bool:
    """Whether at ``start`` there is a call and then a jump to the function's beginning."""
    has_called = False
    for step in steps:
        if step.at >= start:
            has_called |= step.is_call
            if step.is_jump or step.is_branch or step.is_return:
                return has_called and step.is_jump and step.target == 0
    return False


def _goes_to(step: Instruction, target: int) -> bool:
    return (step.is_jump or step.is_branch) and step.target == target
