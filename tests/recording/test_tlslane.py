"""What an encrypted connection shows that is not read: real records of OpenSSL."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from kebpf.protocols.base import Sender
from kebpf.reassembly.stream import Piece
from kebpf.recording.tlslane import TlsLane
from tests.protocols.tls.greeting import Conversation, make_client_context, make_server_context

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
SENDERS = (Sender.CLIENT, Sender.SERVER)


class Watched(Conversation):
    """A conversation whose bytes a lane is given as they go over."""

    def __init__(self, folder: Path, version: ssl.TLSVersion) -> None:
        context = make_server_context(folder, [])
        super().__init__(context, make_client_context(version, []), None)
        self.lane = TlsLane(lambda _: None, hello_ns=1)
        self.seen = [0, 0]
        self.time_ns = 0

    def carry(self, side: int) -> None:
        super().carry(side)
        data = bytes(self.sent[side][self.seen[side] :])
        if data:
            self.time_ns += 1
            piece = Piece(self.seen[side], len(data), self.time_ns, 7, data)
            self.lane.take_piece(SENDERS[side], piece)
            self.seen[side] += len(data)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_spare_connection_was_not_used(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Greetings, session tickets and a farewell are no call."""
    talk = Watched(tmp_path, version)
    talk.shake_hands()
    assert (talk.lane.was_used, talk.lane.take_turns(None)) == (False, [])
    with pytest.raises(ssl.SSLWantReadError):
        talk.ends[0].unwrap()
    talk.carry(0)
    assert (talk.lane.was_used, talk.lane.take_turns(None)) == (False, [])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 3, 36, 100])
def test_what_is_asked_in_secret_is_a_turn(
    tmp_path: Path, version: ssl.TLSVersion, size: int
) -> None:
    """Of whatever size: 36 bytes are as many as a Finished."""
    talk = Watched(tmp_path, version)
    talk.shake_hands()
    for _ in range(3):
        talk.say(0, bytes(size))
        talk.say(1, b"answer")
    turns = talk.lane.take_turns(None)
    assert talk.lane.was_used
    assert [(one.tid, one.end_ns - one.start_ns) for one in turns] == [(7, 1)] * 3
