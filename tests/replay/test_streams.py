"""The responder over TLS: the clients' own verification is what judges."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psycopg2
import pytest
import redis

from kebpf.protocols.base import Document
from kebpf.protocols.postgres.admitting import UNKNOWN
from kebpf.protocols.postgres.opening import startup_request
from kebpf.protocols.postgres.scram import Login
from kebpf.recording.model import Mock, Tier, Tls
from kebpf.replay.certificates import Authority
from kebpf.replay.tlsend import Encryption
from tests.replay.sets import make_mock
from tests.replay.test_responder import (
    REQUEST,
    RESPONSE,
    Stand,
    make_http_mock,
    make_postgres_mock,
    serving,
)

NAME = "rates"
TLS = Tls(NAME, "http/1.1", "TLSv1.3")
SHOP = ("10.0.0.7", 8001)
DATABASE = ("10.0.0.7", 5432)
LIMIT_S = 20


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def bundle(authority: Authority, tmp_path: Path) -> str:
    """A file with the run's authority, which `localhost` is the only host of."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return str(path)


@asynccontextmanager
async def encrypting(
    authority: Authority,
    mocks: Sequence[Mock],
    destination: tuple[str, int] = SHOP,
    **options: Any,
) -> AsyncIterator[Stand]:
    encryption = Encryption(authority, lambda host: ["localhost"] if host == SHOP[0] else [])
    async with serving(mocks, destination, encryption=encryption, **options) as stand:
        yield stand


def run(
    authority: Authority,
    mocks: Sequence[Mock],
    program: Callable[[int], Any],
    destination: tuple[str, int] = SHOP,
) -> tuple[Any, Stand]:
    """What a blocking program makes of it, and what was noted."""

    async def scenario() -> tuple[Any, Stand]:
        async with encrypting(authority, mocks, destination) as stand:
            found = await stand.call(program, stand.ports.tcp4)
            await stand.responder.settle(LIMIT_S)
            return found, stand

    return asyncio.run(scenario())


def list_openings(stand: Stand) -> list[str]:
    """The findings on how connections were opened."""
    return [one.call for one in stand.matcher.opened.list_findings()]


def make_context(bundle: str, **settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=bundle)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@contextmanager
def connecting(
    port: int, context: ssl.SSLContext, name: str | None = NAME
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as client,
    ):
        yield client


def ask(client: socket.socket) -> bytes:
    client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    return b"".join(iter(lambda: client.recv(65536), b""))


ENCRYPTED = replace(make_http_mock(), tls=TLS)


def test_python_verifies_the_certificate_for_the_name_it_asked_for(
    authority: Authority, bundle: str
) -> None:
    def program(port: int) -> object:
        with connecting(port, make_context(bundle)) as client:
            names = dict(client.getpeercert() or {})["subjectAltName"]
            return names, ask(client).endswith(b"hello"), client.version()

    (names, has_answer, version), stand = run(authority, [ENCRYPTED], program)
    assert (has_answer, version) == (True, "TLSv1.3")
    assert ("DNS", NAME) in names
    assert not stand.responder.take_problems()
    assert not list_openings(stand)


@pytest.mark.parametrize(
    ("offered", "recorded", "chosen"),
    [
        (["http/1.1"], "", "http/1.1"),
        (["h2", "http/1.1"], "http/1.1", "http/1.1"),
        (["h2", "http/1.1"], "", "http/1.1"),
        (["h2", "http/1.1"], "h2", "h2"),
        (["h2"], "http/1.1", None),
        (["x-of-its-own"], "x-of-its-own", "x-of-its-own"),
        ([], "http/1.1", None),
    ],
)
def test_alpn_is_chosen_as_when_recorded(
    authority: Authority, bundle: str, offered: list[str], recorded: str, chosen: str | None
) -> None:
    def program(port: int) -> object:
        context = make_context(bundle)
        if offered:
            context.set_alpn_protocols(offered)
        with connecting(port, context) as client:
            return client.selected_alpn_protocol()

    mocks = [replace(ENCRYPTED, tls=Tls(NAME, recorded))]
    assert run(authority, mocks, program)[0] == chosen


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    "ciphers", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
)
def test_clients_of_one_version_and_one_kind_of_key(
    authority: Authority, bundle: str, version: ssl.TLSVersion, ciphers: str
) -> None:
    def program(port: int) -> object:
        context = make_context(bundle, maximum_version=version)
        context.set_ciphers(ciphers)
        with connecting(port, context) as client:
            return ask(client).endswith(b"hello"), client.version()

    assert run(authority, [ENCRYPTED], program)[0] == (True, version.name.replace("_", "."))


