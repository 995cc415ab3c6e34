"""What passes while it is wrong elsewhere is a mismatch here."""

from __future__ import annotations

import uuid
from typing import Any

from kebpf.recording.model import Strength
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.comparison import compare
from kebpf.replay.events import Mismatch
from kebpf.replay.noise import Noise, NoiseRule

from .builders import REPLAYED_NS, SECOND, make_case

WINDOW = Window(REPLAYED_NS, REPLAYED_NS + SECOND)
OLD, NEW, OTHER = (str(uuid.UUID(int=n, version=4)) for n in (1, 2, 3))


def make_noise(*paths: str) -> Noise:
    return Noise(NoiseRule(path) for path in paths)


def differences(
    expected: Any,
    actual: Any,
    generated: dict[str, str] | None = None,
    bindings: Bindings | None = None,
    noise: tuple[str, ...] = (),
) -> list[Mismatch]:
    case = make_case(generated=generated or {})
    return compare(case, expected, actual, bindings or Bindings(), WINDOW, make_noise(*noise))[0]


def paths(found: list[Mismatch]) -> list[tuple[str, str]]:
    return [(m.path, m.kind) for m in found]


def view(body: Any, *headers: tuple[str, str], status: int = 200) -> dict[str, Any]:
    return {"status": status, "headers": [list(h) for h in headers], "body": body}


class TestBodies:
    def test_equal_views(self) -> None:
        one = view({"a": [1, 2.5, None, True, "x"]}, ("content-type", "application/json"))
        mismatches, strength = compare(make_case(), one, one, Bindings(), WINDOW)
        assert mismatches == []
        assert strength == Strength(exact=7)

    def test_types_differ(self) -> None:
        values = (1, 1.0, "1", True, None, [1], {"1": 1})
        for left in values:
            for right in values:
                found = differences(view({"n": left}), view({"n": right}))
                assert bool(found) is (left is not right), (left, right)

    def test_extra_missing_and_null(self) -> None:
        found = differences(view({"a": 1, "b": None}), view({"a": 1, "c": 2}))
        assert paths(found) == [("/body/b", "missing"), ("/body/c", "extra")]
        assert paths(differences(view({}), view(None))) == [("/body", "changed")]

    def test_order_of_arrays_counts_and_is_named(self) -> None:
        found = differences(view({"ids": [1, 2, 3]}), view({"ids": [3, 1, 2]}))
        assert found == [Mismatch("/body/ids", "order", [1, 2, 3], [3, 1, 2])]
        found = differences(view([{"n": 1}, {"n": 2}]), view([{"n": 2}, {"n": 1}]))
        assert paths(found) == [("/body", "order")]
        assert paths(differences(view([1, 2]), view([1, 3]))) == [("/body/1", "changed")]
        assert paths(differences(view([1, 2]), view([1]))) == [("/body/1", "missing")]
        assert paths(differences(view([1]), view([1, 2]))) == [("/body/1", "extra")]

    def test_a_difference_says_where_the_recorded_value_is(self) -> None:
        """Header lists are read by name, their templates are kept by number."""
        old, new = {"total": 3, "ids": [1]}, {"total": 4, "ids": []}
        found = differences(
            view(old, ("Date", "today"), ("X-Turn", "1")), view(new, ("X-Turn", "2"))
        )
        places = {mismatch.path: mismatch.place for mismatch in found}
        assert places == {
            "/headers/date": "/headers/0/1",
            "/headers/x-turn": "/headers/1/1",
            "/body/total": "/body/total",
            "/body/ids/0": "/body/ids/0",
        }

    def test_keys_are_escaped_as_json_pointers(self) -> None:
        found = differences(view({"a/b~c": 1}), view({"a/b~c": 2}))
        assert paths(found) == [("/body/a~1b~0c", "changed")]

    def test_text_names_the_first_differing_line(self) -> None:
        found = differences(view("a\nb\nc"), view("a\nX\nY"))
        assert found == [Mismatch("/body/line/2", "changed", "b", "X")]
        assert paths(differences(view("a\nb"), view("a"))) == [("/body/line/2", "missing")]
        assert paths(differences(view("a\n"), view("a"))) == [("/body/line/2", "missing")]

    def test_large_and_binary_bodies_are_compared(self) -> None:
        big = bytes(range(256)) * 4096
        changed = big[:-1] + b"\x00"
        (found,) = differences(view(big), view(changed))
        assert found.path == f"/body/offset/{len(big) - 1}"
        assert found.expected == f"{len(big)} bytes; there: ff"
        (found,) = differences(view(big), view(big + b"!"))
        assert found.path == f"/body/offset/{len(big)}"

    def test_status(self) -> None:
        found = differences(view("x", status=200), view("x", status=500))
        assert paths(found) == [("/status", "changed")]


