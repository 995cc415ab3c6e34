"""A value that came in is exact; one the program made is a placeholder wherever it recurs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import pickle
import struct
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgpack
import pytest

from kebpf.recording.provenance import Provenance
from kebpf.recording.templates import matches_class
from kebpf.recording.times import Window
from kebpf.recording.values import list_texts

NOW = datetime(2026, 11, 22, 16, 37, 5, 123_456, UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000 + 123_456_000
WINDOW = Window(NOW_NS - 20_000_000, NOW_NS + 20_000_000)
LATER = Window(NOW_NS + 67_300_000_000, NOW_NS + 67_350_000_000)
ISO = "time:%Y-%m-%dT%H:%M:%S.%f%:z"
ONE, TWO = "7d0c9e5a-3b1f-4c62-9a8e-51f2d6b4037c", "c2a4f6e8-91d3-4b57-8e0f-6a1b3c5d7e92"


def call(*args: Any, answer: Any = None) -> tuple[dict[str, Any], Any]:
    return {"operation": "INSERT", "args": list(args)}, {"rows": answer or []}


def response_of(request: Any, *calls: Any, response: Any) -> dict[str, str]:
    return Provenance().settle(request, calls, response, WINDOW).response


class TestDerived:
    def test_what_came_in_with_the_request_is_exact(self) -> None:
        for form in (ONE, f"id={ONE};", ONE.upper(), ONE.replace("-", ""), ONE.encode()):
            assert response_of({"q": form}, response={"id": ONE}) == {}, form

    def test_encoded_inputs(self) -> None:
        token = "+/Wif+KtMUe55Szw4MraXGCwoNin4L39"
        basic = "Basic " + base64.b64encode(f"user:{ONE}".encode()).decode()
        escaped = '{"id": "' + token.replace("/", "\\/") + '"}'
        for form, value in ((quote(token, safe=""), token), (basic, ONE), (escaped, token)):
            assert response_of({"q": form}, response={"id": value}) == {}, form

    def test_an_answer_of_a_dependency_is_an_input_of_what_follows(self) -> None:
        result = Provenance().settle(
            {}, [call(answer=[[ONE]]), call(ONE)], {"id": ONE, "t": 1}, WINDOW
        )
        assert (result.calls, result.response) == ([{}, {}], {})
        assert (result.strength.exact, result.strength.by_class) == (5, 0)

    def test_a_millisecond_of_a_finer_time_that_another_case_was_told_is_chance(self) -> None:
        milliseconds = NOW_NS // 1_000_000
        for printed, template in (
            (NOW.isoformat(), {"/at": "{time:epoch_ms}"}),
            (NOW.isoformat(timespec="milliseconds"), {}),
        ):
            provenance = Provenance()
            provenance.settle({}, [call(answer=[[printed]])], {}, WINDOW)
            assert provenance.settle({}, [], {"at": milliseconds}, WINDOW).response == template

    def test_inputs_of_earlier_cases(self) -> None:
        provenance = Provenance()
        provenance.settle({"q": ONE}, [], {}, WINDOW)
        assert provenance.settle({}, [], {"id": ONE}, LATER).response == {}

    def test_a_time_in_a_pickle_came_in(self) -> None:
        made = NOW.isoformat()
        cached = pickle.dumps({"made": made})
        with pytest.raises(UnicodeDecodeError):
            cached.decode()
        assert response_of({}, call("GET note:7", answer=cached), response={"at": made}) == {}


class TestGenerated:
    def test_every_occurrence_is_a_placeholder(self) -> None:
        provenance = Provenance()
        first = provenance.settle(
            {"name": "tea"},
            [call(ONE, "tea"), call(f"order:{ONE}", answer=[[ONE]])],
            {"body": {"id": ONE, "name": "tea"}, "headers": [["location", f"/orders/{ONE}"]]},
            WINDOW,
        )
        assert first.calls == [{"/args/0": "{uuid4}"}, {"/args/0": "order:{uuid4}"}]
        assert first.response == {"/body/id": "{uuid4}", "/headers/0/1": "/orders/{uuid4}"}
        assert (first.strength.exact, first.strength.by_class) == (5, 4)
        later = provenance.settle({"id": ONE}, [call(ONE, answer=[[ONE]])], {"id": ONE}, LATER)
        assert (later.calls, later.response) == ([{}], {})
        assert (later.strength.exact, later.strength.by_class) == (3, 0)

    def test_an_operation_may_hold_one(self) -> None:
        identity = {"operation": f"PUT /orders/{ONE}"}
        result = Provenance().settle({}, [(identity, {})], {}, WINDOW)
        assert result.calls == [{"/operation": "PUT /orders/{uuid4}"}]

    def test_the_same_id_without_dashes(self) -> None:
        result = Provenance().settle({}, [call(ONE)], {"id": ONE.replace("-", "")}, WINDOW)
        assert result.response == {"/id": "{hex:32}"}

    def test_a_time_made_behind_the_response(self) -> None:
        late = datetime.fromtimestamp(NOW_NS / 1e9 + 0.4, UTC).isoformat()
        made = Window(NOW_NS + 400_000_000, NOW_NS + 401_000_000)
        result = Provenance().settle({}, [call(late)], {"t": late}, WINDOW, [made])
        assert result.calls == [{"/args/0": f"{{{ISO}}}"}]
        assert Provenance().settle({}, [call(late)], {"t": late}, WINDOW).calls == [{}]

    @pytest.mark.parametrize("told", [0.3, "0.3", b"0.3"])
    def test_a_time_as_far_off_as_the_request_says(self, told: float | str | bytes) -> None:
        due = datetime.fromtimestamp(NOW_NS / 1e9 + 0.3, UTC).isoformat()
        result = Provenance().settle({"delay": told}, [call(due)], {"due": due}, WINDOW)
        assert result.calls == [{"/args/0": f"{{{ISO}@+0.3}}"}]
        assert result.response == {"/due": f"{{seen:{ISO}}}"}
        assert Provenance().settle({"delay": 0.4}, [call(due)], {}, WINDOW).calls == [{}]
        assert matches_class(due, f"{ISO}@+0.3", WINDOW)
        assert not matches_class(due, ISO, WINDOW)

    def test_literal_braces_are_doubled(self) -> None:
        assert response_of({}, response=f"{{{ONE}}}") == {"": "{{{uuid4}}}"}

    def test_a_call_outside_any_case(self) -> None:
        provenance = Provenance()
        identity, answer = call(ONE, "x")
        assert provenance.settle_call(identity, answer, WINDOW) == {"/args/0": "{uuid4}"}
        assert provenance.settle_call(*call(answer=[[TWO]]), WINDOW) == {}
        assert provenance.settle({}, [], {"id": TWO}, WINDOW).response == {}

    def test_constants_stay_exact(self) -> None:
        body = {"status": "ok", "n": 5, "version": "1.2.3", "since": "2020-01-01T00:00:00Z"}
        assert response_of({}, response=body) == {}


class TestTimes:
    def test_fresh_times(self) -> None:
        body = {"at": NOW.isoformat(), "s": NOW_NS // 10**9, "ms": NOW_NS // 10**6}
        assert response_of({}, response=body) == {
            "/at": f"{{{ISO}}}",
            "/s": "{time:epoch_s}",
            "/ms": "{time:epoch_ms}",
        }

    def test_a_time_that_came_in_in_another_format_is_derived(self) -> None:
        rows = call(answer=[["2026-11-22 16:37:05.123456+00"]])
        assert response_of({}, rows, response={"at": NOW.isoformat()}) == {}
        short = NOW.isoformat(timespec="milliseconds")
        assert response_of({}, rows, response={"at": short}) == {}

    def test_the_second_of_an_answer_may_be_an_echo_or_a_reading(self) -> None:
        date = NOW.strftime("%a, %d %b %Y %H:%M:%S GMT")
        rows = call(answer=[[date]])
        name = "either:time:%a, %d %b %Y %H:%M:%S GMT"
        assert response_of({}, rows, response={"date": date}) == {"/date": f"{{{name}}}"}

    def test_a_reading_that_ends_in_zeros_is_no_other_of_its_millisecond(self) -> None:
        """Floats, of which one in a hundred has five digits behind the point and not seven."""
        second = NOW_NS // 10**9
        calls = [
            call(second + 0.1231234, answer=[["2026-11-22 16:37:05.123190+00"]]),
            call(float(f"{second}.12326")),
        ]
        made = Provenance().settle({}, calls, {}, WINDOW)
        assert made.calls == [{"/args/0": "{time:epoch_f}"}] * 2

    def test_an_answer_that_may_have_come_in_perhaps_explains_a_shorter_time(self) -> None:
        """Under load some answer to another request holds a time of nearly every millisecond."""
        answer, printed = ["2026-11-22T16:37:05.123456Z"], NOW_NS // 10**6
        made = Provenance().settle({}, [(None, answer)], {"at": printed}, WINDOW)
        assert (made.calls, made.response) == ([{}], {"/at": "{either:time:epoch_ms}"})
        exact = {"at": "2026-11-22T16:37:05.123456Z"}
        assert Provenance().settle({}, [(None, answer)], exact, WINDOW).response == {}
        certain = Provenance().settle({}, [call(answer=answer)], {"at": printed}, WINDOW)
        assert certain.response == {}

    def test_a_time_made_by_an_earlier_case_counts_by_its_binding(self) -> None:
        provenance = Provenance()
        provenance.settle({}, [call(NOW.isoformat(), NOW_NS // 10**6)], {}, WINDOW)
        answer = call(answer=[["2026-11-22 16:37:05.123456+00"]])
        body = {"at": NOW.isoformat(), "ms": NOW_NS // 10**6}
        later = provenance.settle({}, [answer], body, LATER)
        assert later.response == {"/at": f"{{seen:{ISO}}}", "/ms": "{seen:time:epoch_ms}"}

    def test_a_version_7_uuid_of_an_earlier_case(self) -> None:
        text = f"{NOW_NS // 10**6:012x}"
        made = f"{text[:8]}-{text[8:]}-7abc-8def-0123456789ab"
        provenance = Provenance()
        assert provenance.settle({}, [], {"id": made}, WINDOW).response == {"/id": "{uuid7}"}
        assert provenance.settle({"id": made}, [], {"id": made}, LATER).response == {}
        assert provenance.settle({}, [], {"id": made}, LATER).response == {}
        text = f"{made} {ONE}"
        assert provenance.settle({}, [], text, LATER).response == {"": "{seen:uuid7} {uuid4}"}


class TestBinary:
    """What came in within bytes that are no text."""

    WHEN = NOW.replace(tzinfo=None)

    @pytest.mark.parametrize(
        ("data", "value"),
        [
            pytest.param(pickle.dumps({"id": ONE, "n": 1}, 2), ONE, id="a pickle of protocol 2"),
            pytest.param(pickle.dumps({"id": ONE}, 5), ONE, id="a pickle of protocol 5"),
            pytest.param(pickle.dumps(uuid.UUID(ONE)), ONE, id="a pickled UUID"),
            pytest.param(pickle.dumps(NOW), NOW.isoformat(), id="a pickled datetime"),
            pytest.param(pickle.dumps(NOW), f"{WHEN.isoformat()}Z", id="the same in UTC"),
            pytest.param(pickle.dumps(NOW.timestamp()), repr(NOW.timestamp()), id="a float"),
            pytest.param(msgpack.packb({"id": ONE, "n": 50}), ONE, id="msgpack"),
            pytest.param(msgpack.packb([uuid.UUID(ONE).bytes]), ONE, id="sixteen bytes"),
            pytest.param(
                msgpack.packb([NOW], datetime=True), NOW.isoformat(), id="a msgpack timestamp"
            ),
            pytest.param(struct.pack("<Q", NOW_NS // 10**6) + b"\xff", NOW_NS // 10**6, id="int64"),
            pytest.param(b"\x0a\x24" + ONE.encode() + b"\x10\xff\x01", ONE, id="protobuf"),
            pytest.param(gzip.compress(ONE.encode()), ONE, id="gzip"),
            pytest.param(zlib.compress(pickle.dumps([ONE])), ONE, id="zlib of a pickle"),
            pytest.param(
                json.dumps({"blob": base64.b64encode(pickle.dumps([ONE])).decode()}),
                ONE,
                id="a pickle in base64 in JSON",
            ),
            pytest.param(
                base64.b64encode(
                    json.dumps({"c": base64.b64encode(ONE.encode()).decode()}).encode()
                ),
                ONE,
                id="base64 in JSON in base64",
            ),
        ],
    )
    def test_it_is_derived(self, data: Any, value: Any) -> None:
        assert response_of({}, response={"v": value}) != {}
        assert response_of({}, call(answer=data), response={"v": value}) == {}

    def test_an_unrelated_value_is_still_new(self) -> None:
        blob = call(answer=pickle.dumps({"id": TWO, "at": NOW}))
        assert response_of({}, blob, response={"id": ONE}) == {"/id": "{uuid4}"}

    def test_new_values_in_what_goes_out(self) -> None:
        blob = pickle.dumps({"id": ONE, "n": 1})
        packed = zlib.compress(json.dumps({"id": ONE, "n": 1}).encode())
        result = Provenance().settle({}, [call(blob), call(packed)], {}, WINDOW)
        assert result.calls[0]["/args/0"].count("{uuid4}") == 1
        assert result.calls[1] == {"/args/0": "{zlib /id=<uuid4>}"}


class TestBetweenCases:
    def test_what_was_given_is_exact(self) -> None:
        provenance = Provenance()
        provenance.settle({}, [call(ONE)], {"id": ONE}, WINDOW)
        later = provenance.settle({"id": ONE}, [call(ONE)], {"id": ONE, "new": TWO}, LATER)
        assert (later.calls, later.response) == ([{}], {"/new": "{uuid4}"})

    def test_a_text_with_a_given_and_a_new_id(self) -> None:
        provenance = Provenance()
        provenance.settle({}, [call(ONE)], {"id": ONE}, WINDOW)
        later = provenance.settle({"id": ONE}, [call(f"{ONE}/{TWO}")], {}, LATER)
        assert later.calls == [{"/args/0": "{seen:uuid4}/{uuid4}"}]

    def test_a_time_that_was_sent_before_is_that_time(self) -> None:
        stamp = NOW.isoformat()
        first = Window(WINDOW.start_ns, WINDOW.start_ns + 1_000_000)
        result = Provenance().settle({}, [call(stamp)], {"at": stamp}, WINDOW, [first])
        assert result.calls == [{"/args/0": f"{{{ISO}}}"}]
        assert result.response == {"/at": f"{{seen:{ISO}}}"}

    def test_two_calls_under_way_at_once_may_each_have_read_the_clock(self) -> None:
        stamp = NOW.isoformat()
        result = Provenance().settle({}, [call(stamp), call(stamp)], {}, WINDOW)
        assert result.calls == [{"/args/0": f"{{{ISO}}}"}] * 2

    def test_two_cases_of_one_second_have_one_expiry_each(self) -> None:
        provenance = Provenance()
        for window in (WINDOW, Window(WINDOW.start_ns + 5_000_000, WINDOW.end_ns + 5_000_000)):
            made = provenance.settle({}, [], {"expires": NOW_NS // 10**9 + 3600}, window)
            assert made.response == {"/expires": "{time:epoch_s@+3600}"}

    def test_whole_seconds_of_a_finer_time(self) -> None:
        provenance = Provenance()
        provenance.settle({}, [call(NOW.isoformat())], {}, WINDOW)
        row = call(answer=[["2026-11-22 16:37:05.123456+00"]])
        much_later = Window(LATER.start_ns + 7_000_000_000, LATER.end_ns + 7_000_000_000)
        shown = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
        result = provenance.settle({}, [row], {"at": shown}, much_later)
        assert result.response == {"/at": "{seen:time:%Y-%m-%dT%H:%M:%SZ}"}
        assert Provenance().settle({}, [row], {"at": shown}, much_later).response == {}

    def test_milliseconds_that_a_database_prints_with_zeros(self) -> None:
        provenance = Provenance()
        provenance.settle({}, [call("2026-11-22T16:37:05.123Z")], {}, WINDOW)
        row = call(answer=[["2026-11-22 16:37:05.123+00"]])
        result = provenance.settle({}, [row], {"at": "2026-11-22T16:37:05.123000+00:00"}, LATER)
        assert result.response == {"/at": f"{{seen:{ISO}}}"}


class TestDigests:
    def test_a_digest_of_what_came_in_is_derived(self) -> None:
        """A key is looked up by its SHA-256, which was made when the key was."""
        key = "lk_49cLM06Dz_JWSYpp7mAgoFTpBhqZfhCH"
        digest = hashlib.sha256(key.encode()).hexdigest()
        provenance = Provenance()
        made = provenance.settle({}, [call(digest)], {"key": key}, WINDOW)
        assert made.calls == [{"/args/0": "{hex:64}"}]
        used = provenance.settle({"authorization": f"Bearer {key}"}, [call(digest)], {}, LATER)
        assert used.calls == [{}]

    def test_the_digest_of_nothing_is_a_constant(self) -> None:
        digest = hashlib.sha256().hexdigest()
        assert Provenance().settle({}, [call(digest)], {}, WINDOW).calls == [{}]

    def test_another_is_generated(self) -> None:
        digest = hashlib.sha256(b"something else entirely").hexdigest()
        settled = Provenance().settle({"q": "Bearer 1234567890abcdefg"}, [call(digest)], {}, WINDOW)
        assert settled.calls == [{"/args/0": "{hex:64}"}]


class TestSlugs:
    def test_where_a_place_is_known_short_values_are_generated(self) -> None:
        values = ["fcmqn46keg", "zzg2yc7taq", "6q8x9vmnkd", "jewavsbxnt", "qy2ps42v8e"]
        provenance = Provenance()
        for number, value in enumerate(values):
            provenance.slugs.learn("INSERT", list_texts(call(value)[0], 8, 99), NOW_NS + number)
        made = provenance.settle({}, [call(values[0])], {"to": f"/{values[0]}"}, WINDOW)
        assert made.calls == [{"/args/0": "{lower:10}"}]
        assert made.response == {"/to": "/{lower:10}"}
        given = provenance.settle({"path": f"/{values[0]}"}, [call(values[0])], {}, LATER)
        assert given.calls == [{}]


def test_expiries_of_one_millisecond_are_each_their_own() -> None:
    """One of which happens to end in three zeros."""
    provenance = Provenance()
    form = f"{ISO}@+3600"
    for micros in (123_456, 123_000):
        expiry = (NOW.replace(microsecond=micros) + timedelta(hours=1)).isoformat()
        result = provenance.settle({}, [], {"expires": expiry}, WINDOW)
        assert result.response == {"/expires": f"{{{form}}}"}, expiry