@pytest.mark.parametrize("size", [1, 5, 7, 100])
def test_a_handshake_may_come_in_pieces(authority: Authority, bundle: str, size: int) -> None:
    def program(port: int) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = make_context(bundle).wrap_bio(incoming, outgoing, server_hostname=NAME)
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    client.write(REQUEST)
                    break
                send_cut(plain, outgoing.read(), size)
                incoming.write(plain.recv(65536))
            send_cut(plain, outgoing.read(), size)
            while True:
                incoming.write(plain.recv(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    return client.read()

    assert run(authority, [ENCRYPTED], program)[0] == RESPONSE


def send_cut(client: socket.socket, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        client.sendall(data[at : at + size])


def test_large_answers_and_requests_cross_whole(authority: Authority, bundle: str) -> None:
    body = bytes(range(256)) * 20_000
    head = b"Content-Length: %d\r\n\r\n" % len(body)
    request = b"POST /up HTTP/1.1\r\nHost: rates\r\n" + head + body
    mock = make_mock("http", "10.0.0.7:8001", request, b"HTTP/1.1 200 OK\r\n" + head + body)

    def program(port: int) -> bytes:
        with connecting(port, make_context(bundle)) as client:
            client.sendall(request)
            response = http.client.HTTPResponse(client)
            response.begin()
            return response.read()

    assert run(authority, [replace(mock, tls=TLS)], program)[0] == body


# --- where TLS begins later -----------------------------------------------------------------


def make_encrypted_postgres() -> list[Mock]:
    """A start-up and ``SELECT answer FROM t``, over TLS."""
    query = make_postgres_mock()
    startup = startup_request([("user", "u"), ("database", "d")])
    method = "scram-sha-256"
    response: Document = {"parameters": {}, "authentication": method, "error": None, "notices": []}
    session = replace(query, name="s", request=startup, response=response, tier=Tier.SESSION)
    return [replace(one, tls=Tls("db", "", "TLSv1.3")) for one in (session, query)]


def query_postgres(port: int, bundle: str, mode: str, **options: Any) -> object:
    place = {"host": "db", "hostaddr": "127.0.0.1", "port": port, "dbname": "d", "user": "u"}
    connection = psycopg2.connect(
        **place, password="p", sslmode=mode, sslrootcert=bundle, gssencmode="disable", **options
    )
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM t")
        return cursor.fetchall(), connection.info.ssl_in_use


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_postgres_clients_get_the_encryption_that_was_recorded(
    authority: Authority, bundle: str, mode: str
) -> None:
    program = partial(query_postgres, bundle=bundle, mode=mode)
    found, stand = run(authority, make_encrypted_postgres(), program, DATABASE)
    assert found == ([("forty-two",)], True)
    assert not stand.findings()
    assert not list_openings(stand)


@pytest.mark.parametrize(
    ("login", "is_let_in"),
    [
        (Login(["other", "p"], is_insisting=True), True),
        (Login(["other"], is_insisting=True), False),
        (Login([], is_insisting=True), False),
    ],
)
def test_libpq_may_insist_on_a_bound_channel(
    authority: Authority, bundle: str, login: Login, is_let_in: bool
) -> None:
    """Its password must be known then: libpq checks that the server knows it."""

    def program(port: int) -> object:
        try:
            return query_postgres(port, bundle, "verify-full", channel_binding="require")
        except psycopg2.OperationalError:
            return None

    async def scenario() -> tuple[object, list[str]]:
        async with encrypting(authority, make_encrypted_postgres(), DATABASE) as stand:
            stand.responder.login = login
            found = await stand.call(program, stand.ports.tcp4)
            await stand.responder.settle(LIMIT_S)
            return found, [one.text for one in stand.responder.take_problems()]

    found, problems = asyncio.run(scenario())
    assert found == (([("forty-two",)], True) if is_let_in else None)
    assert problems == ([] if is_let_in else [UNKNOWN])


def test_asyncpg_verifies_fully(authority: Authority, bundle: str) -> None:
    async def connect(port: int) -> object:
        place = {"host": "localhost", "port": port, "user": "u", "database": "d"}
        connection = await asyncpg.connect(**place, password="p", ssl=make_context(bundle))
        try:
            return connection.is_closed()
        finally:
            await connection.close()

    def program(port: int) -> object:
        return asyncio.run(connect(port))

    assert run(authority, make_encrypted_postgres(), program, DATABASE)[0] is False


def test_a_server_recorded_in_plain_text_grants_no_encryption(
    authority: Authority, bundle: str
) -> None:
    mocks = [make_postgres_mock()]
    found, stand = run(
        authority, mocks, partial(query_postgres, bundle=bundle, mode="prefer"), DATABASE
    )
    assert found == ([("forty-two",)], False)
    assert not list_openings(stand)

    def insist(port: int) -> str:
        with pytest.raises(psycopg2.OperationalError) as caught:
            query_postgres(port, bundle, "require")
        return str(caught.value)

    assert "does not support SSL" in run(authority, mocks, insist, DATABASE)[0]


def test_plain_text_where_tls_was_recorded_is_told(authority: Authority, bundle: str) -> None:
    found, stand = run(
        authority,
        make_encrypted_postgres(),
        partial(query_postgres, bundle=bundle, mode="disable"),
        DATABASE,
    )
    assert found == ([("forty-two",)], False)
    assert list_openings(stand) == ["connect without TLS"]


def test_tls_where_plain_text_was_recorded_is_told(authority: Authority, bundle: str) -> None:
    def program(port: int) -> bytes:
        with connecting(port, make_context(bundle)) as client:
            return ask(client)

    found, stand = run(authority, [make_http_mock()], program)
    assert found.endswith(b"hello")
    assert list_openings(stand) == [f"connect over TLS to {NAME}"]


def test_postgres_may_begin_with_tls_at_once(authority: Authority, bundle: str) -> None:
    """As ``sslnegotiation=direct`` of PostgreSQL 17 does, with the ALPN it insists on."""
    parameters = b"user\0u\0database\0d\0\0"
    startup = struct.pack("!II", 8 + len(parameters), 196608) + parameters

    def program(port: int) -> object:
        context = make_context(bundle)
        context.set_alpn_protocols(["postgresql"])
        with connecting(port, context, "db") as client:
            client.sendall(startup)
            return client.selected_alpn_protocol(), client.recv(9)

    found, _ = run(authority, make_encrypted_postgres(), program, DATABASE)
    assert found == ("postgresql", b"R" + struct.pack("!II", 8, 0))


def test_redis_over_tls(authority: Authority, bundle: str) -> None:
    command = b"*2\r\n$3\r\nGET\r\n$4\r\nrate\r\n"
    mock = make_mock("redis", "10.0.0.7:8001", command, b"$4\r\n1.25\r\n", tls=Tls("localhost"))

    def program(port: int) -> object:
        with redis.Redis(
            host="localhost", port=port, ssl=True, ssl_ca_certs=bundle, ssl_check_hostname=True
        ) as client:
            return client.get("rate"), client.ping()

    found, stand = run(authority, [mock], program)
    assert found == (b"1.25", True)
    assert not list_openings(stand)


def test_https_through_a_proxy_is_within_its_tunnel(authority: Authority, bundle: str) -> None:
    connect = b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n"
    granted = make_mock(
        "http", "10.0.0.7:8001", connect, b"HTTP/1.1 200 Connection established\r\n\r\n"
    )
    mocks = [granted, replace(make_http_mock(), tls=Tls("shop.example"))]

    def program(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain:
            plain.sendall(connect)
            assert b" 200 " in plain.recv(65536)
            context = make_context(bundle)
            with context.wrap_socket(plain, server_hostname="shop.example") as client:
                return ask(client)

    found, stand = run(authority, mocks, program)
    assert found.endswith(b"hello")
    assert not stand.findings()


def test_an_unknown_protocol_may_change_over_in_its_midst(
    authority: Authority, bundle: str
) -> None:
    def turn(request: bytes, response: bytes, tls: Tls | None = None) -> Mock:
        tier = Tier.SESSION if request == b"" else Tier.BACKGROUND
        return replace(
            make_http_mock(),
            protocol="opaque",
            name=f"m{request!r}",
            request={"data": request},
            response={"data": response},
            tier=tier,
            tls=tls,
        )

    mocks = [
        turn(b"", b"220 mail\r\n"),
        turn(b"STARTTLS\r\n", b"220 go\r\n"),
        turn(b"HELO\r\n", b"250 secret\r\n", Tls("mail")),
    ]

    def program(port: int) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain:
            told = [plain.recv(100)]
            plain.sendall(b"STARTTLS\r\n")
            told.append(plain.recv(100))
            with make_context(bundle).wrap_socket(plain, server_hostname="mail") as client:
                client.sendall(b"HELO\r\n")
                return [*told, client.recv(100)]

    found, stand = run(authority, mocks, program)
    assert found == [b"220 mail\r\n", b"220 go\r\n", b"250 secret\r\n"]
    assert not stand.findings()


def test_a_greeting_that_was_encrypted_waits_for_the_handshake(
    authority: Authority, bundle: str
) -> None:
    greeting = replace(
        make_http_mock(),
        protocol="opaque",
        request={"data": b""},
        response={"data": b"* OK ready\r\n"},
        tier=Tier.SESSION,
        tls=Tls("imap"),
    )

    def program(port: int) -> bytes:
        with connecting(port, make_context(bundle), "imap") as client:
            return client.recv(100)

    found, stand = run(authority, [greeting], program)
    assert found == b"* OK ready\r\n"
    assert not list_openings(stand)


def test_encrypted_bytes_of_an_unknown_protocol_are_nothing_else(
    authority: Authority, bundle: str
) -> None:
    asked = replace(
        make_http_mock(),
        protocol="opaque",
        request={"data": b"PRI"},
        response={"data": b"SETTINGS"},
        tls=Tls("shop", "h2"),
    )

    def program(port: int) -> bytes:
        with connecting(port, make_context(bundle), "shop") as client:
            client.sendall(b"PRI")
            return client.recv(100)

    found, stand = run(authority, [asked], program)
    assert found == b"SETTINGS"
    assert not list_openings(stand)