class TestHeaders:
    def test_names_ignore_case_and_order_values_do_not(self) -> None:
        one = view("x", ("Content-Type", "text/plain"), ("X-A", "1"))
        assert differences(one, view("x", ("x-a", "1"), ("content-type", "text/plain"))) == []
        found = differences(one, view("x", ("x-a", "1 "), ("content-type", "TEXT/plain")))
        assert paths(found) == [("/headers/content-type", "changed"), ("/headers/x-a", "changed")]

    def test_every_set_cookie_counts_in_order(self) -> None:
        one = view("x", ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
        swapped = view("x", ("Set-Cookie", "b=2"), ("Set-Cookie", "a=1"))
        assert len(differences(one, swapped)) == 2
        lost = differences(one, view("x", ("Set-Cookie", "a=1")))
        assert paths(lost) == [("/headers/set-cookie/1", "missing")]

    def test_extra_and_missing_headers(self) -> None:
        found = differences(view("x", ("etag", "1")), view("x", ("x-debug", "1")))
        assert paths(found) == [("/headers/etag", "missing"), ("/headers/x-debug", "extra")]

    def test_framing_is_left_to_the_body_and_the_rest_counted(self) -> None:
        one = view("x", ("content-length", "1"), ("connection", "close"))
        mismatches, strength = compare(
            make_case(), one, view("x", ("transfer-encoding", "chunked")), Bindings(), WINDOW
        )
        assert (mismatches, strength.not_compared) == ([], 1)

    def test_content_length_counts_where_there_is_no_body(self) -> None:
        found = differences(view(b"", ("content-length", "5")), view(b"", ("content-length", "6")))
        assert paths(found) == [("/headers/content-length", "changed")]

    def test_date_by_its_template(self) -> None:
        template = {"/headers/0/1": "{time:%a, %d %b %Y %H:%M:%S GMT}"}
        old = view("x", ("Date", "Tue, 14 Nov 2023 22:13:20 GMT"))
        right = view("x", ("Server", "x"), ("Date", "Thu, 09 Oct 2025 08:53:20 GMT"))
        assert paths(differences(old, right, template)) == [("/headers/server", "extra")]
        stale = view("x", ("Date", "Thu, 09 Oct 2025 07:53:20 GMT"))
        assert paths(differences(old, stale, template)) == [("/headers/date", "changed")]
        assert paths(differences(old, right)) != paths(differences(old, right, template))


class TestGenerated:
    def test_the_id_returned_is_not_the_id_inserted(self) -> None:
        bindings = Bindings()
        assert bindings.bind(OLD, NEW, "uuid4")
        old, template = view({"id": OLD}), {"/body/id": "{uuid4}"}
        assert differences(old, view({"id": NEW}), template, bindings) == []
        (found,) = differences(old, view({"id": OTHER}), template, bindings)
        assert (found.path, found.expected, found.actual) == ("/body/id", NEW, OTHER)

    def test_two_ids_that_became_one(self) -> None:
        old = view({"a": OLD, "b": OTHER})
        template = {"/body/a": "{uuid4}", "/body/b": "{uuid4}"}
        assert paths(differences(old, view({"a": NEW, "b": NEW}), template)) == [
            ("/body/b", "changed")
        ]

    def test_one_id_that_became_two(self) -> None:
        old = view({"a": OLD, "b": OLD})
        template = {"/body/a": "{uuid4}", "/body/b": "{uuid4}"}
        found = differences(old, view({"a": NEW, "b": OTHER}), template)
        assert paths(found) == [("/body/b", "changed")]

    def test_a_value_that_echoes_a_later_one_in_another_spelling(self) -> None:
        plain = [text.replace("-", "") for text in (OLD, NEW)]
        old = view({"href": f"/x/{plain[0]}", "id": OLD})
        new = view({"href": f"/x/{plain[1]}", "id": NEW})
        assert differences(old, new, {"/body/id": "{uuid4}"}) == []

    def test_keys_that_are_bound(self) -> None:
        bindings = Bindings()
        bindings.bind(OLD, NEW, "uuid4")
        assert differences(view({OLD: 1}), view({NEW: 1}), None, bindings) == []
        found = differences(view({OLD: 1}), view({OTHER: 1}), None, bindings)
        assert paths(found) == [(f"/body/{NEW}", "missing"), (f"/body/{OTHER}", "extra")]

    def test_literal_parts_and_types_of_templates(self) -> None:
        old, template = view({"k": f"order:{OLD}"}), {"/body/k": "order:{uuid4}"}
        assert differences(old, view({"k": f"order:{NEW}"}), template) == []
        for wrong in (f"user:{NEW}", NEW, None, 5):
            assert paths(differences(old, view({"k": wrong}), template)) == [("/body/k", "changed")]

    def test_numbers(self) -> None:
        old, template = view({"t": 1_700_000_000}), {"/body/t": "{time:epoch_s}"}
        assert differences(old, view({"t": 1_760_000_001}), template) == []
        for wrong in (1_760_000_100, "1760000001", 1_760_000_001.0, 1_700_000_000):
            assert paths(differences(old, view({"t": wrong}), template)) == [("/body/t", "changed")]

    def test_text_with_generated_values_names_the_line(self) -> None:
        old, template = view(f"id {OLD}\nend"), {"/body": "id {uuid4}\nend"}
        assert differences(old, view(f"id {NEW}\nend"), template) == []
        found = differences(old, view(f"id {NEW}\nEND"), template)
        assert found == [Mismatch("/body/line/2", "changed", "end", "END")]


class TestNoise:
    def test_only_what_a_person_named_is_left_out_and_it_is_counted(self) -> None:
        old = view({"a": 1, "items": [{"n": 1, "m": 1}]}, ("x-id", "1"))
        new = view({"a": 1, "items": [{"n": 2, "m": 1}]}, ("x-id", "2"))
        noise = make_noise("/body/items/*/n", "/headers/x-id")
        mismatches, strength = compare(make_case(), old, new, Bindings(), WINDOW, noise)
        assert mismatches == []
        assert strength == Strength(exact=3, not_compared=2)
        assert paths(differences(old, new, noise=("/body/**/n",))) == [("/headers/x-id", "changed")]
