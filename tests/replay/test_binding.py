"""Bindings are a bijection, and replacing values goes there and back."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
import zlib
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings, pair_tokens

from .builders import REPLAYED_NS, SECOND

WINDOW = Window(REPLAYED_NS, REPLAYED_NS + SECOND)
ISO = "time:%Y-%m-%dT%H:%M:%S.%f%:z"
OLD_TIME, NEW_TIME = "2023-11-14T22:13:20.050001+00:00", "2025-10-09T08:53:20.250000+00:00"

uuids = st.uuids(version=4).map(str)
tokens = st.one_of(
    uuids,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text("ABCxyz019-_", min_size=22, max_size=22).filter(lambda t: t.strip("-_") != ""),
)


def test_of_two_times_in_one_second_only_one_was_made_anew() -> None:
    """The other's maker did not run: what was given as recorded is shown as recorded."""
    made, kept = "2023-11-14T22:13:20.050001+00:00", "2023-11-14T22:13:20.700000+00:00"
    bindings, shown = Bindings(), "2023-11-14 22:13:20"
    second = [("seen:time:%Y-%m-%d %H:%M:%S", shown, shown)]
    assert bindings.bind(made, NEW_TIME, ISO)
    bindings.hand_over({"rows": [[made]]})
    assert not bindings.fits(second, WINDOW)
    bindings.hand_over({"rows": [["2023-11-14T22:13:21.7+00:00"], [kept]]})
    for _ in range(2):
        assert bindings.try_bind(second, WINDOW)
    new = [("seen:time:%Y-%m-%d %H:%M:%S", shown, "2025-10-09 08:53:20")]
    assert bindings.try_bind(new, WINDOW)
    assert bindings.try_bind(second, WINDOW)
    assert not bindings.fits([(second[0][0], shown, "2023-11-14 22:13:21")], WINDOW)


class TestBijection:
    def test_one_to_one(self) -> None:
        a, b, c = (str(uuid.UUID(int=n, version=4)) for n in (1, 2, 3))
        bindings = Bindings()
        assert bindings.bind(a, b, "uuid4")
        assert bindings.bind(a, b, "uuid4")
        assert not bindings.bind(a, c, "uuid4")
        assert not bindings.bind(c, b, "uuid4")

    @given(st.lists(st.tuples(uuids, uuids), max_size=20))
    def test_what_is_bound_is_always_a_bijection(self, pairs: list[tuple[str, str]]) -> None:
        bindings, accepted = Bindings(), set()
        for old, new in pairs:
            if bindings.bind(old, new, "uuid4"):
                accepted.add((old, new))
        assert len({old for old, _ in accepted}) == len(accepted)
        assert len({new for _, new in accepted}) == len(accepted)

    def test_all_pairs_or_none(self) -> None:
        a, b, c, d = (str(uuid.UUID(int=n, version=4)) for n in (1, 2, 3, 4))
        bindings = Bindings()
        assert not bindings.try_bind([("uuid4", a, b), ("uuid4", a, c)], None)
        assert not bindings.try_bind([("uuid4", a, b), ("uuid4", c, b)], None)
        assert not bindings.is_bound(a)
        assert bindings.try_bind([("uuid4", a, b), ("uuid4", c, d)], None)

    def test_class_is_checked(self) -> None:
        old = str(uuid.UUID(int=1, version=4))
        assert not Bindings().bind(old, "f" * 32, "uuid4")
        assert not Bindings().bind(old, str(uuid.UUID(int=1, version=5)), "uuid4")


