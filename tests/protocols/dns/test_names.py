"""Names against RFC 1035's own example and dpkt, and for all bytes."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.dns.names import NameWriter, join_labels, read_name, split_name, write_name
from tests.protocols.dns.builders import names

# RFC 1035, 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
RFC_MESSAGE = (
    bytes(20) + b"\1F\3ISI\4ARPA\0" + bytes(8) + b"\3FOO\xc0\x14" + bytes(18) + b"\xc0\x1a"
    + bytes(26) + b"\0"
)  # fmt: skip
labels = st.lists(st.binary(min_size=1, max_size=20), max_size=8)


@pytest.mark.parametrize(
    ("offset", "name", "end"),
    [(20, "F.ISI.ARPA", 32), (40, "FOO.F.ISI.ARPA", 46), (64, "ARPA", 66), (92, ".", 93)],
)
def test_example_of_the_rfc(offset: int, name: str, end: int) -> None:
    assert read_name(RFC_MESSAGE, offset) == (name, end)


@given(labels)
def test_every_byte_survives(parts: list[bytes]) -> None:
    name = join_labels(parts)
    assert split_name(name) == parts
    assert read_name(write_name(name), 0) == (name, len(write_name(name)))


@given(st.lists(names, min_size=1, max_size=6))
def test_dpkt_reads_compressed_names(written: list[str]) -> None:
    writer, message, offsets = NameWriter(), bytearray(12), []
    for name in written:
        offsets.append(len(message))
        message += writer.write(name, len(message))
    for name, offset in zip(written, offsets, strict=True):
        assert dpkt.dns.unpack_name(bytes(message), offset)[0] == name
        assert read_name(bytes(message), offset)[0] == name


@pytest.mark.parametrize(
    "data",
    [b"", b"\3ab", b"\xc0", b"\xc0\x00", b"\1a\xc0\x00", b"\x40a\0", b"\x3f" * 300, b"\1a" * 130],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_name(data, 0)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_garbage_is_a_name_or_an_error(data: bytes, offset: int) -> None:
    try:
        name, end = read_name(data, offset)
    except ProtocolError:
        return
    assert offset < end <= len(data)
    assert len(write_name(name)) <= 255
