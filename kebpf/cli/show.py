"""``kebpf show``: what a test set holds, for people or one JSON object a line."""

from __future__ import annotations

import base64
import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from kebpf.cli.outcome import describe_missing
from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.protocols.registry import get_protocol
from kebpf.recording.facts import CUT_OFF, describe_cut_off
from kebpf.recording.model import Losses, Manifest, Mock, TestCase, Tier, Timing, Tls
from kebpf.recording.served import describe_served
from kebpf.recording.store import TestSet
from kebpf.recording.unlearned import describe_unlearned
from kebpf.recording.unplaced import describe_unplaced
from kebpf.report.recorded import merge_reasons

WIDTH = 80  # columns
_CALL_INDENT = 7


def show(set_path: Path, as_json: bool, out: TextIO) -> int:
    """Prints a test set and gives the exit status.

    Raises ``TestSetError`` for a set that cannot be read, and ``BrokenPipeError`` when nobody
    reads ``out`` any more.
    """
    test_set = TestSet.open(set_path)
    lines = _json_lines(test_set) if as_json else _human_lines(test_set)
    for line in lines:
        out.write(line + "\n")
    out.flush()
    return 0


def _json_lines(test_set: TestSet) -> Iterator[str]:
    for case in (*test_set.cases(), *test_set.apart()):
        yield _to_json(_describe_case(case))
    for _, mock in test_set.iter_mocks():
        yield _to_json(_describe_mock(mock))


def _describe_case(case: TestCase) -> dict[str, Any]:
    strength = case.strength
    return {
        "kind": "test",
        "protocol": case.protocol,
        "name": case.name,
        **_views(case.protocol, case.request, case.response),
        "endpoint": str(case.endpoint),
        "tls": _describe_tls(case.tls),
        "order": case.order,
        "calls": case.calls,
        "generated": case.generated,
        "strength": {
            "exact": strength.exact,
            "by_class": strength.by_class,
            "not_compared": strength.not_compared,
        },
        "timing": _describe_timing(case.timing),
        **({"needs": case.needs} if case.needs else {}),
        "verified": case.verified,
        "set_apart": case.set_apart,
        **({"seen": case.seen, "shape": case.shape} if case.seen else {}),
    }


def _describe_mock(mock: Mock) -> dict[str, Any]:
    return {
        "kind": "mock",
        "protocol": mock.protocol,
        "name": mock.name,
        **_views(mock.protocol, mock.request, mock.response),
        "destination": str(mock.destination),
        "tls": _describe_tls(mock.tls),
        "tier": mock.tier.value,
        "case": mock.case,
        "candidates": mock.candidates,
        "evidence": mock.evidence.value,
        "connection": mock.connection,
        "calls": mock.calls,
        "generated": mock.generated,
        "timing": _describe_timing(mock.timing),
    }


def _views(protocol: str, request: Document, response: Document | None) -> dict[str, Any]:
    spec = get_protocol(protocol)
    return {
        "request": spec.view(request),
        "response": None if response is None else spec.view(response),
    }


def _describe_tls(tls: Tls | None) -> dict[str, str] | None:
    return None if tls is None else asdict(tls)


def _describe_timing(timing: Timing) -> dict[str, int]:
    return {"start_ns": timing.start_ns, "end_ns": timing.end_ns}


def _to_json(entry: dict[str, Any]) -> str:
    return json.dumps(_plain(entry), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """The value with bytes as text or, where they are none, as ``{"base64": …}``."""
    if isinstance(value, dict):
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _plain_key(key: Any) -> str:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)


def _human_lines(test_set: TestSet) -> Iterator[str]:
    offsets: dict[str, int] = {}
    tiers: Counter[Tier] = Counter()
    open_calls: list[str] = []
    for offset, mock in test_set.iter_mocks():
        tiers[mock.tier] += 1
        offsets[mock.name] = offset
        if mock.candidates and mock.tier is Tier.CASE:
            open_calls.append(mock.name)
    yield from _head_lines(test_set.manifest)
    for case in test_set.cases():
        yield ""
        yield from _case_lines(case)
        for name in case.calls:
            yield _call_line(test_set, offsets, name)
    if open_calls:
        yield from ("", "Calls that one of several requests made, asserted over all of them:")
        for name in open_calls:
            yield _call_line(test_set, offsets, name)
    yield from _tier_lines(tiers)
    yield from _apart_lines(test_set)


def _apart_lines(test_set: TestSet) -> Iterator[str]:
    cases = test_set.apart()
    if cases:
        yield from ("", f"Set apart, so not run: {_count(len(cases), 'test case')}")
    for case in cases:
        yield _cut(f"{case.order:>4}  {_text(_request_line(case))}: {case.name}")
        yield from (f"    {line}" for line in _wrap(case.set_apart or ""))


