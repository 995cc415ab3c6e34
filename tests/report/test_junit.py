"""JUnit XML as CI systems read it: checked against the published rules of its structure."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xmlschema import XMLSchema, XMLSchemaValidationError

from kebpf.replay.events import Mismatch, RunEvent, RunFailed, RunStarted, Verdict
from kebpf.report.junit import MOST_MESSAGE, MOST_TEXT, JUnitReporter, escape_forbidden
from tests.report.builders import make_case, make_extra_call, make_failed, make_finished

SCHEMA = XMLSchema(str(Path(__file__).parent / "junit-10.xsd"))


def report(*events: RunEvent) -> str:
    out = io.StringIO()
    reporter = JUnitReporter(out)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue()


def check(text: str) -> ElementTree.Element:
    SCHEMA.validate(text)
    root = ElementTree.fromstring(text)
    for element in root.iter():
        if element.tag in ("testsuites", "testsuite"):
            cases = list(element.iter("testcase"))
            assert int(element.get("tests", "")) == len(cases)
            bad = {"failures": "failure", "errors": "error"}
            for attribute, tag in bad.items():
                assert int(element.get(attribute, "")) == len(list(element.iter(tag)))
            if element.tag == "testsuite":
                assert int(element.get("skipped", "")) == len(list(element.iter("skipped")))
    return root


def test_the_whole_document() -> None:
    failed = make_failed(curl="", repeat="kebpf test shop-1 --case post-orders-77aa")
    text = report(make_case(), failed, make_finished(failed=1))
    assert (
        text
        == """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kebpf" tests="2" failures="1" errors="0" time="3.140">
  <testsuite name="shop-1" tests="2" failures="1" errors="0" skipped="0" time="0.024">
    <testcase classname="shop-1" name="get-orders-1a2b" time="0.012">
      <system-out>GET /orders
10 values compared exactly, 2 by class, 0 not compared</system-out>
    </testcase>
    <testcase classname="shop-1" name="post-orders-77aa" time="0.012">
      <failure message="500 instead of 200" type="failure">  response
    /status: recorded 200, came 500
  repeat:  kebpf test shop-1 --case post-orders-77aa</failure>
      <system-out>POST /orders
10 values compared exactly, 2 by class, 0 not compared</system-out>
    </testcase>
  </testsuite>
</testsuites>
"""
    )
    check(text)


def test_the_seed_of_the_order_is_a_property() -> None:
    started = RunStarted(["shop-1"], 1, ["serve"], shuffle=17)
    text = report(started, make_case(), make_finished())
    found = check(text).findall("testsuite/properties/property")
    assert [one.attrib for one in found] == [
        {"name": "command", "value": "serve"},
        {"name": "shuffle", "value": "17"},
    ]


def test_every_verdict_and_every_finding_is_counted() -> None:
    events = (
        make_case(),
        make_failed(calls=[make_extra_call()]),
        make_failed("broken", verdict=Verdict.ERRORED, error="no answer"),
        make_case("left", verdict=Verdict.SKIPPED, error="cut off"),
        make_finished(failed=1, errored=1, skipped=1, findings=[make_extra_call()]),
    )
    root = check(report(*events))
    assert [root.get(name) for name in ("tests", "failures", "errors")] == list("521")
    message = root.find(".//failure")
    assert message is not None
    assert (message.get("message") or "").startswith("extra call: SELECT id, total")


def test_a_failed_run_is_an_error_with_the_output() -> None:
    root = check(report(RunFailed("it ended with status 1", ["\x1b[31mboom\x1b[0m"])))
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert error.get("message") == "it ended with status 1"
    assert error.text == "it ended with status 1\nboom"


def test_a_run_cut_short_is_an_error() -> None:
    root = check(report(make_case()))
    assert root.get("errors") == "1"


@given(st.text())
def test_any_text_gives_a_document_a_parser_reads(text: str) -> None:
    failed = make_failed(text, error=text, mismatches=[Mismatch(text, "changed", text, 1)])
    check(report(make_case(text, request=text), failed, RunFailed(text, [text])))


def test_forbidden_characters_are_written_as_escapes() -> None:
    assert escape_forbidden("a\x00\x1b\ufffe\ud800\tb\U0001f600") == (
        "a\\x00\\x1b\\ufffe\\ud800\tb\U0001f600"
    )


def test_cases_with_one_cause_name_the_first_of_them() -> None:
    cases = [make_failed(name, request=f"GET /orders/{n}") for n, name in enumerate("ab")]
    root = ElementTree.fromstring(report(*cases, make_failed("c"), make_finished(failed=3)))
    texts = [failure.text or "" for failure in root.iter("failure")]
    line = "one of 2 cases with this cause; the first is shop-1, a\n"
    assert [text.startswith(line) for text in texts] == [True, True, False]


def test_the_schema_refuses_what_ci_systems_refuse() -> None:
    good = report(make_case(), make_finished())
    bad = good.replace('<testsuites name="kebpf"', '<testsuites name="kebpf" skipped="0"')
    with pytest.raises(XMLSchemaValidationError):
        check(bad)
    with pytest.raises(XMLSchemaValidationError):
        check(good.replace('<testcase classname="shop-1" name="get-orders-1a2b"', "<testcase"))


def test_the_text_of_a_case_is_bounded() -> None:
    mismatches = [Mismatch(f"/{n}", "changed", "a" * 50, "b" * 50) for n in range(5000)]
    failed = make_failed("x" * 300, mismatches=mismatches, error="e" * 5000)
    [error] = check(report(failed, make_finished(failed=1))).iter("failure")
    assert len(error.get("message") or "") == MOST_MESSAGE
    text = error.text or ""
    assert len(text) < MOST_TEXT + 100
    kept = text.splitlines()
    assert kept[-1].startswith("and ") and kept[-1].endswith(" more lines")


def test_a_run_of_no_case_is_no_empty_report() -> None:
    root = check(report(RunStarted(["shop-1"], 0, ["./serve -p 1"]), make_finished(passed=0)))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert [one.get("value") for one in root.iter("property")] == ["./serve -p 1"]
