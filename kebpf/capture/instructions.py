"""Takes x86-64 machine code apart into instructions, as far as placing a probe needs it.

Lengths are those of Intel's manual (volume 2, chapter 2 and appendix A), AVX, AVX-512 and AMD's
XOP included; meaning is given to the few instructions that functions begin and end with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BRANCH_TARGET = b"\xf3\x0f\x1e\xfa"  # endbr64
REGISTERS = (
    *("ax", "cx", "dx", "bx", "sp", "bp", "si", "di"),
    *(f"r{number}" for number in range(8, 16)),
)
_PREFIXES = frozenset(b"\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65\xf0")
_TWO_BYTES, _THREE_38, _THREE_3A = 0x0F00, 0x3800, 0x3A00  # added to opcodes of the other maps


class InstructionError(ValueError):
    """There is no instruction, or none that 64-bit code may have."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``opcode`` is prefixed with its map (0x0F00 …); ``value`` is the immediate or displacement
    that ends it, signed; ``modrm`` is -1 for none."""

    at: int
    size: int
    opcode: int
    rex: int
    modrm: int
    value: int
    is_plain: bool  # neither an AVX form nor with a prefix other than REX

    @property
    def end(self) -> int:
        return self.at + self.size

    @property
    def is_return(self) -> bool:
        return self.opcode in (0xC3, 0xC2)

    @property
    def is_call(self) -> bool:
        """Of a fixed place."""
        return self.opcode == 0xE8

    @property
    def is_jump(self) -> bool:
        """To a fixed place, always."""
        return self.opcode in (0xE9, 0xEB)

    @property
    def is_branch(self) -> bool:
        """To a fixed place, or not."""
        return (
            0x70 <= self.opcode <= 0x7F
            or 0x0F80 <= self.opcode <= 0x0F8F
            or 0xE0 <= self.opcode <= 0xE3
        )

    @property
    def is_indirect_jump(self) -> bool:
        return self.opcode == 0xFF and self.modrm >> 3 & 7 in (4, 5)

    @property
    def is_push(self) -> bool:
        """Of a register."""
        return 0x50 <= self.opcode <= 0x57

    @property
    def target(self) -> int:
        """Where a call, jump or branch goes."""
        return self.end + self.value

    @property
    def is_cheap(self) -> bool:
        """Whether the kernel does it itself where a probe is, instead of letting it run elsewhere.

        See arch/x86/kernel/uprobes.c, ``branch_setup_xol_ops`` and ``push_setup_xol_ops``.
        """
        is_far = self.opcode in range(0xE0, 0xE4)
        is_done = self.is_push or self.is_jump or self.is_call or self.is_branch or self.is_nop
        return self.is_plain and is_done and not is_far

    @property
    def is_nop(self) -> bool:
        return self.opcode == 0x90 and not self.rex & 1

    @property
    def register(self) -> int:
        """The register of its ModRM byte."""
        return (self.modrm >> 3 & 7) | (self.rex & 4) << 1

    @property
    def operand(self) -> int:
        """The register that its ModRM byte names as the other operand; -1 for memory."""
        return (self.modrm & 7) | (self.rex & 1) << 3 if self.modrm >= 0xC0 else -1


def decode(code: bytes, at: int, address: int = 0) -> Instruction:
    """The instruction at an index of some code, which begins at an address.

    Raises ``InstructionError``, also where the code ends within it.
    """
    try:
        return _decode(code, at, address)
    except IndexError as error:
        raise InstructionError("the code ends within an instruction") from error


def decode_all(code: bytes, address: int = 0) -> Iterator[Instruction]:
    """One behind the other; raises ``InstructionError`` where there is none."""
    at = 0
    while at < len(code):
        instruction = decode(code, at, address)
        yield instruction
        at += instruction.size


def _decode(code: bytes, start: int, address: int) -> Instruction:
    at, prefixes = start, 0
    while code[at] in _PREFIXES:
        prefixes |= _PREFIX_BITS.get(code[at], 0)
        at += 1
    rex = 0
    if code[at] & 0xF0 == 0x40:
        rex = code[at] & 15
        at += 1
    is_plain = at - start <= 1 and (at == start or code[start] & 0xF0 == 0x40)
    opcode, at, is_vector = _read_opcode(code, at)
    is_plain = is_plain and not is_vector
    modrm = -1
    begin = at
    if (is_vector and opcode != 0x0F77) or _has_modrm(opcode):
        modrm = code[at]
        begin = at + _measure_operand(code, at)
    value_size = _measure_value(opcode, modrm, prefixes, rex, is_vector=is_vector)
    end = begin + value_size
    if end > len(code) or end - start > 15:
        raise InstructionError("the code ends within an instruction")
    value = int.from_bytes(code[begin:end], "little", signed=True)
    return Instruction(address + start, end - start, opcode, rex, modrm, value, is_plain)


_WIDTH, _ADDRESS = 1, 2
_PREFIX_BITS = {0x66: _WIDTH, 0x67: _ADDRESS}


def _read_opcode(code: bytes, at: int) -> tuple[int, int, bool]:
    """With its map, where it ends, and whether it is of a vector form (VEX, EVEX, XOP)."""
    first = code[at]
    if first == 0x0F:
        second = code[at + 1]
        if second in (0x38, 0x3A):
            return second << 8 | code[at + 2], at + 3, False
        return _TWO_BYTES | second, at + 2, False
    if first == 0xC5:
        return _TWO_BYTES | code[at + 2], at + 3, True
    if first == 0xC4:
        return _map_of(code[at + 1] & 31) | code[at + 3], at + 4, True
    if first == 0x62:
        return _map_of(code[at + 1] & 7) | code[at + 4], at + 5, True
    if first == 0x8F and code[at + 1] & 31 >= 8:
        return _map_of(code[at + 1] & 31) | code[at + 3], at + 4, True
    if first in _INVALID:
        raise InstructionError(f"no instruction begins with {first:#x}")
    return first, at + 1, False


# VEX's, EVEX's (5, 6: half-precision numbers), XOP's (8 to 10)
_MAPS = {
    1: _TWO_BYTES,
    2: _THREE_38,
    3: _THREE_3A,
    5: 0x500,
    6: 0x600,
    8: 0x800,
    9: 0x900,
    10: 0xA00,
}
_INVALID = frozenset(
    b"\x06\x07\x0e\x16\x17\x1e\x1f\x27\x2f\x37\x3f\x60\x61\x82\x9a\xce\xd4\xd5\xd6\xea"
)


def _map_of(number: int) -> int:
    if number not in _MAPS:
        raise InstructionError(f"no instructions are in map {number}")
    return _MAPS[number]


def _has_modrm(opcode: int) -> bool:
    if opcode < 0x100:
        return opcode in _WITH_MODRM
    return opcode & 0xFF00 != _TWO_BYTES or opcode not in _TWO_BYTES_WITHOUT


_WITH_MODRM = frozenset(
    [base | low for base in range(0, 0x40, 8) for low in range(4)]
    + [0x63, 0x69, 0x6B, *range(0x80, 0x90), 0xC0, 0xC1, 0xC6, 0xC7]
    + [*range(0xD0, 0xD4), *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFE, 0xFF]
)
_TWO_BYTES_WITHOUT = (
    frozenset(range(0x0F05, 0x0F0C))
    | frozenset(range(0x0F30, 0x0F38))
    | frozenset(range(0x0F80, 0x0F90))
    | frozenset(range(0x0FC8, 0x0FD0))
    | {0x0F0E, 0x0F77, 0x0FA0, 0x0FA1, 0x0FA2, 0x0FA8, 0x0FA9, 0x0FAA}
)


def _measure_operand(code: bytes, at: int) -> int:
    """ModRM, SIB and displacement."""
    mode, operand = code[at] >> 6, code[at] & 7
    if mode == 3:
        return 1
    size = 1
    if operand == 4:
        size = 2
        operand = code[at + 1] & 7
        if mode == 0:
            return size + (4 if operand == 5 else 0)
    elif mode == 0:
        return size + (4 if operand == 5 else 0)
    return size + (1 if mode == 1 else 4)


_BYTE = frozenset(
    [base | 4 for base in range(0, 0x40, 8)]
    + [0x6A, 0x6B, *range(0x70, 0x81), 0x83, 0xA8, *range(0xB0, 0xB8), 0xC0, 0xC1, 0xC6, 0xCD]
    + [*range(0xE0, 0xE8), 0xEB, *range(0x0F70, 0x0F74), 0x0FA4, 0x0FAC, 0x0FBA, 0x0F0F]
    + [0x0FC2, 0x0FC4, 0x0FC5, 0x0FC6]
)
_WORD_OR_LONG = frozenset(
    [base | 5 for base in range(0, 0x40, 8)] + [0x68, 0x69, 0x81, 0xA9, *range(0xB8, 0xC0), 0xC7]
)
_LONG = frozenset([0xE8, 0xE9, *range(0x0F80, 0x0F90)])


def _measure_value(opcode: int, modrm: int, prefixes: int, rex: int, *, is_vector: bool) -> int:
    """The immediate value, or the distance of a jump."""
    if is_vector:
        return _measure_vector_value(opcode)
    if opcode & 0xFF00 == _THREE_3A or opcode in _BYTE:
        return 1
    if opcode in _LONG:
        return 4
    is_word = bool(prefixes & _WIDTH) and not rex & 8
    if 0xB8 <= opcode <= 0xBF and rex & 8:
        return 8
    if opcode in _WORD_OR_LONG:
        return 2 if is_word else 4
    if opcode in (0xF6, 0xF7) and modrm >> 3 & 7 < 2:
        return 1 if opcode == 0xF6 else 2 if is_word else 4
    if 0xA0 <= opcode <= 0xA3:
        return 4 if prefixes & _ADDRESS else 8
    return {0xC2: 2, 0xCA: 2, 0xC8: 3}.get(opcode, 0)


def _measure_vector_value(opcode: int) -> int:
    if opcode & 0xFF00 in (_THREE_3A, 0x800):
        return 1
    if opcode & 0xFF00 == 0xA00:
        return 4
    return 1 if opcode in _BYTE else 0
