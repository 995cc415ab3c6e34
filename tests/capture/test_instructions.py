"""Machine code is taken apart as binutils do it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.instructions import InstructionError, decode, decode_all
from tests.capture.binaries import Line, disassemble, find_library, needs_compiler

# what binutils say of bytes that are data, or of prefixes that stand alone
NO_INSTRUCTION = ("(bad)", ".byte", "rex.", "cs", "ds", "es", "ss", "data16", "fwait", "lock")

_PREFIX = re.compile("^(bnd|notrack|repz) ")


@needs_compiler
@pytest.mark.parametrize("name", ["libssl.so.3", "libm.so.6"])
def test_instructions_begin_where_objdump_says(name: str) -> None:
    lines = list(disassemble(find_library(name)))
    assert len(lines) > 10000
    differing = [line for line in lines if is_instruction(line) and not is_same(line)]
    assert differing == []


def is_instruction(line: Line) -> bool:
    if line.code[:1] == b"\x9b":  # an instruction of its own, which objdump joins to the next
        return False
    return bool(line.text) and "(bad)" not in line.text and not line.text.startswith(NO_INSTRUCTION)


def is_same(line: Line) -> bool:
    """Of what objdump says of an instruction: its length, kind, and where it goes."""
    try:
        step = decode(line.code, 0, line.address)
    except InstructionError:
        return False
    name, _, rest = _PREFIX.sub("", line.text).partition(" ")
    is_indirect = rest.strip().startswith("*")
    goes = name.startswith(("j", "call", "loop")) and not is_indirect
    return (
        step.size == len(line.code)
        and step.is_return == (name == "ret")
        and step.is_push == (name == "push" and rest.strip().startswith("%") and "s," not in rest)
        and step.is_call == (name == "call" and not is_indirect)
        and step.is_jump == (name == "jmp" and not is_indirect)
        and step.is_indirect_jump == (name == "jmp" and is_indirect)
        and step.is_branch == (goes and name not in ("jmp", "call"))
        and (not goes or step.target == int(rest.split()[0], 16))
    )


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("48b8efcdab8967452301", 10),  # movabs $0x123456789abcdef,%rax
        ("66b83412", 4),  # mov $0x1234,%ax
        ("a1efcdab8967452301", 9),  # movabs 0x123456789abcdef,%eax
        ("67a178563412", 6),  # addr32 mov 0x12345678,%eax
        ("c8100001", 4),  # enter $0x10,$0x1
        ("c20800", 3),  # ret $0x8
        ("f60501000000ff", 7),  # testb $0xff,0x1(%rip)
        ("f7d8", 2),  # neg %eax
        ("66f7c03412", 5),  # test $0x1234,%ax
        ("c4e27d58c1", 5),  # vpbroadcastd %xmm1,%ymm0
        ("c4e37d39c101", 6),  # vextracti128 $0x1,%ymm0,%xmm1
        ("c5f877", 3),  # vzeroupper
        ("c5f970c81b", 5),  # vpshufd $0x1b,%xmm0,%xmm1
        ("62f17c48104001", 7),  # vmovups 0x40(%rax),%zmm0
        ("62f36548c2c801", 7),  # vcmpltps %zmm0,%zmm3,%k1
        ("62f57c48580401", 7),  # vaddph (%rcx,%rax,1),%zmm0,%zmm0
        ("8fe97812c0", 5),  # llwpcb %rax (XOP)
        ("8fea7810c178563412", 9),  # bextr $0x12345678,%ecx,%eax (XOP)
        ("0f0fc19e", 4),  # pfadd %mm1,%mm0
        ("8f00", 2),  # pop (%rax)
        ("2e66660f1f840000000000", 11),  # nop
        ("f30f1efa", 4),  # endbr64
        ("41ffd3", 3),  # call *%r11
    ],
)
def test_rare_instructions(code: str, size: int) -> None:
    content = bytes.fromhex(code)
    assert decode(content + bytes(8), 0).size == size
    with pytest.raises(InstructionError):
        decode(content[:-1], 0)


def test_what_the_kernel_does_itself() -> None:
    """See arch/x86/kernel/uprobes.c."""
    cheap = ("55", "4155", "90", "eb10", "e900000000", "e800000000", "7410", "0f8400000000")
    dear = ("4883ec08", "f30f1efa", "4889e5", "c3", "ff6010", "e310", "6655", "4190", "ff7508")
    assert [decode(bytes.fromhex(code), 0).is_cheap for code in cheap] == [True] * len(cheap)
    assert [decode(bytes.fromhex(code), 0).is_cheap for code in dear] == [False] * len(dear)


@given(st.binary(max_size=64))
def test_any_bytes_are_instructions_or_none(code: bytes) -> None:
    at = 0
    try:
        for step in decode_all(code):
            assert step.at == at
            assert 0 < step.size <= 15
            at = step.end
    except InstructionError:
        assert at < len(code)
    else:
        assert at == len(code)
