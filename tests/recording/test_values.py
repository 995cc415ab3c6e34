"""What looks generated is found, whatever stands around it; words and constants are not."""

from __future__ import annotations

import base64
import json
import re
import secrets
import uuid
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording import times, values
from kebpf.recording.templates import match_template, matches_class, write_template
from kebpf.recording.times import Window, parse_time, write_like
from kebpf.recording.values import (
    find_candidates,
    find_tokens,
    list_texts,
    text_of,
    walk_scalars,
)

NOW = datetime(2026, 11, 22, 16, 37, 5, 123_456, UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000 + 123_456_000
WINDOW = Window(NOW_NS - 20_000_000, NOW_NS + 20_000_000)
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def classes(text: str, window: Window | None = WINDOW) -> list[str]:
    return [token.class_name for token in find_candidates(text, window)]


def make_ulid(time_ms: int) -> str:
    number = time_ms << 80 | secrets.randbits(80)
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


class TestWalk:
    def test_rfc_6901_pointers(self) -> None:
        tree = {"a/b": [1, {"m~n": None}], "": "x", "e": {}}
        assert list(walk_scalars(tree)) == [("/a~1b/0", 1), ("/a~1b/1/m~0n", None), ("/", "x")]

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.binary(max_size=9),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        )
    )
    def test_texts_of_some_length_are_those_of_the_walk(self, tree: Any) -> None:
        walked = [
            (path, text)
            for path, one in walk_scalars(tree)
            if isinstance(one, str | bytes)
            and (text := text_of(one)) is not None
            and 2 <= len(text) <= 5
        ]
        assert list_texts(tree, 2, 5) == walked

    def test_text(self) -> None:
        scalars = ("x", b"y", b"\xff", 1, 1.5, True, None)
        assert [text_of(s) for s in scalars] == ["x", "y", "ÿ", "1", "1.5", None, None]


