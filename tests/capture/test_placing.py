"""A probe's place is one that all calls come by once, with what it is to see as it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.instructions import REGISTERS
from kebpf.capture.placing import (
    ARGUMENTS,
    NONE,
    Call,
    Reader,
    cut_function,
    find_all_returns,
    find_call,
    find_callers,
    find_entry,
    find_result,
    find_returns,
    find_successors,
)

START = 0x1000
CX, R8 = REGISTERS.index("cx"), REGISTERS.index("r8")
SUB, TEST_SIZE, BAD_SIZE, SIZE = "4883ec18 ", "85d2 ", "7810 ", "4863d2 "
CALL = "e8fb0f0000"  # where it is at START, it leads to 0x2000
RET = "c3"


def make(*code: str) -> bytes:
    return bytes.fromhex("".join(code))


def reading(code: bytes) -> Reader:
    return lambda address, size: code[address - START : address - START + size]


def follow(address: int) -> int:
    """As if a stub of the PLT were at 0x3000."""
    return 0x4000 if address == 0x3000 else address


@pytest.mark.parametrize(
    ("code", "count", "expected"),
    [
        ((CALL,), CX, Call(0x2000, CX, START + 5)),
        ((CALL,), NONE, None),  # a plain form that does not say where to write the count
        (("4889e1 ", SIZE, CALL), NONE, Call(0x2008 - 2, CX, START + 11)),  # mov %rsp,%rcx
        (("4c8d442408 ", CALL), NONE, Call(0x2005, R8, START + 10)),  # lea 8(%rsp),%r8
        (("488d4df8 ", CALL), NONE, Call(0x2004, CX, START + 9)),  # lea -8(%rbp),%rcx
        (("4989c8 ", "31c9 ", CALL), CX, Call(0x2005, R8, START + 10)),  # mov %rcx,%r8; xor
        (("31c9 ", CALL), CX, None),  # the count's place is lost
        (("31f6 ", CALL), CX, None),  # the buffer is
        (("83e20f ", CALL), CX, None),  # the size is changed: and $15,%edx
        (("488b3f ", CALL), CX, None),  # mov (%rdi),%rdi
        (("4889fd ", "488b07 ", "4889ef ", CALL), CX, Call(0x2009, CX, START + 14)),  # rbp and back
        (("4889fd ", "31ed ", "4889ef ", CALL), CX, None),
        (("4889fd ", "4889ee ", CALL), CX, None),  # another argument gets it
        (("7505 ", "bf01000000 ", CALL), CX, Call(0x2007, CX, START + 12)),  # by the branch
        (("ffd0",), CX, None),
        (("e9fb1f0000",), CX, None),  # a stub, and then nothing is there
        ((RET,), CX, None),
    ],
)
def test_first_call(code: tuple[str, ...], count: int, expected: Call | None) -> None:
    assert find_call(reading(make(*code)), follow, START, count) == expected


def test_successors() -> None:
    assert find_successors(reading(make("e9fb1f0000")), follow, START) == [0x4000]
    both = make("7405 ", "e9f90f0000 ", CALL)
    assert find_successors(reading(both), follow, START) == [0x2000, 0x2007]
    assert find_successors(reading(make("31ff ", CALL)), follow, START) == []


@pytest.mark.parametrize(
    ("code", "arguments", "place"),
    [
        (("55 ", RET), 3, 0),
        (("f30f1efa ", "55 ", RET), 3, 4),
        (("f30f1efa ", "4157 ", RET), 3, 4),
        (("f30f1efa ", RET), 3, 0),
        ((SUB, TEST_SIZE, "7801 ", RET, RET), 3, 6),
        ((SUB, "31ff ", "7401 ", RET, RET), 3, 0),  # the first argument is gone by then
        ((SUB, "31c9 ", "7401 ", RET, RET), 3, 6),  # there is no fourth
        ((SUB, "31c9 ", "7401 ", RET, RET), 4, 0),
        ((SUB, TEST_SIZE, "78fc ", RET), 3, 0),  # it comes back to between
        ((SUB, "7401 ", RET, "ffe0"), 3, 0),  # may come back
        (("4885ff ", "55 ", RET, "ffe0"), 3, 3),  # not to before a push
        ((SUB, "ffd0 ", "7400 ", RET), 3, 0),
        ((SUB, "06"), 3, 0),
    ],
)
def test_entry(code: tuple[str, ...], arguments: int, place: int) -> None:
    assert find_entry(make(*code), ARGUMENTS[:arguments]) == place


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ((CALL, "85c0 ", "7e04 ", "8b442408 ", RET), 7),
        ((CALL, "85c0 ", "0f4f442408 ", RET), 5),  # cmovg: no place that costs less
        ((CALL, "31c0 ", "7e01 ", RET, RET), 5),
        (("eb07 ", CALL, "85c0 ", "7e01 ", RET, RET), 7),  # something else comes to it
    ],
)
def test_result(code: tuple[str, ...], place: int) -> None:
    content = make(*code)
    assert find_result(content, content.index(bytes.fromhex(CALL)) + 5) == place


def test_returns() -> None:
    assert find_returns(make(RET, "31c0 ", "7401 ", RET, "c20800")) == [0, 5, 6]
    assert find_returns(make("31c0 ", RET)) == [2]
    assert find_returns(make(RET, "e900100000")) is None  # goes on elsewhere
    assert find_returns(make(RET, "7410")) is None
    assert find_returns(make(RET, "ffe0")) is None
    assert find_returns(make(RET, "06")) is None
    assert find_returns(make(RET, "ffe0"), stays=True) == [0]
    # movslq (%rdx,%rax,4),%rax; add %rdx,%rax; notrack jmp *%rax
    assert find_returns(make("48630482 ", "4801d0 ", "3effe0 ", RET)) == [10]
    assert find_returns(make("48630482 ", "4829d0 ", "3effe0 ", RET)) is None


def test_returns_of_what_it_goes_on_to() -> None:
    """Another function, and a part of its own that is kept elsewhere and comes back."""
    main = make("7410 ", "e919000000 ", RET)  # je 0x1012; jmp 0x1020
    cold = make("90 ", "7402 ", "ebf0 ", RET)  # at 0x1012; jmp 0x1007
    code = main.ljust(0x12, b"\xcc") + cold.ljust(14, b"\xcc") + make("31c0 ", RET)
    sizes = {START + 0x12: len(cold), START + 0x20: 3}
    found = find_all_returns(reading(code), lambda at: sizes.get(at, 0), START, len(main))
    assert sorted(found or ()) == [START + at for at in (7, 0x17, 0x22)]
    del sizes[START + 0x20]
    assert find_all_returns(reading(code), lambda at: sizes.get(at, 0), START, len(main)) is None
    # a circle, and what never ends
    assert find_all_returns(reading(make("ebfe")), lambda _: 2, START, 2) == []
    assert find_all_returns(lambda at, _: make("eb02"), lambda _: 2, START, 2) is None


def test_a_function_ends_where_no_branch_leads_further() -> None:
    whole = make("7403 ", "31c0 ", RET, "31ff ", "ebf9 ")
    assert cut_function(whole + make("cccccccc")) == whole
    assert cut_function(make("31c0 ", RET, "55")) == make("31c0 ", RET)
    assert cut_function(make("31c0 ", "06")) == make("31c0 ", "06")


@given(st.lists(st.sampled_from([b"\x90" * 37, b"\x90" * 251, b"CALL", b"JUMP", b"OTHER"])))
def test_callers(parts: list[bytes]) -> None:
    """All of them, wherever they are, also before and behind the function."""
    content, returns, jumps = bytearray(), [], False
    target = START + 700
    for part in parts:
        if part in (b"CALL", b"JUMP", b"OTHER"):
            distance = target - (START + len(content) + 5) + (part == b"OTHER")
            content += (b"\xe9" if part == b"JUMP" else b"\xe8") + distance.to_bytes(
                4, "little", signed=True
            )
            jumps |= part == b"JUMP"
            if part == b"CALL":
                returns.append(START + len(content))
        else:
            content += part
    assert find_callers(bytes(content), START, target) == (returns, jumps)


@given(st.binary(max_size=80), st.integers(0, 5))
def test_any_bytes(code: bytes, arguments: int) -> None:
    assert 0 <= find_entry(code, ARGUMENTS[:arguments]) <= len(code)
    assert 0 <= find_result(code, 0) <= len(code)
    find_returns(code)
    find_call(reading(code), follow, START, CX)
    find_successors(reading(code), follow, START)
    assert code.startswith(cut_function(code))