class TestAnyOrder:
    """A case may run before the one that makes the values it holds."""

    def test_a_digest_of_what_was_given_follows_when_that_is_made_anew(self) -> None:
        old, new = "95f431fef4189129d8e3", "3080f1ab655f4d04da60"
        bindings = Bindings()
        assert bindings.try_bind([("hex:20", old, old)], None)
        assert not bindings.fits([("hex:20", new, old)], None)
        assert bindings.try_bind([("hex:20", old, new)], None)
        assert not bindings.fits([("hex:20", old, old)], None)

    def test_a_time_that_was_given_may_yet_be_made(self) -> None:
        old, new = "2026-01-02T03:04:05.678901Z", "2026-05-06T07:08:09.123456Z"
        fresh, seen = "time:%Y-%m-%dT%H:%M:%S.%fZ", "seen:time:%Y-%m-%dT%H:%M:%S.%fZ"
        bindings = Bindings()
        assert bindings.try_bind([(seen, old, old)], None)
        assert bindings.try_bind([(fresh, old, new)], None)
        assert bindings.to_actual(old) == new
        assert not bindings.fits([(seen, old, old)], None)


class TestTimes:
    def test_two_equal_recorded_times_may_be_two_readings(self) -> None:
        bindings = Bindings()
        assert bindings.try_bind([(ISO, OLD_TIME, NEW_TIME)], WINDOW)
        assert bindings.try_bind([(ISO, OLD_TIME, "2025-10-09T08:53:20.25001+00:00")], WINDOW)

    def test_distinct_recorded_times_may_become_one(self) -> None:
        bindings = Bindings()
        assert bindings.try_bind([(ISO, OLD_TIME, NEW_TIME)], WINDOW)
        later = "2023-11-14T22:13:20.060000+00:00"
        assert bindings.try_bind([(ISO, later, NEW_TIME)], WINDOW)

    def test_a_time_made_earlier_must_be_the_one_it_was_bound_to(self) -> None:
        bindings = Bindings()
        assert bindings.try_bind([(ISO, OLD_TIME, NEW_TIME)], WINDOW)
        seen = f"seen:{ISO}"
        assert bindings.try_bind([(seen, OLD_TIME, NEW_TIME)], WINDOW)
        fresh = "2025-10-09T08:53:20.300000+00:00"
        assert not bindings.try_bind([(seen, OLD_TIME, fresh)], WINDOW)

    def test_a_time_made_earlier_in_another_format(self) -> None:
        bindings = Bindings()
        assert bindings.try_bind([(ISO, OLD_TIME, NEW_TIME)], WINDOW)
        seen = "seen:time:%Y-%m-%dT%H:%M:%S.%3fZ"
        assert bindings.try_bind(
            [(seen, "2023-11-14T22:13:20.050Z", "2025-10-09T08:53:20.250Z")], WINDOW
        )
        assert not bindings.try_bind(
            [(seen, "2023-11-14T22:13:20.050Z", "2025-10-09T08:53:20.251Z")], WINDOW
        )

    def test_an_expiry_keeps_its_distance(self) -> None:
        expiry = "time:%Y-%m-%dT%H:%M:%SZ@+3600"
        pair = (expiry, "2023-11-14T23:13:20Z", "2025-10-09T09:53:20Z")
        assert Bindings().try_bind([pair], WINDOW)
        wrong = (expiry, "2023-11-14T23:13:20Z", "2025-10-09T10:53:20Z")
        assert not Bindings().try_bind([wrong], WINDOW)

    def test_an_echo_or_a_reading_of_the_clock(self) -> None:
        either = "either:time:%a, %d %b %Y %H:%M:%S GMT"
        old = "Tue, 14 Nov 2023 22:13:20 GMT"
        for new, is_right in (
            (old, True),
            ("Thu, 09 Oct 2025 08:53:20 GMT", True),
            ("Thu, 09 Oct 2025 07:53:20 GMT", False),
        ):
            assert Bindings().try_bind([(either, old, new)], WINDOW) is is_right


