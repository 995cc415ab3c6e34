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

    def __init__(self, folder: Path, version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> None:
        context, client = make_server_context(folder, []), make_client_context(version, [])
        client.set_ciphers(ciphers)
        super().__init__(context, client, None)
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


PROTECTIONS = [
    (ssl.TLSVersion.TLSv1_3, "DEFAULT"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
]


def join(folder: Path, version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> Watched:
    """A conversation that goes on for a while before a question in it is read."""
    talk = Watched(folder, version, ciphers)
    talk.shake_hands()
    talk.say(0, b"a question")
    talk.lane = TlsLane(lambda _: None)
    talk.say(1, b"an answer")
    talk.lane.begin_plaintext(talk.time_ns, is_whole=False)
    assert talk.lane.find_missed(Sender.CLIENT, talk.time_ns, 10) == []
    return talk


@pytest.mark.parametrize(("version", "ciphers"), PROTECTIONS)
@pytest.mark.parametrize("size", [1, 17, 4096, 16384, 40_000])
def test_an_answer_that_is_read_from_its_beginning(
    tmp_path: Path, version: ssl.TLSVersion, ciphers: str, size: int
) -> None:
    """All of it, or less: then something else took its beginning."""
    for read in {size, size // 2, max(size - 25, size // 2)} - {0}:  # it may be any of the ciphers
        talk = join(tmp_path, version, ciphers)
        talk.say(1, bytes(size))
        missed = talk.lane.find_missed(Sender.SERVER, talk.time_ns + 1, read)
        assert missed == ([] if read == size else [Sender.SERVER])


def test_tickets_are_no_beginning_of_an_answer(tmp_path: Path) -> None:
    """OpenSSL sends two behind its greeting, which look like any other record."""
    talk = Watched(tmp_path, ssl.TLSVersion.TLSv1_3)
    talk.lane.begin_plaintext(talk.time_ns, is_whole=False)
    talk.shake_hands()
    talk.say(1, b"answer")
    assert Sender.SERVER not in talk.lane.find_missed(Sender.SERVER, talk.time_ns + 1, 6)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("answers", [1, 200])
def test_a_side_is_missed_until_it_is_read(
    tmp_path: Path, version: ssl.TLSVersion, answers: int
) -> None:
    """Once for each question that was answered since the last, as it is told at the next."""
    talk = join(tmp_path, version)
    for _ in range(3):
        for _ in range(answers):
            talk.say(1, b"answer")
        now_ns = talk.time_ns + 1
        assert talk.lane.find_missed(Sender.CLIENT, now_ns, 1) == [Sender.SERVER]
        assert talk.lane.find_missed(Sender.CLIENT, now_ns, 1) == []
    talk.say(1, b"answer")
    assert talk.lane.find_missed(Sender.SERVER, talk.time_ns + 1, 6) == []
    talk.say(1, b"answer")
    assert talk.lane.find_missed(Sender.CLIENT, talk.time_ns + 1, 1) == []


def test_what_was_said_later_than_what_is_told_is_not_missed(tmp_path: Path) -> None:
    """Plaintext is held until it is known where it belongs; of many records the last are known."""
    talk = join(tmp_path, ssl.TLSVersion.TLSv1_3)
    asked_ns = talk.time_ns
    talk.say(1, b"answer")
    assert talk.lane.find_missed(Sender.CLIENT, asked_ns, 1) == []
    for _ in range(100):
        talk.say(1, b"answer")
    assert talk.lane.find_missed(Sender.CLIENT, asked_ns + 2, 1) == [Sender.SERVER]
