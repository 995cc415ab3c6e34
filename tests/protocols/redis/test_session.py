"""The server session by literal bytes: greetings, silence, misses, any cutting."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, Miss, WaitingSession
from kebpf.protocols.redis import REDIS
from kebpf.protocols.redis.server import RedisServer
from kebpf.protocols.redis.writer import write_command


class Answers:
    """Answers GET with its key, misses everything else."""

    def __init__(self) -> None:
        self.asked: list[Document] = []
        self.told: list[Document] = []
        self.publishable: set[str] = set()

    def answer(self, request: Document) -> Document | Miss:
        self.asked.append(request)
        if request["command"][0] == "GET":
            return {"reply": {"type": "bulk", "value": request["command"][1]}}
        if request["command"][-1] in self.publishable:
            return {"reply": {"type": "integer", "value": 1}}
        return Miss("never\r\nrecorded")

    def peek(self, request: Document) -> bool:
        return request["command"][-1] in self.publishable

    def session(self, request: Document) -> Document | None:
        self.told.append(request)
        return None


def serve(*facts: Document) -> tuple[RedisServer, Answers]:
    answers = Answers()
    return REDIS.make_server(answers, facts), answers


def send(server: RedisServer, *commands: str) -> bytes:
    return server.receive_data(b"".join(write_command([*line.split()]) for line in commands))


CASES: list[tuple[list[str], bytes]] = [
    (["GET a", "GET b"], b"$1\r\na\r\n$1\r\nb\r\n"),
    (["DEL a"], b"-KEBPF never recorded\r\n"),
    (["PING", "PING x", "ECHO y"], b"+PONG\r\n$1\r\nx\r\n$1\r\ny\r\n"),
    (["EXEC", "DISCARD"], b"-ERR EXEC without MULTI\r\n-ERR DISCARD without MULTI\r\n"),
    (["MULTI", "GET a", "DISCARD"], b"+OK\r\n+QUEUED\r\n+OK\r\n"),
    (["CLIENT REPLY SKIP", "GET a", "GET b"], b"$1\r\nb\r\n"),
    (["CLIENT REPLY OFF", "GET a", "CLIENT REPLY ON", "GET b"], b"+OK\r\n$1\r\nb\r\n"),
    (["CLIENT SETNAME me", "CLIENT GETNAME"], b"+OK\r\n$2\r\nme\r\n"),
    (["HELLO 9"], b"-NOPROTO unsupported protocol version\r\n"),
    (["MONITOR"], b"-KEBPF MONITOR cannot be replayed\r\n"),
    (["QUIT", "GET a"], b"+OK\r\n"),
    (["SUBSCRIBE c", "PING"],
     b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("commands", "expected"), CASES)
def test_literals(commands: list[str], expected: bytes) -> None:
    assert send(serve()[0], *commands) == expected


@given(st.sampled_from(CASES), st.lists(st.integers(0, 20)))
def test_any_cutting(case: tuple[list[str], bytes], sizes: list[int]) -> None:
    server, _ = serve()
    wire = b"".join(write_command([*line.split()]) for line in case[0])
    out = b""
    for size in [*sizes, len(wire)]:
        out += server.receive_data(wire[:size])
        wire = wire[size:]
    assert out == case[1]


def test_hello_tells_the_recorded_version_and_keeps_no_password() -> None:
    field: Any = [{"type": "bulk", "value": "version"}, {"type": "bulk", "value": "6.2.7"}]
    reply = {"reply": {"type": "map", "items": field}, "resp": 3}
    server, answers = serve({"request": {"command": ["HELLO", "3"]}, "response": reply})
    out = send(server, "HELLO 3 AUTH u secret SETNAME me", "CLIENT GETNAME")
    assert out.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n6.2.7\r\n")
    assert out.endswith(b"$2\r\nme\r\n")
    assert "secret" not in repr(answers.told)


def test_old_server_refuses_hello_as_recorded() -> None:
    error = {"type": "error", "value": "ERR unknown command `HELLO`"}
    fact = {"request": {"command": ["HELLO", "3"]}, "response": {"reply": error}}
    assert send(serve(fact)[0], "HELLO 3") == b"-ERR unknown command `HELLO`\r\n"


def test_transaction_is_asked_once() -> None:
    server, answers = serve()
    assert send(server, "WATCH w", "MULTI", "GET a", "AUTH secret") == (
        b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    )
    assert send(server, "EXEC") == b"-KEBPF never recorded\r\n"
    assert answers.asked == [
        {"command": ["EXEC"], "queued": [["GET", "a"], ["AUTH", "***"]], "watched": ["w"], "db": 0}
    ]


def test_selected_database_is_asked_for_when_the_recording_knows_databases() -> None:
    fact = {"request": {"command": ["PING"], "db": 0}, "response": None}
    for facts, db in (([fact], 5), ([], 0)):
        server, answers = serve(*facts)
        send(server, "SELECT 5", "GET a")
        assert answers.asked[0]["db"] == db


def test_recorded_messages_follow_their_subscription() -> None:
    items = [{"type": "bulk", "value": text} for text in ("message", "c", "hi")]
    push = {"command": ["SUBSCRIBE", "c"], "pushed": True}
    fact = {"request": push, "response": {"reply": {"type": "array", "items": items}}}
    server, _ = serve(fact)
    assert send(server, "SUBSCRIBE c").endswith(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")
    server, _ = serve(fact)
    out = send(server, "HELLO 3", "SUBSCRIBE c")
    assert out.endswith(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")


def make_push(*texts: str) -> Document:
    verb = {"message": "SUBSCRIBE", "pmessage": "PSUBSCRIBE"}[texts[0]]
    items = [{"type": "bulk", "value": text} for text in texts]
    request = {"command": [verb, texts[1]], "pushed": True}
    return {"request": request, "response": {"reply": {"type": "push", "items": items}}}


def hear(server: RedisServer, *command: str) -> bytes:
    return server.hear({"command": list(command)})


def test_messages_of_served_clients_come_when_they_are_published() -> None:
    server, answers = serve(make_push("message", "c", "mine"), make_push("message", "c", "other"))
    answers.publishable = {"mine"}
    send(server, "HELLO 3")
    out = send(server, "SUBSCRIBE c")
    assert b"mine" not in out and out.endswith(b"$5\r\nother\r\n")
    assert hear(server, "PUBLISH", "c", "other") == b""  # sent before its time
    message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%s\r\n"
    assert hear(server, "PUBLISH", "c", "other") == message % (5, b"other")
    assert hear(server, "PUBLISH", "c", "mine") == message % (4, b"mine")
    assert hear(server, "PUBLISH", "d", "mine") == b""
    assert hear(server, "SPUBLISH", "c", "mine") == b""


def test_messages_by_pattern_and_in_resp2() -> None:
    server, _ = serve()
    send(server, "PSUBSCRIBE n*s")
    assert hear(server, "PUBLISH", "news", "x") == (
        b"*4\r\n$8\r\npmessage\r\n$3\r\nn*s\r\n$4\r\nnews\r\n$1\r\nx\r\n"
    )
    send(server, "PUNSUBSCRIBE")
    assert hear(server, "PUBLISH", "news", "x") == b""


def test_what_is_published_is_told_when_it_was_answered() -> None:
    server, answers = serve()
    answers.publishable = {"x"}
    send(server, "PUBLISH c unknown", "MULTI", "PUBLISH c x", "DISCARD")
    assert server.take_news() == []
    send(server, "PUBLISH c x", "MULTI", "PUBLISH c y", "EXEC")
    assert [one["command"][2] for one in server.take_news()] == ["x"]  # that EXEC missed
    assert server.take_news() == []


def test_garbage_closes_with_an_error() -> None:
    server, _ = serve()
    assert server.receive_data(b"*1\r\n+x\r\n").startswith(b"-ERR Protocol error")
    assert server.is_closed


class Patient(Answers):
    """Answers BRPOP once there is something."""

    is_there = False

    def is_due(self, request: Document) -> bool:
        return self.is_there

    def answer(self, request: Document) -> Document | Miss:
        if request["command"][0] == "BRPOP":
            items = [{"type": "bulk", "value": word} for word in ("q", "job")]
            return {"reply": {"type": "array", "items": items}}
        return super().answer(request)


FOUND = b"*2\r\n$1\r\nq\r\n$3\r\njob\r\n"


def test_a_command_that_waits_is_answered_when_it_is_due() -> None:
    """What was sent behind it waits too, as in Redis."""
    answers = Patient()
    server = REDIS.make_server(answers, ())
    assert isinstance(server, WaitingSession)
    assert send(server, "GET a", "BRPOP q 5", "GET b") == b"$1\r\na\r\n"
    assert server.waits_s == 5
    assert send(server, "GET c") == server.resume() == b""
    answers.is_there = True
    assert server.resume() == FOUND + b"$1\r\nb\r\n$1\r\nc\r\n"
    assert server.waits_s is None
    assert send(server, "BRPOP q 5") == FOUND
    assert server.resume() == server.expire() == b""


@pytest.mark.parametrize(("hello", "nothing"), [([], b"*-1\r\n"), (["HELLO 3"], b"_\r\n")])
def test_a_command_that_waited_in_vain_found_nothing(hello: list[str], nothing: bytes) -> None:
    server = REDIS.make_server(Patient(), ())
    assert isinstance(server, WaitingSession)
    send(server, *hello)
    assert send(server, "BRPOP q 0.5", "GET b") == b""
    assert server.expire() == nothing + b"$1\r\nb\r\n"


def test_nothing_waits_in_a_transaction() -> None:
    server = REDIS.make_server(Patient(), ())
    assert send(server, "MULTI", "BRPOP q 5", "DISCARD") == b"+OK\r\n+QUEUED\r\n+OK\r\n"


class Keeping(Patient):
    """Keeps requests by their bytes; GET is answered with what is in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Hashable, Document] = {}
        self.turns: list[Document | Miss] = []

    def find_request(self, source: Hashable) -> Document | None:
        return self.kept.get(source)

    def keep_request(self, source: Hashable, request: Document) -> None:
        self.kept[source] = request

    def answer(self, request: Document) -> Document | Miss:
        if self.turns and request["command"][0] == "GET":
            return self.turns.pop(0)
        return super().answer(request)


