"""Headers that say how long something took, as W3C Server Timing and frameworks write them."""

from __future__ import annotations

import pytest

from kebpf.recording.durations import find_durations
from kebpf.recording.provenance import Provenance
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings, pair_tokens


@pytest.mark.parametrize(
    ("name", "value", "template"),
    [
        ("Server-Timing", "app;dur=2.3", "app;dur={decimal:1-9}"),
        (
            "server-timing",
            'miss, db;desc="a {b}";dur=53, app;dur=47.2',
            'miss, db;desc="a {{b}}";dur={integer:1-9}, app;dur={decimal:1-9}',
        ),
        ("X-Runtime", "0.004521", "{decimal:1-9}"),
        ("X-Response-Time", "12ms", "{integer:1-9}ms"),
        ("X-Process-Time", "0.00123", "{decimal:1-9}"),
        ("Server-Timing", 'cache;desc="dur"', None),
        ("X-Response-Time", "fast", None),
        ("X-Total-Count", "12", None),
        ("Age", "3", None),
    ],
)
def test_finds_durations(name: str, value: str, template: str | None) -> None:
    found = find_durations({"status": 200, "headers": [["a", "b"], [name, value]], "body": "x"})
    assert found == ({} if template is None else {"/headers/1/1": template})


def test_a_duration_may_differ_and_nothing_else_of_its_header() -> None:
    window = Window(1_700_000_000 * 10**9, 1_700_000_001 * 10**9)
    view = {"status": 200, "headers": [["Server-Timing", "app;dur=2.3"], ["X-Page", "12"]]}
    settled = Provenance().settle({}, [], view, window)
    assert settled.response == {"/headers/0/1": "app;dur={decimal:1-9}"}
    assert (settled.strength.by_class, settled.strength.exact) == (1, 4)
    template = settled.response["/headers/0/1"]
    pairs = pair_tokens(template, "app;dur=2.3", "app;dur=10.27")
    assert pairs is not None
    assert Bindings().try_bind(pairs, window)
    for other in ("app;dur=", "app;dur=x", "db;dur=2.3", "app;dur=2.3, db;dur=1"):
        assert pair_tokens(template, "app;dur=2.3", other) is None
