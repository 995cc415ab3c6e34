"""A query that was cancelled when recorded is answered when its client cancels it again."""

from __future__ import annotations

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import make_request, new_response
from kebpf.protocols.postgres.session import PostgresServer
from kebpf.protocols.postgres.writer import write
from tests.protocols.postgres.wire import RecordedAnswerer

SLOW = "SELECT pg_sleep(20)"
CANCEL: Document = {"request": {"kind": "cancel"}, "response": {"results": [], "error": None}}
STARTUP = write(m.StartupMessage([("user", "u")]))
READY = b"Z\0\0\0\5I"


def make_failure(message: str) -> Exchange:
    report = {"severity": "ERROR", "code": "57014", "message": message}
    response = {**new_response(), "error": report}
    request = make_request(SLOW, database="u")
    return Exchange("postgres", request, response, Mark(1), Mark(1), Mark(2), Mark(3))


def start(message: str, facts: list[Document]) -> tuple[PostgresServer, m.BackendKeyData]:
    """A session, and the key that its client was given."""
    server = PostgresServer(RecordedAnswerer([make_failure(message)]), facts)
    greeting = server.receive_data(STARTUP)
    at = greeting.index(b"K\0\0\0\x0c")
    process_id, secret_key = greeting[at + 5 : at + 9], greeting[at + 9 : at + 13]
    return server, m.BackendKeyData(int.from_bytes(process_id, "big"), secret_key)


def cancel(key: m.BackendKeyData) -> Document:
    """What another connection lets be known."""
    other = PostgresServer(RecordedAnswerer([]), [CANCEL])
    assert other.receive_data(write(m.CancelRequest(key.process_id, key.secret_key))) == b""
    assert other.is_closed
    [news] = other.take_news()
    return news


def test_waits_for_its_cancel_request() -> None:
    server, key = start("canceling statement due to user request", [CANCEL])
    _, stranger = start("", [CANCEL])
    assert key != stranger
    assert server.receive_data(write(m.Query(SLOW)) + write(m.Query(""))) == b""
    assert server.hear(cancel(stranger)) == b""
    answer = server.hear(cancel(key))
    assert answer.startswith(b"E")
    assert b"57014" in answer
    assert answer.endswith(READY + write(m.EmptyQueryResponse()) + READY)
    assert server.hear(cancel(key)) == b""


def test_what_nobody_asked_to_cancel_is_answered_at_once() -> None:
    for message, facts in (
        ("canceling statement due to statement timeout", [CANCEL]),
        ("canceling statement due to user request", []),
    ):
        server, _ = start(message, facts)
        assert b"57014" in server.receive_data(write(m.Query(SLOW)))
