"""Binary ⇄ text against a real server: SELECT $1::type both ways."""

from __future__ import annotations

import struct
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from kebpf.protocols.postgres.types import (
    TYPES,
    ConversionError,
    decode_value,
    encode_value,
)
from tests.fix_postgres import PostgresCluster

SAMPLES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["0", "-32768", "32767"],
    "int4": ["0", "-2147483648", "2147483647"],
    "int8": ["9223372036854775807", "-9223372036854775808"],
    "oid": ["0", "4294967295"],
    "float4": ["0", "-0", "1.5", "1e-5", "123456", "1234567", "3.4e38", "1e-45", "NaN", "Infinity"],
    "float8": ["0", "0.1", "1e15", "1e14", "1e-4", "1e-5", "-Infinity", "5e-324", "1e308", "0.3"],
    "numeric": ["0", "0.000", "-12.50", "1e20", "0.00001", "NaN", "Infinity", "-Infinity", "10000"],
    "text": ["", "naïve", 'q"uote', "a\\b"],
    "varchar": ["x"],
    "bpchar": ["x  "],
    "name": ["pg_class"],
    "bytea": ["\\x", "\\x00ff"],
    "uuid": ["00000000-0000-0000-0000-00000000abcd"],
    "date": ["2000-01-01", "1999-12-31", "infinity", "-infinity", "0044-03-15 BC", "12345-06-07"],
    "time": ["00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.5"],
    "timetz": ["12:00:00+02", "12:00:00-05:30", "00:00:00.1+00", "01:02:03-00:00:01"],
    "timestamp": ["2024-02-29 12:00:00.25", "infinity", "0001-01-01 00:00:00 BC", "99999-01-01"],
    "timestamptz": ["2024-02-29 12:00:00.25+02", "-infinity", "1900-01-01 00:00:00+00"],
    "interval": ["0", "1 day", "-1 day +02:03:04", "1 year 2 mons -3 days -00:00:00.5", "-13 mons"],
    "json": ['{"a" : 1}', "null"],
    "jsonb": ['{"a": [1, 2]}'],
    "inet": [
        "10.0.0.1",
        "10.0.0.0/8",
        "::1",
        "::ffff:1.2.3.4",
        "2001:db8::1/64",
        "::1.2.3.4",
        "::",
    ],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "point": ["(1.5,-2)", "(NaN,Infinity)"],
    "lseg": ["[(0,0),(1,1e-05)]"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"],
    "box": ["(3,4),(1,2)"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "line": ["{1,-1,0}"],
    "circle": ["<(0,1),2>"],
    "bit": ["1", "0"],
    "varbit": ["", "1011", "101100111"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "pg_lsn": ["16/B374D848", "0/0"],
    "xid": ["7", "4294967295"],
    "cid": ["0"],
    "xid8": ["18446744073709551615"],
    "tid": ["(0,1)", "(4294967295,65535)"],
    "jsonpath": ['$."a"[*]?(@ > 1)'],
    "int4range": ["empty", "[1,5)", "(,)", "[3,)", "(,7)"],
    "int8range": ["[-5,9223372036854775807)"],
    "numrange": ["(1.5,2.50]", "[NaN,NaN]"],
    "daterange": ["[2024-01-01,infinity)", '["0044-03-15 BC",2000-01-01)'],
    "tsrange": ['["2024-01-01 00:00:00","2024-01-02 03:04:05.6"]'],
    "tstzrange": ['["2024-01-01 00:00:00+00",)', '(,"2024-01-01 00:00:00+00"]'],
    "int4multirange": ["{}", "{[1,3),[7,)}"],
    "nummultirange": ["{[1.0,1.5],(2,)}"],
    "tstzmultirange": ['{["2024-01-01 00:00:00+00",)}'],
    "datemultirange": ["{[2024-01-01,2024-02-01)}"],
    "int4range[]": ['{"[1,5)",NULL,empty}'],
    "tstzrange[]": ['{"[\\"2024-01-01 00:00:00+00\\",)"}'],
    "point[]": ['{"(1,2)"}'],
    "int4[]": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[2:2][-1:0]={{1,2}}"],
    "text[]": ['{a,"b c",NULL,"NULL","","q\\"","b\\\\",null1}', '{"{",","}'],
    "timestamptz[]": ['{"2024-01-01 00:00:00+00"}'],
    "jsonb[]": ['{"{\\"a\\": 1}"}'],
    "numeric[]": ["{1.0,NaN}"],
    "bool[]": ["{t,f}"],
}
OIDS = {known.name: known.oid for known in TYPES.values()}


class Probe:
    """Asks a server for a value in one format and gives what it says."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._connection = psycopg.connect(cluster.dsn, autocommit=True)
        self._pg = self._connection.pgconn

    def ask(self, name: str, value: bytes, sent: int, wanted: int) -> bytes:
        result = self._pg.exec_params(
            f"select $1::{name}".encode(), [value], [OIDS[name]], [sent], wanted
        )
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise ValueError(result.error_message.decode())
        found = result.get_value(0, 0)
        assert found is not None
        return found

    def check(self, name: str, binary: bytes) -> None:
        """Our text is the server's, and the way back gives the same bytes."""
        text = self.ask(name, binary, 1, 0).decode()
        oid = OIDS[name]
        assert decode_value(oid, 1, binary) == text
        assert encode_value(oid, 1, text, 0) == binary

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def probe(postgres: PostgresCluster) -> Any:
    found = Probe(postgres)
    yield found
    found.close()


CASES = [(name, text) for name, texts in SAMPLES.items() for text in texts]


@pytest.mark.postgres
@pytest.mark.parametrize(("name", "text"), CASES)
def test_samples_are_as_the_server_prints_them(probe: Probe, name: str, text: str) -> None:
    probe.check(name, probe.ask(name, text.encode(), 0, 1))


def values(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


DAY_US = 86_400_000_000
BINARY: dict[str, st.SearchStrategy[bytes]] = {
    "float4": values(4),
    "float8": values(8),
    "date": st.integers(-2_400_000, 5_000_000).map(lambda n: struct.pack("!i", n)),
    "time": st.integers(0, DAY_US).map(lambda n: struct.pack("!q", n)),
    "timestamp": st.integers(-2_000_000 * DAY_US, 5_000_000 * DAY_US).map(
        lambda n: struct.pack("!q", n)
    ),
    "timestamptz": st.integers(-(10**17), 10**18).map(lambda n: struct.pack("!q", n)),
    "interval": st.builds(
        lambda a, b, c: struct.pack("!qii", a, b, c),
        st.integers(-(10**17), 10**17),
        st.integers(-(2**31) + 1, 2**31 - 1),
        st.integers(-1_000_000, 1_000_000),
    ),
    "uuid": values(16),
    "bytea": st.binary(max_size=40),
}
SLOW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.postgres
@pytest.mark.parametrize("name", BINARY)
def test_random_values_are_as_the_server_prints_them(probe: Probe, name: str) -> None:
    @SLOW
    @given(BINARY[name])
    def check(binary: bytes) -> None:
        if not (name.startswith("float") and binary[:1] in (b"\x7f", b"\xff")):
            probe.check(name, binary)

    check()


@pytest.mark.postgres
def test_powers_of_two_are_printed_shortest(probe: Probe) -> None:
    for exponent in range(-149, 128):
        probe.check("float4", struct.pack("!f", 2.0**exponent))
    for exponent in range(-1074, 1024, 7):
        probe.check("float8", struct.pack("!d", 2.0**exponent))


@pytest.mark.postgres
def test_numerics_are_as_the_server_prints_them(probe: Probe) -> None:
    @SLOW
    @given(st.from_regex(r"\A-?[0-9]{1,30}(\.[0-9]{1,30})?\Z"))
    @example("-0.00010000")
    def check(text: str) -> None:
        probe.check("numeric", probe.ask("numeric", text.encode(), 0, 1))

    check()


@pytest.mark.postgres
def test_arrays_of_any_text_go_both_ways(probe: Probe) -> None:
    letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    element = st.none() | st.text(letters, max_size=6)

    @SLOW
    @given(st.lists(element, max_size=5))
    def check(elements: list[str | None]) -> None:
        packed = [
            b"\xff\xff\xff\xff" if e is None else struct.pack("!i", len(e.encode())) + e.encode()
            for e in elements
        ]
        head = struct.pack("!iiIii", 1, None in elements, 25, len(elements), 1)
        binary = head + b"".join(packed) if elements else struct.pack("!iiI", 0, 0, 25)
        probe.check("text[]", binary)

    check()


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=64))
@settings(max_examples=500)
def test_garbage_stays_bytes_or_becomes_text(oid: int, raw: bytes) -> None:
    value = decode_value(oid, 1, raw)
    assert isinstance(value, str) or value == raw


@given(st.sampled_from(sorted(TYPES)), st.text(max_size=30))
@settings(max_examples=500)
def test_text_of_no_type_is_refused(oid: int, text: str) -> None:
    try:
        assert isinstance(encode_value(oid, 1, text, 0), bytes)
    except ConversionError:
        return


def test_a_value_known_only_in_binary_is_not_given_as_text() -> None:
    with pytest.raises(ConversionError):
        encode_value(99_999, 0, b"\x01", 1)
    assert encode_value(99_999, 1, b"\x01", 1) == b"\x01"
    with pytest.raises(ConversionError):
        encode_value(99_999, 1, "text", 0)