class TestReplacing:
    @given(st.lists(st.tuples(tokens, tokens), max_size=8), st.data())
    def test_there_and_back(self, pairs: list[tuple[str, str]], data: st.DataObject) -> None:
        olds, news = [p[0] for p in pairs], [p[1] for p in pairs]
        if len({t.lower() for t in olds + news}) < 2 * len(pairs):
            return
        bindings = Bindings()
        for old, new in pairs:
            bindings.bind(old, new, "uuid4" if old.count("-") == 4 else f"token:{len(old)}")
        bound = [old for old in olds if bindings.is_bound(old)]
        filler = st.text(' {}[]",:;äß\n', max_size=5)
        parts = st.lists(st.one_of(filler, st.sampled_from(bound or ["x"])), max_size=8)
        tree = {"a": ["|".join(data.draw(parts))], "b": 5, "c": None}
        assert bindings.to_recorded(bindings.to_actual(tree)) == tree

    def test_strings_bytes_keys_numbers_and_nested_trees(self) -> None:
        old, new = str(uuid.UUID(int=1, version=4)), str(uuid.UUID(int=2, version=4))
        bindings = Bindings()
        bindings.bind(old, new, "uuid4")
        bindings.bind("1700000000123", "1760000000456", "token:13")
        tree = {old: [f"order:{old}".encode(), b"\xff\x00" + old.encode(), 1_700_000_000_123, True]}
        assert bindings.to_actual(tree) == {
            new: [f"order:{new}".encode(), b"\xff\x00" + new.encode(), 1_760_000_000_456, True]
        }

    def test_other_spellings(self) -> None:
        bindings = Bindings()
        old, new = "ab+cd/ef1234567890ABCDE==", "xy/zw+uv0987654321VWXYZ=="
        bindings.bind(old, new, "base64:25")
        for spell in (str, quote, lambda t: quote(t, safe=""), lambda t: json.dumps(t)):
            assert bindings.to_actual(f"x={spell(old)}&") == f"x={spell(new)}&"
        assert bindings.to_actual(old.replace("/", "\\/")) == new.replace("/", "\\/")

    def test_no_piece_of_a_longer_word_is_replaced(self) -> None:
        bindings = Bindings()
        bindings.bind("1700000000", "1760000000", "token:10")
        assert bindings.to_actual("17000000001 x1700000000 1700000000") == (
            "17000000001 x1700000000 1760000000"
        )

    def test_work_does_not_grow_with_the_number_of_bindings(self) -> None:
        bindings = Bindings()
        for number in range(2000):
            bindings.bind(f"token{number:020}", f"other{number:020}", "token:25")
        substitution = bindings._forward
        lookups = substitution._spans["token000"]
        assert lookups == [(0, 25)]


class TestPairs:
    def test_types_must_agree(self) -> None:
        assert pair_tokens("{time:epoch_s}", 1_700_000_000, "1700000001") is None
        assert pair_tokens("{time:epoch_s}", 1_700_000_000, 1_700_000_001) == [
            ("time:epoch_s", "1700000000", "1700000001")
        ]
        assert pair_tokens("{time:epoch_s}", True, True) is None

    def test_literal_braces(self) -> None:
        found = pair_tokens('{{"id": "{hex:16}"}}', '{"id": "00ff00ff00ff00ff"}', '{"id": "x"}')
        assert found is None

    def test_bytes_that_are_no_text_are_read_byte_by_byte(self) -> None:
        old, new = (b"\x80\x95$" + str(uuid.UUID(int=n, version=4)).encode() for n in (1, 2))
        template = "\x80\x95${uuid4}"
        assert pair_tokens(template, old, new) == [("uuid4", old[3:].decode(), new[3:].decode())]
        assert pair_tokens(template, old, b"\x81" + new[1:]) is None


