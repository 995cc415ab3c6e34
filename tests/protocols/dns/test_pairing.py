"""Pairing by id and question under reordering, loss, retransmission and any cutting of TCP."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Exchange, Sender
from kebpf.protocols.dns import DNS
from tests.protocols.dns.builders import MARK, frame, make_query, make_response


def summarise(exchanges: list[Exchange]) -> list[tuple[str, str | None, str | None]]:
    return [
        (
            DNS.describe(e.request),
            e.response["answers"][0]["data"] if e.response else None,
            e.problem,
        )
        for e in exchanges
    ]


def test_answers_out_of_order() -> None:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, make_query("a.test", identifier=1), MARK)
    pairer.receive_data(Sender.CLIENT, make_query("b.test", identifier=2), MARK)
    exchanges = pairer.receive_data(Sender.SERVER, make_response("b.test", ("192.0.2.2",), 2), MARK)
    exchanges += pairer.receive_data(
        Sender.SERVER, make_response("a.test", ("192.0.2.1",), 1), MARK
    )
    assert summarise(exchanges) == [
        ("A b.test", "192.0.2.2", None),
        ("A a.test", "192.0.2.1", None),
    ]
    assert exchanges[0].request["transport"] == "udp"
    assert pairer.finish(MARK) == []


def test_retransmission_is_one_call_and_its_second_answer_none() -> None:
    pairer = DNS.make_pairer()
    for _ in range(2):
        assert pairer.receive_data(Sender.CLIENT, make_query(), MARK) == []
    assert len(pairer.receive_data(Sender.SERVER, make_response(), MARK)) == 1
    assert pairer.receive_data(Sender.SERVER, make_response(), MARK) == []


def test_wrong_id_or_name_is_not_an_answer() -> None:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, make_query(identifier=1), MARK)
    stray = pairer.receive_data(Sender.SERVER, make_response(identifier=2), MARK)
    stray += pairer.receive_data(Sender.SERVER, make_response("other.test", identifier=1), MARK)
    assert [e.problem for e in stray] == ["a response to a query that was not seen"] * 2
    (open_,) = pairer.finish(MARK)
    assert open_.problem == "there was no response before the recording of it ended"


def test_case_of_the_question_does_not_matter() -> None:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, make_query("eXample.COM"), MARK)
    assert len(pairer.receive_data(Sender.SERVER, make_response("example.com"), MARK)) == 1


def test_garbage_is_a_problem() -> None:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, make_query(), MARK)
    (exchange,) = pairer.receive_data(Sender.SERVER, b"\xff" * 40, MARK)
    assert exchange.problem and exchange.problem.startswith("not a DNS message from the server")


@given(st.data())
def test_tcp_cut_anywhere(data: st.DataObject) -> None:
    hosts = [f"h{number}.test" for number in range(4)]
    client = b"".join(frame(make_query(h, identifier=i)) for i, h in enumerate(hosts))
    server = b"".join(frame(make_response(h, (f"192.0.2.{i}",), i)) for i, h in enumerate(hosts))
    pairer = DNS.make_pairer()
    exchanges: list[Exchange] = []
    for sender, stream in ((Sender.CLIENT, client), (Sender.SERVER, server)):
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            exchanges += pairer.receive_data(sender, stream[:size], MARK)
            stream = stream[size:]
    assert summarise(exchanges) == [(f"A {h}", f"192.0.2.{i}", None) for i, h in enumerate(hosts)]
    assert exchanges[0].request["transport"] == "tcp"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans()), max_size=30))
def test_loss_never_pairs_wrongly(steps: list[tuple[bool, int, bool]]) -> None:
    pairer = DNS.make_pairer()
    exchanges: list[Exchange] = []
    for is_query, number, is_lost in steps:
        name, sender = f"h{number}.test", Sender.CLIENT if is_query else Sender.SERVER
        message = make_query(name, identifier=number)
        if not is_query:
            message = make_response(name, (f"192.0.2.{number}",), number)
        if is_lost:
            exchanges += pairer.receive_gap(sender, len(message), MARK)
        else:
            exchanges += pairer.receive_data(sender, message, MARK)
    for exchange in exchanges:
        if exchange.response:
            number = int(DNS.describe(exchange.request)[3])
            assert exchange.response["answers"][0]["data"] == f"192.0.2.{number}"


def test_tcp_goes_on_after_a_gap() -> None:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, frame(make_query("a.test"))[:9], MARK)
    (lost,) = pairer.receive_gap(Sender.CLIENT, 0, MARK)
    assert lost.problem == "part of the query was lost"
    pairer.receive_data(Sender.CLIENT, b"rest of something", MARK)
    pairer.receive_data(Sender.CLIENT, frame(make_query("b.test", identifier=3)), MARK)
    exchanges = pairer.receive_data(
        Sender.SERVER, frame(make_response("b.test", identifier=3)), MARK
    )
    assert summarise(exchanges) == [("A b.test", "192.0.2.1", None)]


@given(st.lists(st.tuples(st.sampled_from(Sender), st.binary(max_size=60)), max_size=10))
def test_garbage_never_raises(pieces: list[tuple[Sender, bytes]]) -> None:
    pairer = DNS.make_pairer()
    exchanges: list[Exchange] = []
    for sender, data in pieces:
        exchanges += pairer.receive_data(sender, data, MARK)
    exchanges += pairer.finish(MARK)
    assert all(e.problem for e in exchanges if e.response is None)
