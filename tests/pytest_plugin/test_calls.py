"""What a person reads of a test's calls, as whole text."""

from __future__ import annotations

from typing import Any

from kebpf.pytest_plugin.calls import Calls, describe_misses, describe_unused


def make_message(*misses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plain = {"answered": 0, "used": 0, "mocks": 0, "missed": len(misses), "misses": list(misses)}
    return {**plain, **changes}


def make_miss(**changes: Any) -> dict[str, Any]:
    return {
        "destination": "10.0.0.5:5432",
        "protocol": "postgres",
        "reason": "nothing was recorded at 10.0.0.5:5432",
        "call": "SELECT 1",
        "cause": "never recorded",
        "nearest": None,
        "fields": [],
        "count": 1,
        **changes,
    }


def test_misses_in_words() -> None:
    nearest = make_miss(
        cause="recorded but different",
        nearest="SELECT 2",
        count=3,
        fields=[
            ["/sql", "changed", "'SELECT 2'", "'SELECT 1'"],
            ["/args/0", "missing", "'a'", "None"],
            ["/args/1", "extra", "None", "'b'"],
        ],
    )
    misses = Calls().take(make_message(make_miss(), nearest))
    assert describe_misses(misses, " in shop") == (
        "4 calls found no mock in shop\n"
        "  10.0.0.5:5432 (postgres): nothing was recorded at 10.0.0.5:5432\n"
        "  3 × 10.0.0.5:5432 (postgres): recorded but different: SELECT 1\n"
        "    nearest: SELECT 2\n"
        "    /sql: recorded 'SELECT 2', now 'SELECT 1'\n"
        "    /args/0: recorded 'a', missing now\n"
        "    /args/1: not recorded, now 'b'"
    )


def test_many_are_cut() -> None:
    misses = Calls().take(make_message(*(make_miss(reason=str(n)) for n in range(14))))
    lines = describe_misses(misses, " in shop").splitlines()
    assert len(lines) == 12 and lines[-1] == "  and 4 more misses"
    calls = Calls()
    calls.take(make_message(mocks=60, used=5, unused=[f"GET {n}\n{'x' * 400}" for n in range(50)]))
    lines = describe_unused(calls, "shop").splitlines()
    assert lines[0] == "55 of 60 mocks of shop were not used"
    assert len(lines) == 12 and lines[-1] == "  and 45 more mocks"
    assert max(map(len, lines)) < 310


def test_misses_add_up_and_counts_are_the_latest() -> None:
    calls = Calls()
    assert len(calls.take(make_message(make_miss(), answered=2, used=1, mocks=4))) == 1
    assert calls.take(make_message(answered=3, used=2, mocks=4)) == []
    assert (len(calls.misses), calls.answered, calls.used, calls.mocks) == (1, 3, 2, 4)
