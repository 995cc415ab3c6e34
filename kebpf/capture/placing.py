"""Says where in a function's machine code (x86-64) a probe sees what it is for, and costs least.

A probe costs a tenth where the kernel does the instruction itself (``Instruction.is_cheap``); so
one that is to see a function's arguments may sit behind its first instructions, as long as all
calls come by there once and no argument has been moved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from kebpf.capture.instructions import (
    REGISTERS,
    Instruction,
    InstructionError,
    decode,
    decode_all,
)

Reader = Callable[[int, int], bytes]  # from address and size to what is there, maybe less
Follow = Callable[[int], int]  # from an address to the one that a jump there ends at
_MOST_STEPS = 24  # instructions before a function's first call, or the place of its probe
STACK, _FRAME = REGISTERS.index("sp"), REGISTERS.index("bp")
_RESULT = REGISTERS.index("ax")
ARGUMENTS = tuple(REGISTERS.index(name) for name in ("di", "si", "dx", "cx", "r8"))
_SIZE, _COUNTS = ARGUMENTS[2], ARGUMENTS[3:]
_LONGEST = 15
_MOST_PARTS = 8
NONE = -1

_COMPARING = frozenset([0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x84, 0x85, 0xA8, 0xA9])
_TO_OPERAND = frozenset([0x01, 0x09, 0x21, 0x29, 0x31, 0x89, 0x88, 0xC6, 0xC7])
_TO_REGISTER = frozenset([0x03, 0x0B, 0x23, 0x2B, 0x33, 0x63, 0x8B, 0x8D, 0x0FB6, 0x0FB7])
_GROUP = frozenset([0x80, 0x81, 0x83])
_CALL, _JUMP = 0xE8, 0xE9
_HINTS = frozenset([0x0F1E, 0x0F1F, 0x90])  # endbr64, nop


# where it goes on, the register with the count's address, which others hold an argument too
_Way = tuple[int, int, dict[int, int]]


@dataclass(frozen=True, slots=True)
class Call:
    """The first call of a function, made with its own first three arguments.

    ``count`` is the register that then has the address for a count, ``behind`` where the call
    returns to.
    """

    target: int
    count: int
    behind: int


def find_call(read: Reader, follow: Follow, address: int, count: int = NONE) -> Call | None:
    """What a function calls first, if by then its arguments are where they came.

    ``count`` is the register that has the address for a count from the beginning; if ``NONE``, it
    is one that gets an address on the stack.  ``follow`` says where a jump by way of a table in
    the end leads.  None: it does something else first, or what is not understood here.
    """
    for step, target, register in _find_transfers(read, follow, address, count):
        if step.is_call and register != NONE:
            return Call(target, register, step.end)
    return None


def find_successors(read: Reader, follow: Follow, address: int) -> list[int]:
    """The functions that one goes on to first, its arguments where they came."""
    return [target for _, target, _ in _find_transfers(read, follow, address, NONE)]


def _find_transfers(
    read: Reader, follow: Follow, address: int, count: int
) -> Iterator[tuple[Instruction, int, int]]:
    """The jumps that a function begins with, and the calls behind them, with their targets.

    Of two ways to go on, the one that takes no branch is first.
    """
    ways: list[_Way] = [(address, count, {})]
    for _ in range(_MOST_STEPS):
        if not ways:
            return
        address, count, copies = ways.pop()
        try:
            step = decode(read(address, _LONGEST), 0, address)
        except InstructionError:
            continue
        address = step.end
        if step.is_call or step.is_jump:
            address = follow(step.target)
            yield step, address, count
            if step.is_call:
                continue
        elif step.is_branch:
            ways.append((step.target, count, dict(copies)))
        elif _is_moved_count(step, count) or _is_stack_address(step):
            count = step.operand if step.opcode == 0x89 else step.register
        elif not _is_copy(step, copies):
            kept = {*ARGUMENTS[:3], *copies, count} - {NONE}
            if not _keeps(step, kept):
                continue
        ways.append((address, count, copies))


def find_entry(code: bytes, registers: Collection[int], start: int = 0) -> int:
    """Where a probe sits that is to see a function's arguments, in its code, as far as known.

    ``registers`` have not been written by then.  ``start`` is the first place that would do.
    """
    for step in _walk(code, start):
        if step.is_cheap:
            return step.at if _is_reached_by_falling(code, start, step) else start
        if not _keeps(step, registers):
            break
    return start


def is_at_start(code: bytes, place: int) -> bool:
    """Whether at a place that ``find_entry`` found the stack is as at the function's first byte."""
    return all(
        _keeps(step, {STACK}) and not step.is_push for step in _walk(code, 0) if step.at < place
    )


