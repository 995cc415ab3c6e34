"""The report for people, as whole text."""

from __future__ import annotations

import io
from collections.abc import Sequence

from kebpf.replay.events import (
    ApplicationReady,
    Ledger,
    Mismatch,
    RunEvent,
    RunFailed,
    RunStarted,
    Verdict,
)
from kebpf.report.terminal import TerminalReporter
from tests.report.builders import make_case, make_extra_call, make_failed, make_finished

STARTED = RunStarted(["shop-1"], 2, ["python", "-m", "shop", "two words"])
READY = ApplicationReady("shop-1", 4711, [8000], 0.83)


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(*events: RunEvent, out: io.StringIO | None = None, verbose: bool = False) -> str:
    out = out or io.StringIO()
    reporter = TerminalReporter(out, verbose=verbose)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue()


def widest(text: str, besides: Sequence[str] = ("request: ", "repeat: ")) -> int:
    lines = [line for line in text.splitlines() if not line.strip().startswith(tuple(besides))]
    return max(len(line) for line in lines)


def test_a_run_that_passes() -> None:
    finished = make_finished(passed=2, unused_mocks=1, ledger=Ledger(74, ["mock-12"]))
    text = report(STARTED, READY, make_case(), make_case("get-health-3c"), finished)
    assert (
        text
        == """\
2 cases from shop-1
starting python -m shop 'two words'
shop-1: pid 4711 listens on 8000 after 0.8 s
✓ get-orders-1a2b  GET /orders  12 ms
✓ get-health-3c  GET /orders  12 ms

1 mock not used
  mock-12
2 passed, 0 failed in 3.1 s
20 values compared exactly, 4 by class, 0 not compared · 74 of 75 mocks used
"""
    )


def test_another_order_is_told_before_anything_runs() -> None:
    shuffled = RunStarted(["shop-1"], 2, ["serve"], shuffle=17)
    assert report(shuffled, READY).splitlines()[:3] == [
        "2 cases from shop-1",
        "shuffled: --shuffle 17 is this order again",
        "starting serve",
    ]


def test_cases_alone_have_one_line_each() -> None:
    alone = RunStarted(["shop-1"], 2, ["serve"], is_alone=True)
    shown = report(alone, READY, make_case(), READY, make_case("b"), make_finished(passed=2))
    assert shown.splitlines()[:4] == [
        "2 cases, each alone, from shop-1",
        "starting serve",
        "✓ get-orders-1a2b  GET /orders  12 ms",
        "✓ b  GET /orders  12 ms",
    ]


def test_the_cause_stands_before_the_symptom() -> None:
    missing = make_extra_call(
        kind="missing", call="INSERT INTO orders", miss=None, nearest=None, fields=[]
    )
    failed = make_failed(calls=[missing, make_extra_call()])
    finished = make_finished(passed=1, failed=1, misses=1)
    text = report(STARTED, make_case(), failed, finished)
    assert (
        text
        == """\
2 cases from shop-1
starting python -m shop 'two words'
✓ get-orders-1a2b  GET /orders  12 ms
✗ post-orders-77aa  POST /orders  12 ms

FAILED post-orders-77aa  POST /orders
  extra call: SELECT id, total FROM orders WHERE customer = $1 AND open
    to 10.0.0.5:5432 (postgres); never recorded: no call like it was recorded to
      this destination
    nearest: SELECT id, total FROM orders WHERE customer = $1
  missing call: INSERT INTO orders
    to 10.0.0.5:5432 (postgres)
  and so the response
    /status: recorded 200, came 500
  request: curl -X POST http://127.0.0.1:8000/orders --data-binary '{"item": 7}'
  repeat:  kebpf test shop-1 --case post-orders-77aa -- python -m shop

1 call not as recorded, 1 of them without an answer
  1 never recorded: no call like it was recorded to this destination
1 passed, 1 failed in 3.1 s
20 values compared exactly, 4 by class, 0 not compared · 75 of 75 mocks used
"""
    )


def test_equal_causes_stand_together_and_errors_first() -> None:
    symptom = make_failed("symptom")
    first = make_failed("first", calls=[make_extra_call()])
    second = make_failed("second", calls=[make_extra_call()])
    errored = make_failed("broken", verdict=Verdict.ERRORED, error="no answer in 10 s\nmore")
    text = report(symptom, first, errored, second, make_finished(failed=3, errored=1))
    heads = [
        line for line in text.splitlines() if line.startswith(("FAILED", "ERRORED", "2 cases"))
    ]
    assert heads == [
        "ERRORED broken  POST /orders",
        "2 cases have the cause that follows",
        "FAILED first  POST /orders",
        "FAILED symptom  POST /orders",
    ]
    assert "  no answer in 10 s\n  more\n" in text
    assert "\n  and 1 more case (--verbose shows them):\n    second\n" in text
    everything = report(first, second, make_finished(failed=2), verbose=True)
    assert "\nFAILED second  POST /orders\n" in everything


