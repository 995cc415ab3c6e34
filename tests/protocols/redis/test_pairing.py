"""Pairing: pipelines, transactions, pushes, silence, and what lost bytes must never do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Exchange, HoldingPairer, Mark, Sender
from kebpf.protocols.redis import REDIS
from kebpf.protocols.redis.pairing import IDLE_NS, MAX_FAILURES, RedisPairer
from kebpf.protocols.redis.writer import write_command
from tests.protocols.redis.builders import MARK, ask, problems, tell


def summarise(exchanges: list[Exchange]) -> list[tuple[str, Any]]:
    return [
        (REDIS.describe(e.request), REDIS.view(e.response) if e.response else e.problem)
        for e in exchanges
    ]


def test_pipeline_is_split() -> None:
    pairer = REDIS.make_pairer()
    assert ask(pairer, ["SET", "k", "v"], ["GET", "k"]) == []
    assert summarise(tell(pairer, b"+OK\r\n$1\r\nv\r\n")) == [("SET k v", "OK"), ("GET k", "v")]


def test_transaction_is_one_unit() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["WATCH", "n"], ["MULTI"], ["INCR", "n"], ["GET", "n"], ["EXEC"])
    watch, unit = tell(pairer, b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n")
    assert watch.is_session and watch.transaction == unit.transaction == 1
    assert unit.request == {
        "command": ["EXEC"],
        "queued": [["INCR", "n"], ["GET", "n"]],
        "watched": ["n"],
        "db": 0,
    }
    assert unit.calls == 4
    assert REDIS.identity(unit.request)["queued"] == [["INCR", "n"], ["GET", "n"]]
    assert REDIS.write_request(unit.request) == (
        b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
        b"*2\r\n$3\r\nGET\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n"
    )


def test_lost_race_and_discard() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["MULTI"], ["INCR", "n"], ["EXEC"], ["MULTI"], ["INCR", "n"], ["DISCARD"])
    lost, discarded = tell(pairer, b"+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+QUEUED\r\n+OK\r\n")
    assert (lost.response, lost.calls) == ({"reply": {"type": "null-array"}}, 2)
    assert (discarded.request["queued"], discarded.calls) == ([["INCR", "n"]], 2)
    assert discarded.is_session


def test_pushes_do_not_disturb_replies() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["SUBSCRIBE", "a", "b"], ["GET", "k"])
    push = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    acks = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n%b>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    exchanges = tell(pairer, acks % push + push + b"$1\r\nv\r\n")
    assert [describe for describe, _ in summarise(exchanges)] == [
        "SUBSCRIBE a (pushed)",
        "SUBSCRIBE a b",
        "SUBSCRIBE a (pushed)",
        "GET k",
    ]
    assert [e.calls for e in exchanges] == [0, 1, 0, 1]
    assert exchanges[3].response == {"reply": {"type": "bulk", "value": "v"}, "resp": 3}


def test_resp2_messages_out_of_turn() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["SUBSCRIBE", "a"])
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    exchanges = tell(pairer, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n" + message)
    ask(pairer, ["PING"], ["UNSUBSCRIBE"])
    exchanges += tell(pairer, message + b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
    exchanges += tell(pairer, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n")
    ask(pairer, ["LRANGE", "l", "0", "-1"])
    exchanges += tell(pairer, message)  # no longer subscribed: it is the list
    assert [describe for describe, _ in summarise(exchanges)] == [
        "SUBSCRIBE a",
        "SUBSCRIBE a (pushed)",
        "SUBSCRIBE a (pushed)",
        "PING",
        "UNSUBSCRIBE",
        "LRANGE l 0 -1",
    ]


def test_client_reply_off_and_skip() -> None:
    pairer = REDIS.make_pairer()
    silent = ask(
        pairer,
        ["CLIENT", "REPLY", "SKIP"], ["SET", "a", "1"], ["GET", "a"],
        ["CLIENT", "REPLY", "OFF"], ["SET", "b", "2"], ["CLIENT", "REPLY", "ON"], ["GET", "b"],
    )  # fmt: skip
    assert summarise(silent) == [
        ("CLIENT REPLY SKIP", []),
        ("SET a 1", []),
        ("CLIENT REPLY OFF", []),
        ("SET b 2", []),
    ]
    assert summarise(tell(pairer, b"$1\r\n1\r\n+OK\r\n$1\r\n2\r\n")) == [
        ("GET a", "1"),
        ("CLIENT REPLY ON", "OK"),
        ("GET b", "2"),
    ]


@pytest.mark.parametrize("command", ["MONITOR", "PSYNC", "sync"])
def test_leaving_the_protocol(command: str) -> None:
    pairer = REDIS.make_pairer()
    (exchange,) = ask(pairer, [command])
    assert exchange.problem == pairer.broken
    assert pairer.broken and "stream" in pairer.broken
    assert tell(pairer, b"+OK\r\n") == []


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["AUTH", "secret"], ["AUTH", "***"]),
        (["AUTH", "user", "secret"], ["AUTH", "user", "***"]),
        (["hello", "3", "auth", "u", "secret", "SETNAME", "n"],
         ["hello", "3", "auth", "u", "***", "SETNAME", "n"]),
        (["CONFIG", "SET", "requirepass", "secret"], ["CONFIG", "SET", "requirepass", "***"]),
        (["ACL", "SETUSER", "u", "on", ">secret"], ["ACL", "SETUSER", "u", "on", ">***"]),
        (["MIGRATE", "h", "1", "k", "0", "9", "AUTH2", "u", "secret"],
         ["MIGRATE", "h", "1", "k", "0", "9", "AUTH2", "u", "***"]),
        (["GET", "secret"], ["GET", "secret"]),
    ],
)  # fmt: skip
def test_passwords_are_not_kept(command: list[str], kept: list[str]) -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, command)
    (exchange,) = tell(pairer, b"+OK\r\n")
    assert exchange.request["command"] == kept


def test_inline_password_is_not_kept() -> None:
    pairer = REDIS.make_pairer()
    pairer.receive_data(Sender.CLIENT, b"AUTH secret\r\n", MARK)
    (exchange,) = tell(pairer, b"+OK\r\n")
    assert "secret" not in repr(exchange)


def test_database_follows_select() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["SELECT", "3"], ["GET", "a"], ["SELECT", "99"], ["GET", "b"], ["GET", "c"])
    exchanges = tell(pairer, b"+OK\r\n$-1\r\n-ERR DB index is out of range\r\n$-1\r\n$-1\r\n")
    assert [e.request["db"] for e in exchanges] == [0, 3, 3, 3, 3]
    assert REDIS.identity(exchanges[1].request)["db"] == 3


def test_joined_does_not_know_the_database() -> None:
    pairer = REDIS.make_pairer(joined=True)
    ask(pairer, ["GET", "a"])
    (exchange,) = tell(pairer, b"$-1\r\n")
    assert "db" not in exchange.request
    assert REDIS.identity(exchange.request)["db"] == 0


def test_joined_between_request_and_reply() -> None:
    pairer = REDIS.make_pairer(joined=True)
    assert tell(pairer, b"world\r\n+OK\r\n") == []
    ask(pairer, ["GET", "a"])
    assert summarise(tell(pairer, b"$1\r\nx\r\n")) == [("GET a", "x")]


def test_joined_inside_a_command() -> None:
    pairer = REDIS.make_pairer(joined=True)
    assert pairer.receive_data(Sender.CLIENT, b"lue\r\n", MARK) == []
    assert tell(pairer, b"+OK\r\n") == []
    ask(pairer, ["GET", "a"])
    assert summarise(tell(pairer, b"$1\r\nx\r\n")) == [("GET a", "x")]


def test_joined_subscription_still_gives_messages() -> None:
    pairer = REDIS.make_pairer(joined=True)
    exchanges = tell(pairer, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n")
    assert summarise(exchanges) == [("SUBSCRIBE a (pushed)", ["message", "a", "hi"])]


def test_joined_inside_multi_is_noticed() -> None:
    pairer = REDIS.make_pairer(joined=True)
    ask(pairer, ["LPUSH", "a", "b"])
    assert problems(tell(pairer, b"+QUEUED\r\n")) == [
        "a command belongs to a MULTI that was not seen"
    ]


def test_reply_of_a_wrong_type_ends_a_doubtful_pairing() -> None:
    pairer = REDIS.make_pairer(joined=True)
    ask(pairer, ["INCR", "a"])
    assert problems(tell(pairer, b"$1\r\nx\r\n")) == [
        "a reply is of a type its command cannot have"
    ]


def test_reply_seen_before_its_command() -> None:
    pairer = REDIS.make_pairer()
    assert tell(pairer, b"$1\r\nx\r\n") == []
    assert summarise(ask(pairer, ["GET", "a"])) == [("GET a", "x")]


def test_a_reply_whose_command_was_lost_is_told_before_the_next_command_comes() -> None:
    pairer = RedisPairer()
    assert pairer.receive_data(Sender.SERVER, b"+OK\r\n", Mark(7)) == []
    assert isinstance(pairer, HoldingPairer) and pairer.held_since == Mark(7, offset=5)
    assert pairer.release_idle(Mark(6 + IDLE_NS)) == []
    (told,) = pairer.release_idle(Mark(7 + IDLE_NS))
    assert (told.problem, told.request_start) == (
        "a reply came that no command was seen for",
        Mark(7, offset=5),
    )
    assert pairer.held_since is None
    pairer.receive_gap(Sender.CLIENT, 30, Mark(9 * IDLE_NS))
    ask(pairer, ["GET", "a"])
    tell(pairer, b"$1\r\nx\r\n")
    ask(pairer, ["GET", "a"])
    assert summarise(tell(pairer, b"$1\r\ny\r\n")) == [("GET a", "y")]


def test_commands_that_cannot_be_paired_after_a_loss_are_told() -> None:
    pairer = RedisPairer()
    lost = pairer.receive_gap(Sender.CLIENT, 30, Mark(7))
    command = write_command(["GET", "a"])
    lost += pairer.receive_data(Sender.CLIENT, command, Mark(8))
    assert [(e.problem, e.request_start.time_ns) for e in lost] == [
        ("requests were lost", 7),
        ("requests were lost", 8),
    ]


def test_no_reply() -> None:
    pairer = REDIS.make_pairer()
    ask(pairer, ["BLPOP", "q", "0"], ["MULTI"], ["GET", "a"])
    assert len(problems(pairer.receive_eof(Sender.SERVER, MARK))) == 2
    assert pairer.finish(MARK) == []


@pytest.mark.parametrize("farewell", ["QUIT", "UNSUBSCRIBE", "punsubscribe"])
def test_nobody_waits_for_the_reply_to_a_farewell(farewell: str) -> None:
    """Jedis may say the latter twice, from the thread that listens and the one that ends it."""
    pairer = REDIS.make_pairer()
    ask(pairer, ["GET", "a"], [farewell])
    assert len(pairer.receive_data(Sender.SERVER, b"$-1\r\n", MARK)) == 1
    assert pairer.finish(MARK) == []


def test_request_cut_off() -> None:
    pairer = REDIS.make_pairer()
    pairer.receive_data(Sender.CLIENT, b"*2\r\n$3\r\nGET\r\n", MARK)
    assert problems(pairer.finish(MARK)) == ["the request was cut off"]


def test_gap_inside_a_value_spoils_only_it() -> None:
    pairer = REDIS.make_pairer()
    pairer.receive_data(Sender.CLIENT, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nab", MARK)
    pairer.receive_gap(Sender.CLIENT, 7, MARK)
    pairer.receive_data(Sender.CLIENT, b"\r\n" + write_command(["GET", "a"]), MARK)
    first, second = tell(pairer, b"+OK\r\n$1\r\nx\r\n")
    assert (first.problem, first.response) == ("part of the request was lost", None)
    assert (second.problem, second.request["db"]) == (None, 0)


def test_never_resp_is_given_up() -> None:
    pairer = REDIS.make_pairer()
    for _ in range(MAX_FAILURES):
        ask(pairer, ["GET", "a"])
        tell(pairer, b"nonsense")
        tell(pairer, b"more")
    assert pairer.broken


# What lost bytes must never do: pair a reply with a command it does not answer.  Every command
# carries a number and its reply repeats it.

batches = st.lists(st.integers(1, 4), min_size=1, max_size=8)
cuts = st.tuples(st.booleans(), st.integers(0, 10_000), st.integers(1, 80))


def make_batches(sizes: list[int]) -> list[tuple[bytes, bytes]]:
    """Pipelines of ECHOs, each with its replies."""
    out, number = [], 0
    for size in sizes:
        numbers = range(number, number + size)
        number += size
        client = b"".join(write_command(["GETSET", f"k{n}", "v"]) for n in numbers)
        server = b"".join(b"$%d\r\nk%d\r\n" % (len(f"k{n}"), n) for n in numbers)
        out.append((client, server))
    return out


def assert_paired(exchanges: list[Exchange]) -> int:
    whole = [e for e in exchanges if e.response is not None]
    for exchange in whole:
        assert exchange.response is not None
        assert exchange.request["command"][1] == exchange.response["reply"]["value"]
    return len(whole)


def feed_with_gap(
    pieces: list[tuple[Sender, bytes]], cut: tuple[bool, int, int], is_known: bool
) -> list[Exchange]:
    """Feeds the pieces, but for a run of bytes of one side."""
    pairer = REDIS.make_pairer()
    lossy = Sender.CLIENT if cut[0] else Sender.SERVER
    total = sum(len(data) for sender, data in pieces if sender is lossy)
    start, position = cut[1] % total, 0
    end = start + cut[2]
    exchanges: list[Exchange] = []
    for sender, data in pieces:
        if sender is not lossy:
            exchanges += pairer.receive_data(sender, data, MARK)
            continue
        low, high = max(0, start - position), max(0, end - position)
        exchanges += pairer.receive_data(sender, data[:low], MARK)
        lost = len(data[low:high])
        if lost:
            size = lost if is_known else 0
            exchanges += pairer.receive_gap(sender, size, MARK)
        exchanges += pairer.receive_data(sender, data[max(low, high) :], MARK)
        position += len(data)
    return exchanges + pairer.finish(MARK)


@given(batches, cuts, st.booleans(), st.integers(1, 60))
def test_gaps_never_pair_wrongly(
    sizes: list[int], cut: tuple[bool, int, int], is_known: bool, piece: int
) -> None:
    pieces = []
    for client, server in make_batches(sizes):
        for sender, data in ((Sender.CLIENT, client), (Sender.SERVER, server)):
            parts = [data[i : i + piece] for i in range(0, len(data), piece)]
            pieces += [(sender, part) for part in parts]
    exchanges = feed_with_gap(pieces, cut, is_known)
    assert_paired(exchanges)
    assert problems(exchanges)


@given(batches, st.integers(0, 10_000))
def test_pairing_comes_back_after_a_gap(sizes: list[int], position: int) -> None:
    pieces = []
    for client, server in [*make_batches(sizes), *make_batches([1] * 40)[30:]]:
        pieces += [(Sender.CLIENT, client), (Sender.SERVER, server)]
    exchanges = feed_with_gap(pieces, (True, position % (30 * len(sizes)), 5), True)
    assert assert_paired(exchanges[-5:]) == 5


@given(batches, st.lists(st.integers(1, 50)), st.lists(st.integers(1, 50)))
def test_any_cutting(sizes: list[int], client_cuts: list[int], server_cuts: list[int]) -> None:
    pairer = REDIS.make_pairer()
    exchanges: list[Exchange] = []
    client = b"".join(c for c, _ in make_batches(sizes))
    server = b"".join(s for _, s in make_batches(sizes))
    for sender, data, pieces in (
        (Sender.CLIENT, client, client_cuts),
        (Sender.SERVER, server, server_cuts),
    ):
        for size in [*pieces, len(data)]:
            exchanges += pairer.receive_data(sender, data[:size], MARK)
            data = data[size:]
    assert problems(exchanges) == []
    assert assert_paired(exchanges) == sum(sizes)


events = st.tuples(st.sampled_from(Sender), st.one_of(st.binary(max_size=40), st.integers(0, 30)))


@given(st.booleans(), st.lists(events, max_size=12))
def test_garbage_never_raises(joined: bool, pieces: list[tuple[Sender, bytes | int]]) -> None:
    pairer = REDIS.make_pairer(joined)
    for sender, piece in pieces:
        if isinstance(piece, int):
            pairer.receive_gap(sender, piece, Mark(3))
        else:
            pairer.receive_data(sender, piece, MARK)
    for exchange in pairer.finish(MARK):
        assert exchange.problem