def _head_lines(manifest: Manifest) -> Iterator[str]:
    command = " ".join(" ".join(manifest.command).split()) or manifest.executable
    yield _cut(f"{manifest.name}: {command}".rstrip(": "))
    when = datetime.fromtimestamp(manifest.created_ns / 1e9, tz=UTC)
    made = f"kebpf {manifest.kebpf_version}" if manifest.kebpf_version else "kebpf"
    yield f"  recorded {when:%Y-%m-%d %H:%M:%S} UTC in {manifest.seconds:.1f} s by {made}"
    yield (
        f"  {_count(manifest.test_cases, 'test case')}, {_count(manifest.mocks, 'mock')}, "
        f"{_count(manifest.events, 'event')}, {_count(manifest.captured_bytes, 'byte')}"
    )
    yield from _scope_lines(manifest)
    yield from _loss_lines(manifest.losses)
    if manifest.verified:
        verified = manifest.verified
        yield (
            f"  verified in {_count(verified['runs'], 'run')}: {verified['passed']:,} passed, "
            f"{verified['generalised']:,} generalised, {verified['set_apart']:,} set apart"
        )
        for name in verified.get("order_dependent", []):
            yield _cut(f"  passes in the recorded order only: {name}")
    yield from _extra_lines(manifest)


def _extra_lines(manifest: Manifest) -> Iterator[str]:
    if (cut_off := manifest.extra.get(CUT_OFF)) is not None:
        yield from _wrap(describe_cut_off(cut_off))
    for protocol, one in manifest.extra.get("served", {}).items():
        yield f"  {describe_served(protocol, one['connections'], one['bytes'])}"
    for reason, number in merge_reasons(manifest.extra.get("unparsed", {})):
        yield _cut(f"  not parsed: {number:,} × {reason}")
    for one in manifest.extra.get("not_captured", []):
        yield from _wrap(describe_missing(one["pid"], one["process"], one["why"], one["bytes"]))
    for server, one in manifest.extra.get("prepared_before", {}).items():
        yield from _wrap(describe_unlearned(server, **one))
    for server, one in manifest.extra.get("database_unknown", {}).items():
        yield from _wrap(describe_unplaced(server, **one))


def _scope_lines(manifest: Manifest) -> Iterator[str]:
    """What was recorded, and how much of it is kept."""
    if unique := manifest.extra.get("unique"):
        yield f"  {_count(unique['requests'], 'request')} → {unique['shapes']:,} unique"
    if manifest.target:
        yield _cut(f"  target: {manifest.target}")
    if manifest.filters:
        yield _cut(f"  only some connections: {' '.join(manifest.filters)}")


def _loss_lines(losses: Losses) -> Iterator[str]:
    lost = [
        _count(number, what)
        for number, what in (
            (losses.lost_events, "event"),
            (losses.lost_bytes, "byte"),
            (losses.unparsed_connections, "unparsed connection"),
            (losses.given_up_connections, "connection given up"),
            (losses.unbalanced_connections, "connection whose bytes do not add up"),
        )
        if number
    ]
    yield f"  lost: {', '.join(lost) or 'nothing'}"
    for reason, number in merge_reasons(losses.left_out):
        yield _cut(f"  left out: {number:,} × {reason}")


def _case_lines(case: TestCase) -> Iterator[str]:
    strength = case.strength
    status = case.response.get("status", "")
    yield _cut(f"{case.order:>4}  {_text(_request_line(case))} → {_text(status)}{_mark(case.tls)}")
    yield f"      {case.name}"
    yield (
        f"      {strength.exact} values exact, {strength.by_class} by class, "
        f"{strength.not_compared} not compared"
    )
    if case.seen:
        yield f"      one of {_count(case.seen, 'request')} of the shape {case.shape}"


def _request_line(case: TestCase) -> str:
    request = case.request
    if "method" in request and "target" in request:
        return f"{_text(request['method'])} {_text(request['target'])}"
    return get_protocol(case.protocol).describe(request)


def _call_line(test_set: TestSet, offsets: dict[str, int], name: str) -> str:
    indent = " " * _CALL_INDENT
    if name not in offsets:
        return f"{indent}{name} is not among the mocks"
    mock = test_set.mock_at(offsets[name])
    spec: ProtocolSpec = get_protocol(mock.protocol)
    what = " ".join(spec.describe(mock.request).split())
    return _cut(f"{indent}{mock.protocol} {mock.destination}{_mark(mock.tls)}  {what}")


def _mark(tls: Tls | None) -> str:
    return "" if tls is None else " (TLS)"


def _tier_lines(tiers: Counter[Tier]) -> Iterator[str]:
    names = {
        Tier.STARTUP: "start-up",
        Tier.BACKGROUND: "background",
        Tier.SESSION: "session",
    }
    others = [f"{tiers[tier]:,} {name}" for tier, name in names.items() if tiers[tier]]
    if others:
        yield from ("", f"Calls of no test case: {', '.join(others)}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _wrap(text: str) -> list[str]:
    indent = "  "
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=2 * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
