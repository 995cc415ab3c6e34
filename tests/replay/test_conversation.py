from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.model import Mock
from kebpf.replay.conversation import HEAD_SIZE_LIMIT, Conversation
from kebpf.replay.matcher import Matcher
from kebpf.replay.routing import Routes
from tests.replay.sets import PROTOCOLS, SetInMemory, make_matcher, make_mock

PLACE = "10.0.0.7:80"
REQUEST = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
COMMAND = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"


def make_mocks() -> list[Mock]:
    return [
        make_mock("http", PLACE, REQUEST, RESPONSE),
        make_mock("redis", PLACE, COMMAND, b"$2\r\nok\r\n"),
    ]


def open_conversation(mocks: list[Mock], host: str = "10.0.0.7") -> tuple[Conversation, Matcher]:
    matcher = make_matcher(SetInMemory(mocks=mocks))
    matcher.begin_case(None, 1)
    route = Routes(mocks).find("tcp", host, 80)
    return Conversation(route, matcher, PROTOCOLS), matcher


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 100), max_size=6), st.booleans())
def test_detection_does_not_depend_on_pieces(cuts: list[int], is_http: bool) -> None:
    conversation, _ = open_conversation(make_mocks())
    data = REQUEST if is_http else COMMAND
    answer = b"".join(conversation.receive_data(piece) for piece in split(data, cuts))
    assert conversation.protocol == ("http" if is_http else "redis")
    assert answer.endswith(b"ok" if is_http else b"$2\r\nok\r\n")


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_to_a_place_never_recorded_ends_as_a_miss_or_an_answer(pieces: list[bytes]) -> None:
    conversation, matcher = open_conversation(make_mocks(), "10.9.9.9")
    for piece in pieces:
        if not conversation.is_closed:
            conversation.receive_data(piece)
    if conversation.protocol is None:
        conversation.receive_eof()
        assert conversation.is_closed
        [finding] = matcher.end_case(2)
        assert finding.destination == "10.9.9.9:80"


def test_a_head_that_decides_nothing_is_not_gathered_for_ever() -> None:
    conversation, _ = open_conversation(make_mocks(), "10.9.9.9")
    for _ in range(HEAD_SIZE_LIMIT + 1):
        conversation.receive_data(b"A")
        if conversation.protocol is not None:
            break
    assert conversation.protocol == "opaque"
    assert conversation.is_closed


def test_a_server_that_speaks_first_greets() -> None:
    asked = make_mock("opaque", PLACE, b"x", b"220 ready\r\n")
    mocks = [replace(asked, request={"data": b""})]
    conversation, _ = open_conversation(mocks)
    assert conversation.open() == b"220 ready\r\n"


def test_a_protocol_that_is_spoken_to_does_not_greet() -> None:
    conversation, _ = open_conversation(make_mocks()[:1])
    assert conversation.open() == b""
