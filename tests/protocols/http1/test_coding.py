"""Content codings, encoded by the reference libraries."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.http1 import coding
from kebpf.protocols.http1.coding import decode_codings


def bare_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def stream_zstd(data: bytes) -> bytes:
    """Without the content size in the frame."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


ENCODERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", stream_zstd),
]


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
class TestEachCoding:
    def test_round_trip(self, name: str, encode: Callable[[bytes], bytes]) -> None:
        for data in (b"", b"x", b"Hello " * 50_000, bytes(range(256)) * 99):
            assert decode_codings(encode(data), [name]) == data

    def test_cut_off(self, name: str, encode: Callable[[bytes], bytes]) -> None:
        whole = encode(b"Hello World" * 9)
        for size in range(1, len(whole)):
            with pytest.raises(ProtocolError):
                decode_codings(whole[:size], [name])

    def test_trailing_bytes(self, name: str, encode: Callable[[bytes], bytes]) -> None:
        with pytest.raises(ProtocolError):
            decode_codings(encode(b"Hello World") + b"?", [name])

    def test_bombs(
        self, name: str, encode: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coding, "MAX_DECODED_SIZE", 100_000)
        assert len(decode_codings(encode(b"\x00" * 100_000), [name])) == 100_000
        with pytest.raises(ProtocolError):
            decode_codings(encode(b"\x00" * 5_000_000), [name])


def test_several_members_and_several_codings() -> None:
    assert decode_codings(gzip.compress(b"a") + gzip.compress(b"b"), ["gzip"]) == b"ab"
    compress = zstandard.ZstdCompressor().compress
    assert decode_codings(compress(b"a") + compress(b"b"), ["zstd"]) == b"ab"
    assert decode_codings(brotli.compress(gzip.compress(b"x")), ["gzip", "identity", "br"]) == b"x"


def test_unknown_coding() -> None:
    with pytest.raises(ProtocolError):
        decode_codings(b"x", ["compress"])


@given(st.sampled_from(["gzip", "deflate", "br", "zstd"]), st.binary(max_size=60))
def test_garbage(name: str, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(decode_codings(data, [name]), bytes)
