"""What is told about one case."""

from __future__ import annotations

from html.parser import HTMLParser

from kebpf.replay.events import Mismatch, Verdict
from kebpf.report.html.casebody import MOST_CURL, show_body, show_briefly, show_case
from tests.report.builders import make_case, make_extra_call, make_failed
from tests.report.html.builders import make_rich
from tests.report.html.test_markup import Reading


def text_of(markup: str) -> str:
    return " ".join(Reading(markup.replace("><", "> <")).text.split())


def test_a_failed_case_tells_cause_then_symptom_then_how_to_repeat_it() -> None:
    text = text_of(show_case(make_rich()))
    parts = [
        "✗ post-orders-77aa POST /orders failed, 12 ms",
        "Outgoing calls that are not as recorded extra call SELECT id, total",
        "to 10.0.0.5:5432 (postgres); never recorded: no call like it",
        "nearest recorded call: SELECT id, total FROM orders WHERE customer = $1",
        "And so the response",
        "/status 200 500",
        "Whole response, recorded and now",
        "Times of the response and 3 calls",
        "10 values compared exactly, 2 by class, 1 not compared",
        "/headers/date {time:rfc1123}",
        "Not compared: /headers/connection: it only frames the message.",
        'Request method: "POST" path: "/orders"',
        "curl -X POST",
        "kebpf test shop-1 --case post-orders-77aa",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_values_of_other_types_look_different() -> None:
    text = text_of(show_body(make_failed(mismatches=[Mismatch("/a", "changed", 1, "1")])))
    assert '/a 1 "1"' in text


def test_one_sided_differences_say_which_side() -> None:
    mismatches = [Mismatch("/a", "missing", 1), Mismatch("/b", "extra", actual=[])]
    text = text_of(show_body(make_failed(mismatches=mismatches)))
    assert "/a 1 missing" in text
    assert "/b extra []" in text


def test_an_error_is_told_whole() -> None:
    case = make_failed(verdict=Verdict.ERRORED, error="no answer in 10 s\nmore", mismatches=[])
    assert "no answer in 10 s more" in text_of(show_body(case))


def test_a_passed_case_needs_few_words() -> None:
    text = text_of(show_body(make_case(exact=3, by_class=0)))
    assert text == (
        "3 values compared exactly, 0 by class, 0 not compared "
        "All else must be equal in type and value."
    )


def test_a_long_curl_line_is_left_out_and_told() -> None:
    case = make_failed(curl="curl " + "x" * MOST_CURL)
    text = text_of(show_body(case))
    assert "x" * 100 not in text
    assert "16,389 characters long: too long for this file" in text


def test_many_differences_and_calls_are_cut_and_counted() -> None:
    mismatches = [Mismatch(f"/{n}", "changed", 1, 2) for n in range(70)]
    calls = [make_extra_call(call=f"SELECT {n}") for n in range(40)]
    text = text_of(show_body(make_failed(mismatches=mismatches, calls=calls)))
    assert "and 10 more differences" in text
    assert "and 10 more calls" in text


def test_without_room_cause_and_command_stay() -> None:
    text = text_of(show_briefly(make_rich(), "no room"))
    assert text.startswith("extra call: SELECT")
    assert text.endswith("-- python -m shop")


class Balance(HTMLParser):
    """Counts what is open."""

    depth = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.depth += tag != "input"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1


def test_all_that_opens_is_closed() -> None:
    parser = Balance()
    parser.feed(show_case(make_rich()))
    assert parser.depth == 0
