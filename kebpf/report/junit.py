"""The report as JUnit XML, in the form CI systems read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TextIO
from xml.etree import ElementTree

from kebpf.replay.events import (
    CallFinding,
    CaseFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.report.calls import describe_call, rank_calls, show_call
from kebpf.report.causes import Grouping, describe_cause
from kebpf.report.failure import show_failure
from kebpf.report.lines import count, join_text
from kebpf.report.values import cut, strip_colours

TEXT_WIDTH = 120
MOST_TEXT = 20_000  # characters below one case, whatever differs in it
MOST_MESSAGE = 600
RUN_SUITE = "kebpf"
ELEMENTS = {Verdict.FAILED: "failure", Verdict.ERRORED: "error", Verdict.SKIPPED: "skipped"}
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}

# All that XML 1.0 (section 2.2, production Char) does not allow in a document.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JUnitReporter:
    """Collects the cases by test set and writes the whole document to ``out`` when closed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._suites: dict[str, list[ElementTree.Element]] = {}
        self._failures = Grouping[tuple[str, ElementTree.Element]]()  # first case, its outcome
        self._has_ended = False
        self._seconds: float | None = None
        self._properties: dict[str, str] = {}

    def handle(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                words = event.command
                text = words[0] if len(words) == 1 else shlex.join(words)
                self._properties["command"] = cut(text, MOST_MESSAGE)
                if event.shuffle is not None:
                    self._properties["shuffle"] = str(event.shuffle)
            case CaseFinished():
                self._add_case(event)
            case RunFailed():
                self._has_ended = True
                self._add_to_run("application", "error", event.reason, _show_output(event))
            case RunFinished():
                self._has_ended = True
                self._seconds = event.seconds
                self._add_findings(event.findings)
                if not self._suites:
                    self._add_to_run("run", "error", "no case ran", "")

    def _add_case(self, event: CaseFinished) -> None:
        case = _make_case(event)
        self._suites.setdefault(event.test_set, []).append(case)
        if event.verdict in (Verdict.FAILED, Verdict.ERRORED):
            name = f"{event.test_set}, {event.case}"
            self._failures.group_of(event).cases.append((name, case[0]))

    def _tell_causes(self) -> None:
        """Cases with one cause say so, and which is the first of them."""
        for group in self._failures.ranked():
            first = group.cases[0][0]
            for _, outcome in group.cases if len(group.cases) > 1 else ():
                text = f"one of {len(group.cases)} cases with this cause; the first is {first}"
                outcome.text = escape_forbidden(f"{text}\n{outcome.text}")

    def close(self) -> None:
        self._tell_causes()
        if not self._has_ended:
            self._add_to_run("run", "error", "the run was cut short", "")
        root = self._make_root()
        ElementTree.indent(root)
        self._out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        self._out.write(ElementTree.tostring(root, encoding="unicode") + "\n")
        self._out.flush()

    def _add_to_run(self, name: str, kind: str, message: str, text: str) -> None:
        case = _make_element("testcase", classname=RUN_SUITE, name=name, time="0.000")
        case.append(_make_outcome(kind, message, text or message))
        self._suites.setdefault(RUN_SUITE, []).append(case)

    def _add_findings(self, findings: list[CallFinding]) -> None:
        if findings:
            ranked = rank_calls(findings)
            lines = [line for finding in ranked for line in show_call(finding, TEXT_WIDTH)]
            message = describe_call(ranked[0])
            self._add_to_run("calls of no one case", "failure", message, join_text(lines))

    def _make_root(self) -> ElementTree.Element:
        root = ElementTree.Element("testsuites", name="kebpf")
        for name, cases in self._suites.items():
            suite = _make_element("testsuite", name=name)
            suite.extend(_make_properties(self._properties))
            suite.extend(cases)
            _set_counts(suite)
            root.append(suite)
        _set_counts(root)
        root.attrib.pop("skipped")  # the schema has it for a test suite only
        if self._seconds is not None:
            root.set("time", f"{self._seconds:.3f}")
        return root


def escape_forbidden(text: str) -> str:
    """Writes characters that XML 1.0 cannot hold as ``\\x1b`` and the like."""
    return _FORBIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


def _make_element(tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(
        tag, {name: escape_forbidden(value) for name, value in attributes.items()}
    )


def _make_properties(values: Mapping[str, str]) -> Iterator[ElementTree.Element]:
    """The element that holds them, if there are any."""
    if values:
        properties = _make_element("properties")
        properties.extend(_make_element("property", name=k, value=v) for k, v in values.items())
        yield properties


def _make_outcome(kind: str, message: str, text: str) -> ElementTree.Element:
    element = _make_element(kind, message=cut(message, MOST_MESSAGE), type=kind)
    element.text = escape_forbidden(_bound(text))
    return element


def _bound(text: str) -> str:
    """At most `MOST_TEXT` characters, and how many lines are left out."""
    if len(text) <= MOST_TEXT:
        return text
    end = text.rfind("\n", 0, MOST_TEXT)
    end = end if end > 0 else MOST_TEXT
    lines = text.count("\n", end + 1) + 1
    return f"{text[:end]}\nand {count(lines, 'more line')}"


def _make_case(event: CaseFinished) -> ElementTree.Element:
    case = _make_element(
        "testcase", classname=event.test_set, name=event.case, time=f"{event.seconds:.3f}"
    )
    kind = ELEMENTS.get(event.verdict)
    if kind:
        case.append(_make_outcome(kind, describe_cause(event), _show_details(event)))
    output = ElementTree.SubElement(case, "system-out")
    output.text = escape_forbidden(_describe_comparison(event))
    return case


def _show_details(event: CaseFinished) -> str:
    return join_text(show_failure(event, TEXT_WIDTH, verbose=True))


def _describe_comparison(event: CaseFinished) -> str:
    return (
        f"{event.request}\n{event.exact} values compared exactly, {event.by_class} by class, "
        f"{event.not_compared} not compared"
    )


def _show_output(event: RunFailed) -> str:
    output = [strip_colours(line) for line in event.output]
    return "\n".join([event.reason, *output])


def _set_counts(element: ElementTree.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, tag in COUNTED.items():
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