def test_without_a_terminal_lines_keep_to_80_columns_and_have_no_codes() -> None:
    long = "x" * 300
    failed = make_failed(
        long,
        request=f"GET /{long}",
        mismatches=[
            Mismatch(f"/body/{long[:40]}", "changed", f"{long}a", f"{long}b"),
            Mismatch("/body/gone", "missing", long),
            Mismatch("/body", "changed", f"{long}\na\n", f"{long}\nb\n"),
        ],
        calls=[make_extra_call(call=long, nearest=long)],
    )
    text = report(STARTED, READY, failed, make_finished(failed=1, ledger=Ledger(1, [long])))
    assert widest(text) <= 80
    assert "\x1b" not in text


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[" in report(make_case(), make_finished(), out=FakeTerminal())


def test_recorded_text_cannot_command_the_terminal() -> None:
    failed = make_failed(
        "a\x1b[2Jb",
        request="GET /\x9b2J",
        error="bad\x07",
        curl="curl '\x1b]0;x\x07'",
        mismatches=[Mismatch("/\x1bc", "changed", "\x1b[1m\n", "\u202e\n\n")],
    )
    text = report(failed, RunFailed("it\x1bc ended", ["\x1b[31mred\x1b[0m \x1bc\r\n"]))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\n  red \\x1bc\n" in text


def test_a_failed_run_shows_the_last_lines_and_ends_with_the_reason() -> None:
    failed = RunFailed("the application ended with status 1", ["Traceback", "ImportError: shop"])
    finished = make_finished(passed=0, skipped=2, seconds=0.3, ledger=Ledger())
    assert (
        report(STARTED, failed, finished)
        == """\
2 cases from shop-1
starting python -m shop 'two words'

the application ended with status 1
the application's last lines:
  Traceback
  ImportError: shop

0 passed, 0 failed, 2 skipped in 0.3 s
the run failed: the application ended with status 1
"""
    )


def test_an_interrupted_run_shows_its_failures() -> None:
    text = report(STARTED, make_failed())
    assert "FAILED post-orders-77aa" in text
    assert text.endswith("\nthe run was cut short\n")


def test_what_was_skipped_not_compared_or_left_over_is_listed() -> None:
    skipped = make_case("cut-off", verdict=Verdict.SKIPPED, error="cut off", exact=0, by_class=0)
    partly = make_case("partly", not_compared=3)
    left = make_extra_call(kind="missing", call="GET session:1", miss=None, nearest=None, fields=[])
    text = report(skipped, partly, make_finished(skipped=1, findings=[left]))
    assert (
        text
        == """\
- cut-off  GET /orders  12 ms
✓ partly  GET /orders  12 ms

Calls that belong to no one case
  missing call: GET session:1
    to 10.0.0.5:5432 (postgres)

skipped: cut-off: cut off
3 values not compared, in 1 case
  3 × values that kebpf.yml declares noise
1 passed, 0 failed, 1 skipped in 3.1 s
10 values compared exactly, 2 by class, 3 not compared · 75 of 75 mocks used
"""
    )


def test_only_verbose_lists_every_unused_mock() -> None:
    finished = make_finished(
        unused_mocks=12, ledger=Ledger(1, [f"mock-{number}" for number in range(12)])
    )
    assert "  and 2 more (--verbose)\n" in report(finished)
    assert "mock-11" in report(finished, verbose=True)


def test_the_host_of_a_request_takes_no_room() -> None:
    case = make_failed(request="GET http://127.0.0.1:46417/orders?next=http://a/b")
    text = report(case, make_finished(failed=1))
    assert "FAILED post-orders-77aa  GET /orders?next=http://a/b\n" in text


def test_calls_that_no_case_asserts_are_counted() -> None:
    text = report(make_case(), make_finished(ledger=Ledger(used=75, unasserted=12)))
    assert "12 calls answered that no case asserts\n" in text


def test_a_run_of_nothing_says_so() -> None:
    finished = make_finished(passed=0, seconds=0.0, ledger=Ledger())
    text = report(RunStarted(["shop-1"], 0, ["serve"]), finished)
    assert text == "0 cases from shop-1\n\nno case ran\n"