def find_result(code: bytes, behind: int) -> int:
    """Where in a function the result of a call is seen that returns to ``behind``."""
    for step in _walk(code, behind):
        if step.is_cheap:
            return step.at if _is_reached_by_falling(code, behind, step) else behind
        if not _keeps(step, {_RESULT}):
            break
    return behind


def find_returns(code: bytes, *, stays: bool = False) -> list[int] | None:
    """Where a function returns; None if it also leaves otherwise, or is not understood.

    ``stays``: a jump by way of a table or register is known not to leave it.
    """
    ends = _find_ends(code, 0, stays=stays)
    return None if ends is None or ends[1] else ends[0]


def find_all_returns(
    read: Reader, measure: Callable[[int], int], start: int, size: int
) -> list[int] | None:
    """The same, by address, also of what the function jumps to at its end or has put elsewhere.

    ``measure`` says the size of a function or part of one, 0 if that is not known.
    """
    found: list[int] = []
    parts: dict[int, int] = {}
    waiting = [(start, size)]
    while waiting:
        address, size = waiting.pop()
        code = read(address, size)
        ends = _find_ends(code, address) if 0 < size == len(code) else None
        if ends is None or len(parts) == _MOST_PARTS:
            return None
        parts[address] = size
        found += ends[0]
        known = {**parts, **dict(waiting)}
        for target in ends[1]:
            if not any(0 <= target - each < known[each] for each in known):
                known[target] = measure(target)
                waiting.append((target, known[target]))
    return found


def _find_ends(
    code: bytes, address: int, *, stays: bool = False
) -> tuple[list[int], list[int]] | None:
    """Returns, and where it jumps out to; None if that is not to be known."""
    returns, targets = [], []
    last: list[Instruction] = []
    try:
        for step in decode_all(code, address):
            if step.is_indirect_jump and not (stays or _is_by_table(last)):
                return None
            is_jump = step.is_jump or step.is_branch
            if is_jump and not 0 <= step.target - address < len(code):
                targets.append(step.target)
            if step.is_return:
                returns.append(step.at)
            last = [*last[-1:], step]
    except InstructionError:
        return None
    return returns, targets


def _is_by_table(last: list[Instruction]) -> bool:
    """Whether a jump behind these two goes by a ``switch``'s table of distances.

    ``movslq (table,number,4),register; add table,register``
    """
    return [step.opcode for step in last] in ([0x63, 0x01], [0x63, 0x03]) and last[0].modrm < 0xC0


def find_callers(code: bytes, address: int, target: int) -> tuple[list[int], bool]:
    """Where calls of a function return to, and whether there are jumps to it as well.

    It does not take the code apart: that four bytes are this distance by chance is not to be
    expected.  The distance's upper three bytes are the same for 256 places on end.
    """
    found, is_jumped_to = [], False
    first = (target - address - 4) & 0xFF  # from here on they are one less
    for start in range(first - 255, len(code), 256):
        distance = target - address - 4 - max(start, 0)
        upper = (distance >> 8 & 0xFFFFFF).to_bytes(3, "little")
        at = code.find(upper, max(start, 0) + 1, start + 256 + 3)
        while at > 0:
            behind = address + at + 3
            whole = int.from_bytes(code[at - 1 : at + 3], "little", signed=True)
            if behind + whole == target and code[max(at - 2, 0)] == _CALL:
                found.append(behind)
            is_jumped_to |= behind + whole == target and code[max(at - 2, 0)] == _JUMP
            at = code.find(upper, at + 1, start + 256 + 3)
    return found, is_jumped_to


