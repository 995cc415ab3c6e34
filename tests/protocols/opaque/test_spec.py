"""The protocol of last resort as the registry sees it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Detection, ProtocolSpec
from kebpf.protocols.opaque import OPAQUE


@given(st.binary(), st.binary())
def test_takes_everything(client: bytes, server: bytes) -> None:
    spec: ProtocolSpec = OPAQUE
    assert spec.name == "opaque"
    assert spec.detect(client, server) is Detection.YES
    assert spec.resynchronise(client, server) is Detection.YES
    assert spec.write_request({"data": client}) == client
    assert spec.write_response({"data": server}) == server
    assert len(spec.describe({"data": client})) <= 100


def test_views() -> None:
    assert OPAQUE.view({"data": "é\r\n".encode()}) == {"data": "é\r\n"}
    assert OPAQUE.view({"data": b"\xff"}) == {"data": b"\xff"}
    assert OPAQUE.view({"data": b"a\x00"}) == {"data": b"a\x00"}


def test_identity_and_description() -> None:
    data = bytes(range(65, 105))
    assert OPAQUE.identity({"data": data}) == {
        "operation": repr(data[:32]),
        "data": data,
    }
    assert OPAQUE.describe({"data": b""}) == "greeting"
    assert OPAQUE.describe({"data": b"QUIT\r\n"}) == "6 bytes b'QUIT\\r\\n'"