def test_what_is_kept_is_answered_as_what_is_not() -> None:
    answers = Keeping()
    server = REDIS.make_server(answers, ())
    null: Document = {"reply": {"type": "null"}}
    large: Document = {"reply": {"type": "bulk", "value": "x" * 5000}}
    replies: list[Document | Miss] = [null, null, Miss("not now"), large, large, null]
    answers.turns = list(replies)
    got = [send(server, "GET a") for _ in replies]
    assert len(answers.kept) == 1
    assert got[0] == got[1] == got[5] == b"$-1\r\n"
    assert got[2] == b"-KEBPF not now\r\n"
    assert got[3] == got[4] == b"$5000\r\n%b\r\n" % (b"x" * 5000)
    send(server, "HELLO 3")
    answers.turns = [null, null]
    assert [send(server, "GET a") for _ in range(2)] == [b"_\r\n"] * 2
    assert send(server, "MULTI", "GET a", "DISCARD") == b"+OK\r\n+QUEUED\r\n+OK\r\n"


def test_what_waits_or_tells_others_is_not_kept() -> None:
    answers = Keeping()
    answers.publishable, answers.is_there = {"x"}, True
    server = REDIS.make_server(answers, ())
    assert [send(server, "BRPOP q 5") for _ in range(2)] == [FOUND] * 2
    assert [send(server, "PUBLISH c x") for _ in range(2)] == [b":1\r\n"] * 2
    assert len(server.take_news()) == 2
    assert not answers.kept