class TestIds:
    def test_uuids(self) -> None:
        assert classes(str(uuid.uuid4())) == ["uuid4"]
        assert classes(f"order:{uuid.uuid4()}") == ["uuid4"]
        assert classes(f"a_{uuid.uuid4()},{uuid.uuid4()}") == ["uuid4", "uuid4"]
        assert classes(str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))) == []

    def test_a_version_1_uuid_counts_by_its_time(self) -> None:
        text = str(uuid.uuid1())
        ticks = uuid.UUID(text).time
        time_ns = (ticks - 0x01B21DD213814000) * 100  # RFC 9562 section 5.1
        assert classes(text, Window(time_ns, time_ns)) == ["uuid1"]
        assert classes(text, WINDOW) == []
        assert [t.class_name for t in find_tokens(text, WINDOW)] == ["uuid1"]

    def test_a_version_7_uuid_counts_by_its_time(self) -> None:
        # RFC 9562 appendix A.6: 2022-02-22T19:22:22.000Z
        text, time_ns = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", 1_645_557_742_000 * 10**6
        assert classes(text, Window(time_ns, time_ns)) == ["uuid7"]
        assert classes(text) == []

    def test_a_version_6_uuid_counts_by_its_time(self) -> None:
        # RFC 9562 appendix A.5, the same instant
        text, time_ns = "1ec9414c-232a-6b00-b3c8-9f6bdeced846", 1_645_557_742_000 * 10**6
        assert classes(text, Window(time_ns, time_ns)) == ["uuid6"]

    def test_ulid_objectid_ksuid_snowflake(self) -> None:
        assert classes(make_ulid(NOW_NS // 10**6)) == ["ulid"]
        assert classes(make_ulid(NOW_NS // 10**6 - 10**9)) == []
        assert classes(f"{NOW_NS // 10**9:08x}" + "a1b2c3d4e5f60718") == ["objectid"]
        assert classes("507f1f77bcf86cd799439011") == ["hex:24"]
        snowflake = str((NOW_NS // 10**6 - 1_288_834_974_657) << 22 | 12345)
        assert classes(snowflake) == ["snowflake"]
        assert classes("1541815603606036480") == []
        # From the KSUID reference implementation's README: 2017-10-09 21:00:47 -0700
        ksuid, time_ns = "0ujtsYcgvSTl8PAuAdqWYSMnLOv", 1_507_608_047 * 10**9
        assert classes(ksuid, Window(time_ns, time_ns)) == ["ksuid"]

    def test_random_tokens(self) -> None:
        assert classes("00ff1b6e9a2c4d5e") == ["hex:16"]
        assert classes("9F86D081884C7D659A2FEAA0C55AD015") == ["HEX:32"]
        assert classes("nFHh6Aqdfx9pv-U5omJppoEvJITfCK6N6Mgsqn4s-js") == ["base64url:43"]
        assert classes("+/Wif+KtMUe55Szw4MraXGCwoNin4L39") == ["base64:32"]
        text = "session=0VyZ_MvKe9SA0t5NYX7XaDCLpodjIkIG; Path=/"
        (token,) = find_candidates(text, WINDOW)
        assert text[token.start : token.end] == token.text == "0VyZ_MvKe9SA0t5NYX7XaDCLpodjIkIG"

    def test_almost_every_random_token_is_found(self) -> None:
        for make in (secrets.token_hex, secrets.token_urlsafe):
            found = sum(bool(find_candidates(make(24), WINDOW)) for _ in range(500))
            assert found > 490

    @pytest.mark.parametrize(
        "text",
        [
            "getUserAccountDetailsById",
            "/api/v1/orders/items/list/all/things",
            "select * from information_schema.tables where table_name = 'x'",
            "0000000000000000",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "this-is-a-rather-long-kebab-case-slug",
            "application/vnd.openxmlformats-officedocument",
            "4111111111111111",
            base64.b64encode(b"just some readable words").decode(),
            "THE_QUICK_BROWN_FOX_JUMPS_OVER",
            "deadbeefdeadbeef",
        ],
    )
    def test_words_and_constants_are_none(self, text: str) -> None:
        assert classes(text) == []

    @pytest.mark.parametrize(
        ("text", "template"),
        [
            # bcrypt.hashpw, werkzeug.security.generate_password_hash, Django's make_password
            (
                "$2b$12$LQv3c1yqBWVHxkd0LHAkCOYz6TtxMQJqhN8/LewKyNiLXCqWJf8C.",
                "$2b$12${crypt:53}",
            ),
            (
                "scrypt:32768:8:1$1vWqC8dRtkYb2XgH$" + "0f1e2d3c4b5a6978" * 8,
                "scrypt:32768:8:1${token:16}${hex:128}",
            ),
            (
                "pbkdf2_sha256$870000$aGuUfNR3U8eEPsW9tXmQ0q$"
                "YtZf0Xs8Q4q0m1oJ8+N2Xv2hTzq7yP0wE4rKbVn5c9U=",
                "pbkdf2_sha256$870000${token:22}${base64:44}",
            ),
            # psycopg2 writes bytea parameters into the SQL
            ("'\\x" + b"$2b$04$abcdefghi".hex() + "8f" * 20 + "'::bytea", "'\\x{hex:72}'::bytea"),
            # express-session with cookie-signature; itsdangerous; django.core.signing
            (
                "connect.sid=s%3AyDXQ7vJz3mOMkD6cU9sT1pHnB8wEfL2a."
                "q3Xv8%2BtR1mZk7%2FpYw2LbN5cJ9dHs0gFaUeTiKoVxMrQ; Path=/",
                "connect.sid=s%3A{token:32}.{escaped64:43}; Path=/",
            ),
        ],
    )
    def test_what_libraries_write(self, text: str, template: str) -> None:
        found = [(t.start, t.end, t.class_name) for t in find_candidates(text, WINDOW)]
        assert write_template(text, found) == template
        assert match_template(template, text) is not None

    def test_signed_with_a_time(self) -> None:
        stamp = base64.urlsafe_b64encode((NOW_NS // 10**9).to_bytes(4, "big")).decode()[:6]
        digest = base64.urlsafe_b64encode(bytes(range(80, 100))).decode().rstrip("=")
        text = f"remember=eyJwIjoxfQ.{stamp}.{digest}; Path=/"
        assert classes(text) == ["json64", "time:epoch_b64", "base64url:27"]
        number, stamp62 = NOW_NS // 10**9, ""
        while number:
            number, digit = divmod(number, 62)
            stamp62 = BASE62[digit] + stamp62
        digest = base64.urlsafe_b64encode(bytes(range(80, 112))).decode().rstrip("=")
        assert classes(f"hello:{stamp62}:{digest}") == ["time:epoch_b62", "base64url:43"]

    def test_json_web_tokens(self) -> None:
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256"}).encode()).decode().rstrip("=")
        assert classes(f"Bearer {head}.{head}.{'aB3_' * 8}") == ["jwt"]
        assert "jwt" not in classes(f"eyJhbGciOiJ.{head}.{'aB3_' * 8}")


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "class_name"),
        [
            (NOW.isoformat(), "time:%Y-%m-%dT%H:%M:%S.%f%:z"),
            (str(NOW), "time:%Y-%m-%d %H:%M:%S.%f%:z"),
            (NOW.isoformat(timespec="milliseconds")[:-6] + "Z", "time:%Y-%m-%dT%H:%M:%S.%3fZ"),
            (NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), "time:%Y-%m-%dT%H:%M:%SZ"),
            ("2026-11-22 16:37:05.1234+00", "time:%Y-%m-%d %H:%M:%S.%f%#z"),
            ("2026-11-22T16:37:05.123456789Z", "time:%Y-%m-%dT%H:%M:%S.%9fZ"),
            (formatdate(NOW.timestamp(), usegmt=True), "time:%a, %d %b %Y %H:%M:%S GMT"),
            (NOW.strftime("%Y%m%dT%H%M%SZ"), "time:%Y%m%dT%H%M%SZ"),
            (NOW.astimezone(timezone(timedelta(hours=2))).isoformat(), None),
            ((NOW + timedelta(hours=1)).isoformat(), "time:%Y-%m-%dT%H:%M:%S.%f%:z@+3600"),
            ((NOW - timedelta(days=7)).isoformat(), "time:%Y-%m-%dT%H:%M:%S.%f%:z@-604800"),
            (str(NOW.date()), "time:%Y-%m-%d"),
            (str(NOW_NS // 10**9), "time:epoch_s"),
            (str(NOW_NS // 10**6), "time:epoch_ms"),
            (str(NOW_NS // 1000), "time:epoch_us"),
            (str(NOW_NS), "time:epoch_ns"),
            (repr(NOW.timestamp()), "time:epoch_f"),
            (str(NOW_NS // 10**9 + 3600), "time:epoch_s@+3600"),
            (str(NOW_NS // 10**6 + 90_000), "time:epoch_ms@+90"),
            ((NOW + timedelta(seconds=45)).isoformat(), "time:%Y-%m-%dT%H:%M:%S.%f%:z@+45"),
            (str(NOW.date() + timedelta(days=30)), "time:%Y-%m-%d@+2592000"),
            (NOW.strftime("%d.%m.%Y %H:%M"), "time:%d.%m.%Y %H:%M"),
            (NOW.strftime("%m/%d/%Y, %H:%M:%S"), "time:%m/%d/%Y, %H:%M:%S"),
            (NOW.strftime("%Y/%m/%d %H:%M:%S"), "time:%Y/%m/%d %H:%M:%S"),
            (NOW.strftime("%d/%b/%Y:%H:%M:%S +0000"), "time:%d/%b/%Y:%H:%M:%S %z"),
            (NOW.ctime(), "time:%a %b %e %H:%M:%S %Y"),
            (NOW.strftime("%a %b %d %Y %H:%M:%S GMT+0000"), "time:%a %b %d %Y %H:%M:%S GMT%z"),
            (NOW.strftime("%Y%m%d%H%M%S"), "time:%Y%m%d%H%M%S"),
        ],
    )
    def test_fresh_times_by_format(self, text: str, class_name: str | None) -> None:
        expected = class_name or "time:%Y-%m-%dT%H:%M:%S.%f%:z"
        assert classes(text) == [expected]
        assert classes(f"at {text}; ok") == [expected]
        assert matches_class(text, expected, WINDOW)

    @pytest.mark.parametrize("directive", [".%f", ".%9f", ".%3f"])
    def test_a_time_with_a_fraction_keeps_one(self, directive: str) -> None:
        name = f"time:%Y-%m-%dT%H:%M:%S{directive}Z"
        assert matches_class("2026-11-22T16:37:05.123Z", name, WINDOW)
        assert not matches_class("2026-11-22T16:37:05Z", name, WINDOW)

    @pytest.mark.parametrize(
        "text", ["2024-02-30T10:00:00Z", "1999-12-31", "1600000000", "2026-11-22T16:31:07Z"]
    )
    def test_other_times_are_no_candidates(self, text: str) -> None:
        assert classes(text) == []

    @pytest.mark.parametrize("moved", [timedelta(minutes=1), timedelta(seconds=3)])
    def test_a_moved_expiry_is_another(self, moved: timedelta) -> None:
        for hours in (0, 1, 24, 720):
            when = NOW + timedelta(hours=hours)
            for write in (
                lambda t: str(int(t.timestamp())),
                lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
                lambda t: t.isoformat(timespec="milliseconds"),
            ):
                (name,) = classes(write(when))
                assert matches_class(write(when), name, WINDOW)
                assert not matches_class(write(when + moved), name, WINDOW)
                assert not matches_class(write(when - moved), name, WINDOW)

    def test_a_day_and_a_month_in_either_order(self) -> None:
        when = datetime(2026, 11, 5, 16, 37, 5, tzinfo=UTC)
        start_ns = int(when.timestamp()) * 10**9
        for format_ in ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"):
            name = f"time:{format_}"
            assert classes(when.strftime(format_), Window(start_ns, start_ns)) == [name]

    def test_formats_are_exact(self) -> None:
        name = "time:%Y-%m-%dT%H:%M:%S.%3fZ"
        assert matches_class("2026-11-22T16:37:05.123Z", name, WINDOW)
        for wrong in (
            "2026-11-22T16:37:05Z",
            "2026-11-22T16:37:05.123456Z",
            "2026-11-22 16:37:05.123Z",
            "2026-11-22T16:37:05.123+00:00",
            "2026-11-22T16:36:05.123Z",
        ):
            assert not matches_class(wrong, name, WINDOW), wrong

    @given(
        st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)),
        st.sampled_from([None, 0, 120, -210]),
    )
    def test_reading_agrees_with_datetime_and_writing_reverses_it(
        self, naive: datetime, minutes: int | None
    ) -> None:
        zone = None if minutes is None else timezone(timedelta(minutes=minutes))
        when = naive.replace(tzinfo=zone)
        value = parse_time(when.isoformat())
        assert value is not None
        epoch = when if zone else when.replace(tzinfo=UTC)
        delta = epoch - datetime(1970, 1, 1, tzinfo=UTC)
        expected = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
        assert value.time_ns == expected
        assert datetime.fromisoformat(write_like(when.isoformat(), value.time_ns)) == when


class TestScan:
    @given(st.text(max_size=200))
    def test_tokens_never_overlap(self, text: str) -> None:
        self.check(text)

    @given(
        st.lists(
            st.one_of(
                st.uuids().map(str),
                st.datetimes().map(str),
                st.from_regex(r"[0-9a-fA-F]{16,40}", fullmatch=True),
                st.from_regex(r"[A-Za-z0-9_+/=-]{18,50}", fullmatch=True),
                st.sampled_from([" ", "-", ":", "", "/", "eyJhbGciOiJIUzI1NiJ9."]),
            ),
            max_size=8,
        )
    )
    def test_tokens_of_dense_text_never_overlap(self, parts: list[str]) -> None:
        self.check("".join(parts))

    @staticmethod
    def check(text: str) -> None:
        end = 0
        for token in find_tokens(text, WINDOW):
            assert end <= token.start < token.end
            assert text[token.start : token.end] == token.text
            end = token.end
        candidates = find_candidates(text, WINDOW)
        template = write_template(text, [(t.start, t.end, t.class_name) for t in candidates])
        assert match_template(template, text) is not None


def test_templates_double_literal_braces() -> None:
    one = str(uuid.uuid4())
    assert write_template(f"{{{one}}}", [(1, 37, "uuid4")]) == "{{{uuid4}}}"
    assert match_template("{{{uuid4}}}", f"{{{one}}}") == [("uuid4", one)]
    assert match_template("{{{uuid4}}}", one) is None
    with pytest.raises(ValueError, match="unknown value class"):
        match_template("{nonsense}", "x")


PIECES = st.one_of(
    st.text(max_size=12),
    st.text("abeyJWx0123459.:+/=$%_- ,TZ\\", max_size=40),
    st.from_regex(re.compile(values._FORMS, re.ASCII)),
    st.from_regex(re.compile(values._DRAWN, re.ASCII)),
    st.from_regex(re.compile(times.SCAN_PATTERN, re.ASCII), fullmatch=True),
    st.sampled_from((" ", "-", "/", ".", "\n", "Monday, ", "s%3A", "$2b$", "scrypt:")),
)


@given(st.lists(PIECES, max_size=6).map("".join))
def test_what_a_form_begins_with_hides_none(text: str) -> None:
    """The scans with the look ahead that spares prose, and without it."""
    for quick, forms in (
        (values._SPECIFIC, values._BOUNDARY + values._FORMS),
        (values._GENERIC, values._DRAWN),
    ):
        every = re.compile(forms, re.ASCII).finditer(text)
        assert [one.span() for one in quick.finditer(text)] == [one.span() for one in every]
