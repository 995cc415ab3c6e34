from __future__ import annotations

import asyncio
import contextlib
import http.client
import select
import socket
import struct
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import dpkt
import psycopg2
import pytest
import redis

from kebpf.protocols.base import Answerer, Detection, Document, ProtocolSpec
from kebpf.protocols.redis.writer import write_command
from kebpf.recording.model import Mock, Tier
from kebpf.replay.events import CallFinding, MissKind
from kebpf.replay.matcher import Matcher
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from kebpf.replay.stages import ResponderPorts
from kebpf.replay.tlsend import Encryption
from tests.replay.sets import PROTOCOLS, SetInMemory, make_case, make_matcher, make_mock

T = TypeVar("T")
LIMIT_S = 20.0  # a test that would hang fails instead
REQUEST = b"GET /rates HTTP/1.1\r\nHost: rates\r\nAccept-Encoding: identity\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class FixedRedirect:
    """Every socket meant ``destination``, but for those whose own port is in ``ports``."""

    def __init__(self, destination: tuple[str, int] | None) -> None:
        self.destination = destination
        self.ports: dict[int, tuple[str, int]] = {}

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        assert transport in ("tcp", "udp")
        assert host in ("127.0.0.1", "::1")
        return self.ports.get(port, self.destination)


@dataclass
class Stand:
    responder: Responder
    redirect: FixedRedirect
    matcher: Matcher
    ports: ResponderPorts

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a blocking client while the responder serves it."""
        return await asyncio.to_thread(function, *arguments)

    def findings(self) -> list[CallFinding]:
        return self.matcher.end_case(2_000_000_000_000_000_000)


@asynccontextmanager
async def serving(
    mocks: Sequence[Mock] = (),
    destination: tuple[str, int] | None = ("10.0.0.7", 8001),
    protocols: Mapping[str, ProtocolSpec] = PROTOCOLS,
    silence_s: float = 60.0,
    encryption: Encryption | None = None,
) -> AsyncIterator[Stand]:
    matcher = make_matcher(SetInMemory(mocks=mocks))
    matcher.begin_case(None, 1)
    redirect = FixedRedirect(destination)
    responder = Responder(redirect, matcher, Routes(mocks), protocols, silence_s, encryption)
    try:
        yield Stand(responder, redirect, matcher, await responder.start())
    finally:
        await responder.close()


def get(port: int, path: str = "/rates", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.request("GET", path, headers={"Host": "rates"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def exchange_bytes(port: int, data: bytes, closes: bool = False) -> bytes:
    """All that comes back until the responder closes."""
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as client:
        client.sendall(data)
        if closes:
            client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(65536):
            received += piece
        return received


def ask_udp(port: int, data: bytes) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT_S)
        client.sendto(data, ("127.0.0.1", port))
        return client.recv(65536)


def postgres_message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def make_postgres_mock() -> Mock:
    """``SELECT answer FROM t`` by the simple protocol, after a start-up without a password."""
    column = b"answer\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)
    rows = postgres_message(b"T", struct.pack("!H", 1) + column)
    rows += postgres_message(b"D", struct.pack("!HI", 1, 9) + b"forty-two")
    return make_statement_mock("d", "SELECT answer FROM t", b"SELECT 1", rows)


def make_statement_mock(database: str, sql: str, tag: bytes, rows: bytes = b"") -> Mock:
    start = struct.pack("!I", 196608) + b"user\0u\0database\0%s\0\0" % database.encode()
    request = struct.pack("!I", len(start) + 4) + start
    request += postgres_message(b"Q", sql.encode() + b"\0")
    ready = postgres_message(b"Z", b"I")
    response = postgres_message(b"R", struct.pack("!I", 0)) + ready
    response += rows + postgres_message(b"C", tag + b"\0") + ready
    return make_mock("postgres", "10.0.0.7:5432", request, response)


def connect_postgres(port: int, database: str = "d") -> Any:
    place = {"host": "127.0.0.1", "port": port, "dbname": database}
    connection = psycopg2.connect(**place, user="u", password="p", gssencmode="disable")
    connection.autocommit = True
    return connection


def query_postgres(port: int) -> list[str]:
    connection = connect_postgres(port)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT answer FROM t")
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def make_http_mock(destination: str = "10.0.0.7:8001", response: bytes = RESPONSE) -> Mock:
    return make_mock("http", destination, REQUEST, response)


class TestServing:
    def test_http_client(self) -> None:
        async def scenario() -> None:
            async with serving([make_http_mock()]) as stand:
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")
                assert stand.ports.tcp6 is not None
                assert await stand.call(get, stand.ports.tcp6, "/rates", "::1") == (200, b"hello")
                assert stand.findings() == []
                assert stand.responder.take_problems() == []

        asyncio.run(scenario())

    def test_redis_client(self) -> None:
        command = b"*2\r\n$3\r\nGET\r\n$4\r\nrate\r\n"
        mock = make_mock("redis", "10.0.0.7:6379", command, b"$4\r\n1.25\r\n")

        def ask(port: int) -> tuple[object, object]:
            with redis.Redis(port=port) as client:
                return client.get("rate"), client.ping()

        async def scenario() -> None:
            async with serving([mock], ("10.0.0.7", 6379)) as stand:
                assert await stand.call(ask, stand.ports.tcp4) == (b"1.25", True)

        asyncio.run(scenario())

    def test_a_worker_waits_for_what_a_case_is_to_queue(self) -> None:
        """Over two connections; where nothing comes it is told so when its time is over."""
        old, new = str(uuid.uuid4()), str(uuid.uuid4())
        place = "10.0.0.7:6379"
        took = write_command(["BRPOP", "q", "0"]), f"*2\r\n$1\r\nq\r\n$36\r\n{old}\r\n".encode()
        mocks = [
            make_mock("redis", place, *took),
            replace(
                make_mock("redis", place, write_command(["LPUSH", "q", old]), b":1\r\n"),
                tier=Tier.CASE,
                case="a",
                generated={"/arguments/1": "{uuid4}"},
            ),
            make_mock("redis", place, write_command(["BRPOP", "q", "0.01"]), took[1]),
        ]
        case = make_case("a", REQUEST, RESPONSE)

        def take(port: int, seconds: float) -> object:
            with redis.Redis(port=port, socket_timeout=LIMIT_S) as client:
                return client.brpop(["q"], timeout=seconds)

        def queue(port: int) -> object:
            with redis.Redis(port=port) as client:
                return client.lpush("q", new)

        async def scenario() -> None:
            async with serving(mocks, ("10.0.0.7", 6379)) as stand:
                assert await stand.call(take, stand.ports.tcp4, 0.01) is None
                worker = asyncio.ensure_future(stand.call(take, stand.ports.tcp4, 0))
                async with asyncio.timeout(LIMIT_S):
                    while not stand.responder.waiting:
                        await asyncio.sleep(0.001)
                stand.matcher.begin_case(case, 1)
                assert await stand.call(queue, stand.ports.tcp4) == 1
                assert await worker == (b"q", new.encode())
                assert stand.findings() == []
                assert not stand.responder.waiting

        asyncio.run(scenario())

    def test_notifications_reach_other_clients_of_their_database(self) -> None:
        listens = [make_statement_mock(name, "LISTEN news", b"LISTEN") for name in ("d", "other")]
        mocks = [*listens, make_statement_mock("d", "NOTIFY news, 'x'", b"NOTIFY")]

        def notify(port: int) -> list[list[str]]:
            with contextlib.ExitStack() as stack:
                near, far, sender = (
                    stack.enter_context(contextlib.closing(connect_postgres(port, name)))
                    for name in ("d", "other", "d")
                )
                for listener in (near, far):
                    listener.cursor().execute("LISTEN news")
                sender.cursor().execute("NOTIFY news, 'x'")
                select.select([near], [], [], LIMIT_S)
                far.cursor().execute("SELECT 1")  # whatever was sent to it has come
                near.poll()
                return [[one.payload for one in c.notifies] for c in (near, far, sender)]

        async def scenario() -> None:
            async with serving(mocks, ("10.0.0.7", 5432)) as stand:
                assert await stand.call(notify, stand.ports.tcp4) == [["x"], [], []]

        asyncio.run(scenario())

    def test_postgres_client(self) -> None:
        async def scenario() -> None:
            async with serving([make_postgres_mock()], ("10.0.0.7", 5432)) as stand:
                assert await stand.call(query_postgres, stand.ports.tcp4) == ["forty-two"]
                assert stand.findings() == []

        asyncio.run(scenario())

    def test_name_look_ups_go_to_whatever_resolver_was_recorded(self) -> None:
        query = dpkt.dns.DNS(qd=[dpkt.dns.DNS.Q(name="rates.internal")], id=7)
        answer = dpkt.dns.DNS(bytes(query))
        answer.qr = dpkt.dns.DNS_R
        answer.an = [dpkt.dns.DNS.RR(name="rates.internal", ip=b"\x0a\0\0\x07", ttl=60)]
        mock = make_mock("dns", "10.0.0.2:53/udp", bytes(query), bytes(answer))
        asked = dpkt.dns.DNS(qd=[dpkt.dns.DNS.Q(name="rates.internal")], id=4711)

        async def scenario() -> None:
            async with serving([mock], ("127.0.0.53", 53)) as stand:
                reply = dpkt.dns.DNS(await stand.call(ask_udp, stand.ports.udp4, bytes(asked)))
                assert (reply.id, reply.an[0].ip) == (4711, b"\x0a\0\0\x07")
                assert stand.findings() == []

        asyncio.run(scenario())

    def test_each_socket_gets_the_destination_it_meant(self) -> None:
        other = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
        mocks = [make_http_mock(), make_http_mock("10.0.0.8:8001", other)]

        def ask(stand: Stand) -> bytes:
            with socket.socket() as client:
                client.bind(("127.0.0.1", 0))
                stand.redirect.ports[client.getsockname()[1]] = ("10.0.0.8", 8001)
                client.connect(("127.0.0.1", stand.ports.tcp4))
                client.sendall(REQUEST)
                return client.recv(65536)

        async def scenario() -> None:
            async with serving(mocks) as stand:
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")
                assert (await stand.call(ask, stand)).endswith(b"other")

        asyncio.run(scenario())

    def test_two_protocols_on_one_destination_are_told_apart(self) -> None:
        command = b"*2\r\n$3\r\nGET\r\n$4\r\nrate\r\n"
        mocks = [make_http_mock(), make_mock("redis", "10.0.0.7:8001", command, b"$2\r\n12\r\n")]

        async def scenario() -> None:
            async with serving(mocks) as stand:
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")
                reply = await stand.call(exchange_bytes, stand.ports.tcp4, command, True)
                assert reply == b"$2\r\n12\r\n"

        asyncio.run(scenario())

    def test_a_half_closed_connection_still_gets_its_answer(self) -> None:
        async def scenario() -> None:
            async with serving([make_http_mock()]) as stand:
                answer = await stand.call(exchange_bytes, stand.ports.tcp4, REQUEST, True)
                assert answer.endswith(b"hello")

        asyncio.run(scenario())

    def test_unknown_bytes_are_answered_over_tcp_and_udp(self) -> None:
        tcp = make_mock("opaque", "10.0.0.7:8001", b"\x01\x02ask", b"\x03tell")
        udp = make_mock("opaque", "10.0.0.7:8001/udp", b"\x01\x02ask", b"\x04tell")

        async def scenario() -> None:
            async with serving([tcp, udp]) as stand:
                answer = await stand.call(exchange_bytes, stand.ports.tcp4, b"\x01\x02ask", True)
                assert answer == b"\x03tell"
                assert await stand.call(ask_udp, stand.ports.udp4, b"\x01\x02ask") == b"\x04tell"
                assert stand.findings() == []

        asyncio.run(scenario())

    def test_answers_wait_for_a_slow_reader(self) -> None:
        size, count = 1_000_000, 40
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        mock = make_http_mock(response=head + b"x" * size)

        async def scenario() -> int:
            async with serving([mock]) as stand:
                reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports.tcp4)
                for _ in range(count):
                    writer.write(REQUEST)
                    await asyncio.sleep(0)
                highest, received = 0, 0
                while received < count * size:
                    received += len(await reader.read(65536))
                    highest = max(highest, *map(buffered_size, stand.responder._streams))
                writer.transport.abort()
                return highest

        assert asyncio.run(scenario()) < count * size


def buffered_size(transport: asyncio.BaseTransport) -> int:
    return transport.get_write_buffer_size() if isinstance(transport, asyncio.Transport) else 0


class DiscerningRedirect(FixedRedirect):
    """One that knows of nobody's connections, but whether they are the application's."""

    def __init__(self, is_foreign: bool) -> None:
        super().__init__(None)
        self._is_foreign = is_foreign
        self.asked: list[tuple[tuple[str, int], tuple[str, int]]] = []

    def is_foreign(self, own: tuple[str, int], other: tuple[str, int]) -> bool:
        self.asked.append((own, other))
        return self._is_foreign


@pytest.mark.parametrize("is_foreign", [True, False])
def test_who_is_not_of_the_application_is_refused_and_is_no_case_s_affair(is_foreign: bool) -> None:
    """A program outside of it that looks for its own server on a port that is ours by now."""

    def connect(port: int) -> tuple[tuple[str, int], bytes]:
        with socket.create_connection(("127.0.0.1", port)) as client:
            return client.getsockname(), read_until_closed(client)

    async def scenario() -> None:
        redirect = DiscerningRedirect(is_foreign)
        responder = Responder(redirect, make_matcher(SetInMemory()), Routes(()), PROTOCOLS)
        port = (await responder.start()).tcp4
        try:
            name, said = await asyncio.to_thread(connect, port)
        finally:
            await responder.close()
        assert (redirect.asked, said) == ([(name, ("127.0.0.1", port))], b"")
        assert responder.foreign_count == is_foreign
        assert len(responder.take_problems()) == (not is_foreign)

    asyncio.run(scenario())


def read_until_closed(client: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return client.recv(1)
    return b""


class TestMisses:
    def test_an_unknown_destination_gets_the_protocols_own_error(self) -> None:
        async def scenario() -> None:
            async with serving([], ("10.9.9.9", 80)) as stand:
                status, _ = await stand.call(get, stand.ports.tcp4)
                assert status >= 500
                [finding] = stand.findings()
                assert (finding.kind, finding.miss) == ("extra", MissKind.NEVER_RECORDED)
                assert (finding.protocol, finding.destination) == ("http", "10.9.9.9:80")

        asyncio.run(scenario())

    @pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"\xff" * 20_000])
    def test_what_no_protocol_takes_is_a_miss_and_closed(self, data: bytes) -> None:
        async def scenario() -> None:
            async with serving([], ("10.9.9.9", 3306), silence_s=0.01) as stand:
                assert await stand.call(exchange_bytes, stand.ports.tcp4, data) == b""
                [finding] = stand.findings()
                assert (finding.protocol, finding.destination) == ("opaque", "10.9.9.9:3306")
                assert finding.miss is MissKind.NEVER_RECORDED

        asyncio.run(scenario())

    def test_a_silent_connection_to_a_recorded_destination_is_left_open(self) -> None:
        async def scenario() -> None:
            async with serving([make_http_mock()], silence_s=0.0) as stand:
                connection = socket.create_connection(("127.0.0.1", stand.ports.tcp4))
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")
                with connection:
                    connection.sendall(REQUEST)
                    assert (await stand.call(connection.recv, 65536)).endswith(b"hello")

        asyncio.run(scenario())


class BrokenSession:
    is_closed = False

    def receive_data(self, data: bytes) -> bytes:
        raise RuntimeError("a defect")

    def receive_eof(self) -> bytes:
        raise RuntimeError("a defect")


class BrokenSpec(type(PROTOCOLS["opaque"])):  # type: ignore[misc]
    name = "broken"

    def detect(self, client: bytes, server: bytes) -> Detection:
        return Detection.YES if client.startswith(b"broken") else Detection.NO

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> BrokenSession:
        return BrokenSession()


class TestBoundary:
    def test_a_defect_ends_its_connection_only_and_is_kept(self) -> None:
        async def scenario() -> None:
            protocols = {"broken": BrokenSpec(), **PROTOCOLS}
            async with serving([make_http_mock()], protocols=protocols) as stand:
                stand.redirect.destination = ("10.0.0.9", 1)
                assert await stand.call(exchange_bytes, stand.ports.tcp4, b"broken") == b""
                [problem] = stand.responder.take_problems()
                assert problem.destination == "10.0.0.9:1"
                assert (problem.protocol, problem.text) == ("broken", "RuntimeError: a defect")
                assert stand.responder.take_problems() == []
                stand.redirect.destination = ("10.0.0.7", 8001)
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")

        asyncio.run(scenario())

    def test_a_connection_that_nobody_redirected_is_a_problem(self) -> None:
        async def scenario() -> None:
            async with serving([], None) as stand:
                assert await stand.call(exchange_bytes, stand.ports.tcp4, b"") == b""
                [problem] = stand.responder.take_problems()
                assert "its destination is not known" in problem.text

        asyncio.run(scenario())

    @pytest.mark.parametrize("destination", [("10.0.0.7", 6379), ("10.0.0.7", 8001)])
    def test_garbage_leaves_the_responder_serving(self, destination: tuple[str, int]) -> None:
        command = b"*2\r\n$3\r\nGET\r\n$4\r\nrate\r\n"
        mocks = [make_http_mock(), make_mock("redis", "10.0.0.7:6379", command, b"$1\r\n1\r\n")]

        def send(port: int) -> None:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"\0\xff garbage\r\n\r\n*9999999999\r\n" * 50)

        async def scenario() -> None:
            async with serving(mocks, destination) as stand:
                await stand.call(send, stand.ports.tcp4)
                stand.redirect.destination = ("10.0.0.7", 8001)
                assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")

        asyncio.run(scenario())