def cut_function(code: bytes) -> bytes:
    """A function whose size is not known, of code that begins with it: what its branches span.

    It may be more, never less, if the function has no jumps by way of a table.
    """
    furthest = 0
    try:
        for step in decode_all(code):
            leaves = step.is_jump or step.is_branch
            furthest = max(furthest, step.target) if leaves else furthest
            is_end = step.is_return or step.is_jump or step.is_indirect_jump
            if is_end and furthest < step.end:
                return code[: step.end]
    except InstructionError:
        pass
    return code


def _walk(code: bytes, at: int) -> Iterator[Instruction]:
    """What runs behind a place as long as no branch is taken."""
    for _ in range(_MOST_STEPS):
        try:
            step = decode(code, at)
        except InstructionError:
            return
        yield step
        if step.is_jump or step.is_return or step.is_indirect_jump:
            return
        at = step.end


def _is_reached_by_falling(code: bytes, start: int, last: Instruction) -> bool:
    """Whether nothing jumps behind ``start``, up to ``last``."""
    if start == last.at:
        return True
    try:
        steps = list(decode_all(code))
    except InstructionError:
        return False
    if any(step.is_indirect_jump for step in steps) and not last.is_push:
        return False  # where it goes is not known; nothing jumps to before a stack's building
    jumps = (step for step in steps if step.is_jump or step.is_branch)
    return not any(start < step.target <= last.at for step in jumps)


def _is_stack_address(step: Instruction) -> bool:
    """``lea N(%rsp or %rbp), register`` or ``mov %rsp, register``, into one for arguments."""
    if step.opcode == 0x8D and step.modrm < 0xC0 and step.rex & 9 == 8:
        base = step.modrm & 7
        return base in (STACK, _FRAME) and step.register in _COUNTS
    if step.opcode == 0x89 and step.rex & 8:
        return step.register == STACK and step.operand in _COUNTS
    return step.opcode == 0x8B and step.operand == STACK and step.register in _COUNTS


def _is_moved_count(step: Instruction, count: int) -> bool:
    """From its register to the one behind, to make room for another argument."""
    if count == NONE or not step.rex & 8:
        return False
    if step.opcode == 0x89:
        return step.register == count and step.operand in _COUNTS
    return step.opcode == 0x8B and step.operand == count and step.register in _COUNTS


def _is_copy(step: Instruction, copies: dict[int, int]) -> bool:
    """Whether an argument is moved to another register, or back; ``copies`` has those moved."""
    if step.opcode not in (0x89, 0x8B) or step.operand == NONE or not step.rex & 8:
        return False
    ends = (step.register, step.operand)
    source, target = ends if step.opcode == 0x89 else ends[::-1]
    if copies.get(source) == target:
        return True
    if source not in ARGUMENTS[:3] or target in (*ARGUMENTS, *copies):
        return False
    copies[target] = source
    return True


def _keeps(step: Instruction, registers: Collection[int]) -> bool:
    """Whether an instruction surely leaves registers as they are."""
    if step.is_push or step.is_branch or step.is_call or step.opcode in _COMPARING | _HINTS:
        return True
    if step.opcode == 0x63 and step.register == step.operand == _SIZE:
        return True  # an int made a size_t, of which the probe reads no more than the int
    if step.opcode in _GROUP:
        return step.modrm >> 3 & 7 == 7 or step.operand not in registers
    if step.opcode in _TO_OPERAND:
        return step.operand not in registers
    return step.opcode in _TO_REGISTER and step.register not in registers
