"""Kept requests change nothing: every byte and every account is as without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Answerer, Document, KeepingAnswerer, Miss
from kebpf.protocols.redis.server import RedisServer
from kebpf.protocols.redis.writer import write_command
from kebpf.recording.model import Mock, Tier
from kebpf.replay.answers import DestinationAnswers
from kebpf.replay.binding import Bindings
from kebpf.replay.kept import MOST_KEPT, KeptRequests
from kebpf.replay.matcher import Matcher
from kebpf.replay.noise import Noise, NoiseRule

from .builders import CACHE, REPLAYED_NS, SECOND, MemorySet, make_case, make_mock
from .sets import PROTOCOLS

OLD, NEW = str(UUID(int=0x1F4C89D02BB34A7F9E6D11A5C0FFEE01, version=4)), "0b6e3f52-77a1-4c1b"
NEW += "-8a45-d93e20c771aa"
NOISE = NoiseRule("/arguments/1", call="SET")
CASES = ("a", "b", None)
FACTS: list[Document] = [{"request": {"command": ["PING"], "db": 0}, "response": None}]


class Forgetful:
    """An answerer that keeps nothing: what the answers are measured by."""

    def __init__(self, answers: DestinationAnswers) -> None:
        self.answer, self.session, self.peek = answers.answer, answers.session, answers.peek


def make_call(*words: str, reply: str, case: str | None = "a", **changes: Any) -> Mock:
    return make_mock(
        " ".join(words),
        case=case,
        protocol="redis",
        destination=CACHE,
        request={"command": list(words), "db": changes.pop("db", 0)},
        response={"reply": {"type": "bulk", "value": reply}},
        **changes,
    )


def make_mocks() -> list[Mock]:
    generated = {"/arguments/1": "{uuid4}"}
    return [
        make_call("GET", "k", reply="first"),
        make_call("GET", "k", reply="second"),
        make_call("GET", "k", reply="of b", case="b"),
        make_call("GET", "k", reply="in 1", db=1),
        make_call("SET", "id", OLD, reply="OK", generated=generated),
        make_call("GET", f"row:{OLD}", reply=f"row of {OLD}"),
        make_call("GET", "any", reply="x", case=None, tier=Tier.BACKGROUND),
        make_call("PUBLISH", "news", "hello", reply="1"),
    ]


COMMANDS = (
    *("GET k", "get k", "GET any", f"SET id {NEW}", f"SET id {OLD}", f"GET row:{NEW}"),
    *(f"GET row:{OLD}", "GET never", "PUBLISH news hello", "SELECT 0", "SELECT 1", "MULTI"),
    *("EXEC", "DISCARD", "CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "HELLO 3"),
    *("SUBSCRIBE news", "UNSUBSCRIBE news", "RESET", "WATCH k", "PING", "AUTH secret"),
)


def write(command: str, is_inline: bool) -> bytes:
    if is_inline:
        return f"{command}\r\n".encode()
    return write_command(list(command.split()))


class Stand:
    """Two connections to one matcher."""

    def __init__(self, noise: Sequence[NoiseRule], keeps: bool) -> None:
        self.noise = Noise(noise)
        self.cases = {name: make_case(name) if name else None for name in CASES}
        test_set = MemorySet(filter(None, self.cases.values()), make_mocks())
        self.matcher = Matcher(
            test_set, Bindings(), PROTOCOLS.__getitem__, routes={}, noise=self.noise
        )
        self.servers = [RedisServer(self._connect(keeps), FACTS) for _ in range(2)]
        for number, server in enumerate(self.servers):
            server._state.identifier = number  # else from a counter of the process
        self.findings: list[Any] = []

    def _connect(self, keeps: bool) -> Answerer:
        answers = self.matcher.for_destination(CACHE, "redis")
        return cast(Answerer, answers) if keeps else Forgetful(answers)

    def begin(self, name: str | None) -> None:
        self.findings.append(self.matcher.end_case(REPLAYED_NS + SECOND))
        self.matcher.begin_case(self.cases[name], REPLAYED_NS)

    def account(self) -> tuple[Any, ...]:
        findings, ledger = self.matcher.finish()
        return self.findings, findings, ledger, self.noise.uses()


piece = st.tuples(
    st.integers(0, 1),
    st.lists(st.tuples(st.sampled_from(COMMANDS), st.booleans()), min_size=1, max_size=2),
    st.sampled_from((None, None, None, 1, 5)),
)
actions = st.lists(piece | st.sampled_from(CASES), max_size=40)


def are_alike(actions: Sequence[Any], noise: Sequence[NoiseRule] = ()) -> None:
    """Does the same to a server that keeps requests and to one that does not."""
    stands = [Stand(noise, keeps) for keeps in (True, False)]
    for action in ("a", *actions):
        if not isinstance(action, tuple):
            for stand in stands:
                stand.begin(action)
            continue
        number, commands, cut = action
        data = b"".join(write(*one) for one in commands)
        for part in (data,) if cut is None else (data[:cut], data[cut:]):
            answers = [stand.servers[number].receive_data(part) for stand in stands]
            assert answers[0] == answers[1]
            told = [stand.servers[number].take_news() for stand in stands]
            assert told[0] == told[1]
    accounts = [stand.account() for stand in stands]
    assert repr(accounts[0]) == repr(accounts[1])


@given(actions, st.sampled_from(((), (NOISE,))))
def test_bytes_and_account_are_those_of_a_server_that_keeps_nothing(
    actions: list[Any], noise: tuple[NoiseRule, ...]
) -> None:
    are_alike(actions, noise)


@pytest.mark.parametrize("between", COMMANDS)
@pytest.mark.parametrize("command", ["GET k", "PUBLISH news hello"])
def test_each_command_between_two_equal_ones_counts(command: str, between: str) -> None:
    words = (command, command, between, command, command)
    are_alike([(0, [(one, False)], None) for one in words])


def test_what_noise_rules_apply_to_is_counted_each_time() -> None:
    are_alike([(0, [(f"SET id {NEW}", False)], None)] * 3, (NOISE,))


def test_a_kept_call_follows_the_bindings_made_since() -> None:
    stand = Stand((), keeps=True)
    stand.begin("a")
    server = stand.servers[0]
    ask = write(f"GET row:{NEW}", False)
    assert server.receive_data(ask).startswith(b"-KEBPF")
    assert server.receive_data(ask).startswith(b"-KEBPF")  # kept now
    assert server.receive_data(write(f"SET id {NEW}", False)) == b"$2\r\nOK\r\n"
    assert server.receive_data(ask) == b"$%d\r\nrow of %b\r\n" % (43, NEW.encode())


def test_a_kept_call_is_another_one_in_the_next_case() -> None:
    stand = Stand((), keeps=True)
    stand.begin("a")
    ask = write("GET k", False)
    answers = [stand.servers[0].receive_data(ask) for _ in range(2)]
    stand.begin("b")
    answers.append(stand.servers[0].receive_data(ask))
    assert answers == [b"$5\r\nfirst\r\n", b"$6\r\nsecond\r\n", b"$4\r\nof b\r\n"]


def test_connections_share_what_is_kept_and_a_database_has_its_own() -> None:
    stand = Stand((), keeps=True)
    stand.begin("a")
    first, second = stand.servers
    ask = write("GET k", False)
    assert first.receive_data(ask) == b"$5\r\nfirst\r\n"
    second.receive_data(write("SELECT 1", False))
    assert second.receive_data(ask) == b"$4\r\nin 1\r\n"
    second.receive_data(write("SELECT 0", False))
    assert second.receive_data(ask) == b"$6\r\nsecond\r\n"


class Asked:
    """Counts what it is asked, and keeps requests."""

    def __init__(self) -> None:
        self.requests: list[Document] = []
        self._kept = KeptRequests()
        self.find_request, self.keep_request = self._kept.find, self._kept.keep

    def answer(self, request: Document) -> Document | Miss:
        self.requests.append(request)
        return {"reply": {"type": "simple", "value": "OK"}}

    def session(self, request: Document) -> Document | None:
        return None

    def peek(self, request: Document) -> bool:
        return True


def test_only_whole_single_calls_are_kept() -> None:
    asked = Asked()
    assert isinstance(asked, KeepingAnswerer)
    server = RedisServer(asked, [])
    get, long = write("GET k", False), write("GET " + "k" * 600, False)
    for data in (get, get[:5], get[5:], get + get, get, long, long):
        server.receive_data(data)
    documents = [id(request) for request in asked.requests]
    assert len(documents) == 7
    kept = [number for number in range(7) if documents[number] == documents[0]]
    assert kept == [0, 4]


def test_no_more_than_so_many_are_kept() -> None:
    kept = KeptRequests()
    requests = [{"number": number} for number in range(3 * MOST_KEPT)]
    for number, request in enumerate(requests):
        kept.keep(number, request)
        assert kept.find(number) is request
    assert sum(kept.find(number) is not None for number in range(3 * MOST_KEPT)) <= MOST_KEPT
