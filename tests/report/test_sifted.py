"""What was kept of a test set, as whole lines."""

from __future__ import annotations

from pathlib import Path

from kebpf.recording.dedup.sets import Sifted
from kebpf.report.sifted import describe_routes, describe_sifted

RESULT = Sifted(
    requests=12_431,
    shapes=87,
    test_cases=203,
    mocks=811,
    dropped=12_228,
    dropped_mocks=49_301,
    routes=[("GET /carts/{}", 431), ("POST /carts", 1)],
    left_out={"leave_out: GET /health": 40},
)


def test_what_stays_and_what_goes() -> None:
    assert list(describe_sifted(RESULT, "shop-1", None, False)) == [
        "shop-1: 12,431 requests → 87 unique; 203 of 12,431 test cases and 811 of 50,112 mocks "
        "stay",
        "left out: 40 test cases: leave_out: GET /health",
    ]


def test_a_trial_and_another_folder() -> None:
    assert next(describe_sifted(RESULT, "a", Path("b"), True)).endswith("mocks would stay")
    assert next(describe_sifted(RESULT, "a", Path("b"), False)).startswith("a → b: 12,431")


def test_the_routes() -> None:
    assert list(describe_routes(RESULT, 9)) == [
        "      431 × GET /carts/{}",
        "        1 × POST /carts",
    ]
    assert list(describe_routes(RESULT, 1))[1:] == ["and 1 more shape"]
