"""Connections given up and lost events: which cases stay, from hand-made logs."""

from __future__ import annotations

from pathlib import Path

from kebpf.capture.events import SocketRole
from kebpf.recording.doubts import CALLS_GIVEN_UP, CALLS_LOST
from tests.capture.records import Socket, make_record
from tests.recording.shop import REQUEST, RESPONSE, SECOND_NS, Shop
from tests.recording.test_pipeline import calls_of, make_set, names_of

GIVEN_UP, LOSS = 8, 9  # KEBPF_GIVEN_UP, KEBPF_LOSS


def give_up(one: Socket, *dropped: int) -> bytes:
    return make_record(
        one.head(GIVEN_UP) + b"".join(size.to_bytes(8, "little") for size in dropped or (0, 0))
    )


def lose(one: Socket, since_ns: int) -> bytes:
    return make_record(one.head(LOSS) + since_ns.to_bytes(8, "little"))


def test_a_client_connection_given_up_keeps_out_what_may_have_used_it(tmp_path: Path) -> None:
    """Until it is closed: what runs before and after is as it was."""
    shop = Shop().open().serve()
    other = Socket(address=7, time_ns=shop.inbound.time_ns)
    shop.records += [other.open(remote=("10.0.0.3", 6379)), give_up(other)]
    other.moved = [500, 40]
    shop.inbound.time_ns = other.time_ns
    shop.serve().serve()
    other.time_ns = shop.inbound.time_ns
    shop.records += [give_up(other, 500, 40), other.close()]
    shop.inbound.time_ns = other.time_ns
    test_set, manifest = make_set(tmp_path, shop.serve().close().records)
    assert len(names_of(test_set)) == 2
    assert manifest.losses.left_out == {CALLS_GIVEN_UP: 2}
    assert (manifest.losses.given_up_connections, manifest.losses.given_up_bytes) == (1, 540)
    assert (manifest.losses.lost_bytes, manifest.losses.unbalanced_connections) == (0, 0)


def test_one_that_is_never_closed_keeps_out_the_rest(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    shop.redis.time_ns = shop.inbound.time_ns
    shop.records.append(give_up(shop.redis))
    for _ in range(2):
        shop.inbound.time_ns += SECOND_NS
        shop.records += [shop.inbound.receive(REQUEST), shop.inbound.send(RESPONSE)]
    test_set, manifest = make_set(tmp_path, shop.records)
    assert len(names_of(test_set)) == 1
    assert manifest.losses.left_out == {CALLS_GIVEN_UP: 2}


def test_an_exchange_under_way_when_it_is_given_up_is_a_problem(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    shop.records += [shop.inbound.receive(REQUEST), give_up(shop.inbound)]
    test_set, manifest = make_set(tmp_path, shop.records)
    assert len(names_of(test_set)) == 1
    assert sum(manifest.losses.left_out.values()) == 1


def test_calls_while_a_server_connection_is_given_up_are_not_told_apart_by_time(
    tmp_path: Path,
) -> None:
    """A request that was not seen may have made them."""
    shop = Shop().open().serve()
    unseen = Socket(address=7, tid=500, time_ns=shop.inbound.time_ns)
    opened = unseen.open(SocketRole.SERVER, ("10.0.0.1", 8080), ("10.0.0.8", 52000))
    shop.records += [opened, give_up(unseen)]
    shop.inbound.time_ns = unseen.time_ns
    shop.redis.tid = 900  # another thread than the request's: only the time would say
    test_set, _ = make_set(tmp_path, shop.serve().close().records)
    assert calls_of(test_set) == ["redis"] * 2
    assert [len(case.calls) for case in test_set.cases()] == [1, 0]


def test_lost_events_keep_out_what_ran_at_the_time(tmp_path: Path) -> None:
    shop = Shop().open().serve()
    since_ns = shop.inbound.time_ns
    shop.serve()
    shop.redis.time_ns = since_ns + SECOND_NS
    shop.records.append(lose(shop.redis, since_ns))
    test_set, manifest = make_set(tmp_path, shop.serve().close().records)
    assert len(names_of(test_set)) == 2
    assert manifest.losses.left_out == {CALLS_LOST: 1}


def test_a_call_on_a_connection_that_is_parsed_no_more_keeps_its_case_out(tmp_path: Path) -> None:
    """Its responses can be told apart no more; what called nobody there is kept."""
    shop = Shop().open(before=(500, 500))
    shop.records += [shop.redis.send(REQUEST), shop.redis.send(REQUEST)]
    shop.records += [shop.redis.receive(RESPONSE)]
    shop.inbound.time_ns = shop.redis.time_ns
    shop.serve(REQUEST).serve(REQUEST)
    shop.records += [shop.inbound.receive(REQUEST), shop.inbound.send(RESPONSE)]
    test_set, manifest = make_set(tmp_path, shop.close().records)
    assert len(names_of(test_set)) == 1
    (problem,) = (one for one in manifest.losses.left_out if one.startswith("a call it made"))
    assert problem.endswith("so responses can no longer be paired")
    assert manifest.losses.left_out[problem] == 2


def test_a_call_in_a_protocol_that_is_not_known_keeps_its_case_out(tmp_path: Path) -> None:
    """Of a connection that was open before: seen from its start, it would be opaque."""
    shop = Shop().open(before=(500, 500)).serve(b"\0 question").serve(b"\0 another").serve()
    test_set, manifest = make_set(tmp_path, shop.close().records)
    assert (len(names_of(test_set)), calls_of(test_set)) == (1, ["redis"])
    reason = "a call it made cannot be replayed: joined in the middle, no message start seen"
    assert manifest.losses.left_out == {reason: 2}