class TestClock:
    """Times that one program made for one message."""

    STAMP = "time:%Y-%m-%dT%H:%M:%S.%f%:z"

    @staticmethod
    def at(base: str, micros: int) -> str:
        return f"{base}.{micros:06}+00:00"

    def test_the_order_of_two_readings_is_kept(self) -> None:
        old = [(self.STAMP, self.at("2023-11-14T22:13:20", micros)) for micros in (100, 200)]
        for first, second, is_right in ((100, 900, True), (100, 100, True), (900, 100, False)):
            new = [self.at("2025-10-09T08:53:20", first), self.at("2025-10-09T08:53:20", second)]
            pairs = [(name, was, now) for (name, was), now in zip(old, new, strict=True)]
            assert Bindings().try_bind(pairs, WINDOW) is is_right

    def test_an_issue_and_an_expiry_in_whole_seconds(self) -> None:
        window = Window(REPLAYED_NS + SECOND // 10, REPLAYED_NS + SECOND // 9)
        second = REPLAYED_NS // SECOND
        for ttl, is_right in ((3600, True), (3601, False), (3599, False), (3660, False)):
            pairs = [
                ("time:epoch_s", "1700000000", str(second)),
                ("time:epoch_s@+3600", "1700003600", str(second + ttl)),
            ]
            assert Bindings().try_bind(pairs, window) is is_right, ttl

    def test_the_clock_may_tick_between_two_readings(self) -> None:
        window = Window(REPLAYED_NS + SECOND - 1000, REPLAYED_NS + SECOND + 1000)
        second = REPLAYED_NS // SECOND
        pairs = [
            ("time:epoch_s", "1700000000", str(second)),
            ("time:epoch_s@+3600", "1700003600", str(second + 3601)),
        ]
        assert Bindings().try_bind(pairs, window)


class TestFresh:
    """What stands for a new value is one of the program's making, and one of its own."""

    ONE, TWO, GIVEN = (str(uuid.UUID(int=n, version=4)) for n in (11, 12, 13))

    def test_a_value_that_came_in_is_not_new(self) -> None:
        bindings = Bindings()
        assert bindings.hand_over({"rows": [[self.GIVEN, "tea"]]})
        assert not bindings.try_bind([("uuid4", self.ONE, self.GIVEN)], WINDOW)
        assert bindings.try_bind([("uuid4", self.ONE, self.TWO)], WINDOW)

    def test_a_constant_that_came_back_is_itself(self) -> None:
        bindings = Bindings()
        bindings.hand_over([self.ONE])
        assert bindings.try_bind([("uuid4", self.ONE, self.ONE)], WINDOW)

    def test_an_id_that_was_given_is_the_given_one(self) -> None:
        bindings = Bindings()
        assert bindings.try_bind([("seen:uuid4", self.ONE, self.ONE)], WINDOW)
        assert not bindings.try_bind([("seen:uuid4", self.ONE, self.TWO)], WINDOW)
        assert bindings.try_bind([("uuid4", self.ONE, self.TWO)], WINDOW)  # made after its use
        assert bindings.try_bind([("seen:uuid4", self.ONE, self.TWO)], WINDOW)

    def test_a_time_that_was_given_is_the_given_one(self) -> None:
        seen = f"seen:{ISO}"
        assert Bindings().try_bind([(seen, OLD_TIME, OLD_TIME)], WINDOW)
        assert not Bindings().try_bind([(seen, OLD_TIME, NEW_TIME)], WINDOW)

    def test_milliseconds_that_another_printed_with_zeros(self) -> None:
        bindings = Bindings()
        made = "time:%Y-%m-%dT%H:%M:%S.%3fZ"
        old, new = "2023-11-14T22:13:20.872Z", "2025-10-09T08:53:20.250Z"
        assert bindings.try_bind([(made, old, new)], WINDOW)
        assert bindings.to_actual("2023-11-14 22:13:20.872+00") == "2025-10-09 08:53:20.25+00"
        printed = "seen:time:%Y-%m-%d %H:%M:%S"
        assert bindings.try_bind([(printed, "2023-11-14 22:13:20", "2025-10-09 08:53:20")], WINDOW)
        assert not bindings.try_bind(
            [(printed, "2023-11-14 22:13:20", "2025-10-09 08:53:21")], WINDOW
        )


class TestWithin:
    """A bound value is found within what other media made of it."""

    OLD, NEW = (str(uuid.UUID(int=n, version=4)) for n in (21, 22))

    def bound(self) -> Bindings:
        bindings = Bindings()
        assert bindings.bind(self.OLD, self.NEW, "uuid4")
        return bindings

    def test_base64_cursors_and_credentials(self) -> None:
        bindings = self.bound()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for text in (f'{{"after": "{self.OLD}", "n": 5}}', f"user:{self.OLD}", self.OLD):
                for strip in ("", "="):
                    old = encode(text.encode()).decode().rstrip(strip or " ")
                    new = encode(text.replace(self.OLD, self.NEW).encode()).decode()
                    new = new.rstrip(strip or " ")
                    assert bindings.to_actual(f"Basic {old}") == f"Basic {new}"
                    assert bindings.to_recorded(f"/list?cursor={new}") == f"/list?cursor={old}"

    def test_what_is_signed_is_left_as_it_is(self) -> None:
        payload = base64.urlsafe_b64encode(f'{{"sub": "{self.OLD}"}}'.encode()).decode()
        text = f"eyJhbGciOiJIUzI1NiJ9.{payload.rstrip('=')}.c2lnbmF0dXJlLW9mLTMyLWJ5dGVzLWxvbmc"
        assert self.bound().to_actual(text) == text

    def test_compressed_cache_entries(self) -> None:
        bindings = self.bound()
        old, new = (json.dumps({"id": one, "n": 1}).encode() for one in (self.OLD, self.NEW))
        assert zlib.decompress(bindings.to_actual(zlib.compress(old))) == new
        assert gzip.decompress(bindings.to_actual(gzip.compress(old))) == new
        other = zlib.compress(b'{"n": 1, "text": "nothing to be found in here"}', 9)
        assert bindings.to_actual(other) == other


class TestSigned:
    def test_a_stamp_goes_with_its_signature(self) -> None:
        """Two cookies signed in one second were signed in two when replayed."""
        bindings = Bindings()
        old = ("awOJFQ", "TdIKma23290Sf89nX2-uW64MDzo"), ("awOJFQ", "OHuvKPeEM-TsehphM0sAB0dYLys")
        new = ("awOJGw", "vNthjc261bwLi_1vyOGIvcXVYGw"), ("awOJHA", "MU0ogpdx6e1usoE9tKOmZ0r0AhQ")
        for before, after in zip(old, new, strict=True):
            classes = ("time:epoch_b64", "base64url:27")
            pairs = list(zip(classes, before, after, strict=True))
            assert bindings.try_bind(pairs, None)
        for before, after in zip(old, new, strict=True):
            cookie = f"remember=eyJwIjo2fQ.{'.'.join(before)}"
            assert bindings.to_actual(cookie) == f"remember=eyJwIjo2fQ.{'.'.join(after)}"
            assert bindings.to_recorded(bindings.to_actual(cookie)) == cookie


class TestSeconds:
    def test_a_second_with_many_instants(self) -> None:
        """Recorded under load: more than is kept of one second, in two seconds when replayed."""
        bindings = Bindings()
        for number in range(200):
            old = f"2023-11-14T22:13:20.{number:06}+00:00"
            new = f"2025-10-09T08:53:2{number // 150}.{number:06}+00:00"
            assert bindings.bind(old, new, ISO)
        second = "seen:time:%Y-%m-%d %H:%M:%S"
        for actual in ("2025-10-09 08:53:20", "2025-10-09 08:53:21"):
            assert bindings.fits([(second, "2023-11-14 22:13:20", actual)], None)
        assert not bindings.fits([(second, "2023-11-14 22:13:20", "2025-10-09 08:53:22")], None)


def test_people_are_told_recorded_times_in_any_format() -> None:
    bindings = Bindings()
    pair = ("time:%Y-%m-%dT%H:%M:%S.%fZ", "2026-11-23T01:00:00.5Z", "2026-11-24T02:00:00.75Z")
    assert bindings.try_bind([pair], None)
    tree = {"at": "2026-11-24 02:00:00.75+00", "id": 7}
    assert bindings.tell(tree) == {"at": "2026-11-23 01:00:00.5+00", "id": 7}
    assert bindings.to_recorded(tree) == tree
    assert bindings.shift_ns == 25 * 3600 * 10**9 + 250_000_000
