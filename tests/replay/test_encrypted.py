"""Connections that are encrypted otherwise than all recorded ones are told, others are not."""

from __future__ import annotations

import pytest

from kebpf.recording.model import Tls
from kebpf.replay.encrypted import Encryptions
from tests.recording.builders import DATABASE, make_mock

SHOP, BANK = Tls("shop.example", "", "TLSv1.3"), Tls("bank.example", "", "TLSv1.2")
UNKNOWN = Tls()


@pytest.mark.parametrize(
    ("recorded", "now", "expected"),
    [
        ([None], None, None),
        ([SHOP], SHOP, None),
        ([SHOP, UNKNOWN], Tls("shop.example", "http/1.1", "TLSv1.2"), None),
        ([SHOP, None], None, None),
        ([SHOP, None], BANK, None),
        ([SHOP, BANK], Tls("third.example"), None),
        ([UNKNOWN], BANK, None),
        ([SHOP], None, ("/tls", "changed", True, False)),
        ([UNKNOWN, SHOP], None, ("/tls", "changed", True, False)),
        ([None], UNKNOWN, ("/tls", "changed", False, True)),
        ([SHOP], BANK, ("/tls/sni", "changed", "shop.example", "bank.example")),
        ([SHOP], UNKNOWN, ("/tls/sni", "missing", "shop.example", None)),
    ],
)
def test_what_is_told(
    recorded: list[Tls | None], now: Tls | None, expected: tuple[object, ...] | None
) -> None:
    encryptions = Encryptions()
    for tls in recorded:
        encryptions.learn(make_mock(tls=tls))
    finding = encryptions.judge(DATABASE, "postgres", now)
    if expected is None:
        assert finding is None
        return
    assert finding is not None
    (field,) = finding.fields
    assert (field.path, field.kind, field.expected, field.actual) == expected


def test_both_ways_are_said_in_words() -> None:
    encryptions = Encryptions()
    encryptions.learn(make_mock(tls=SHOP))
    finding = encryptions.judge(DATABASE, "postgres", None)
    assert finding is not None
    assert finding.call == "connect without TLS"
    assert finding.nearest == "connect over TLS to shop.example"
    assert encryptions.judge(DATABASE, "redis", None) is None
