"""JSON read without loss."""

from __future__ import annotations

import copy
import json
import math
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.http1.json_text import JsonFloat, parse_json


def test_numbers_written_differently_differ() -> None:
    texts = ["1", "1.0", "1.00", "1e0", "1E0", "10e-1", "-0", "0", "-0.0", "0.0", "0.1", "0.10",
             "12345678901234567890.5", "12345678901234567890.50", "0.1000000000000000055511",
             "1e999", "2e999"]  # fmt: skip
    values = [parse_json(text) for text in texts]
    for at, one in enumerate(values):
        for other_at, other in enumerate(values):
            assert (one == other) is (at == other_at), (texts[at], texts[other_at])
            assert (one != other) is (at != other_at)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(-(10**40), 10**40))
def test_no_digit_is_lost(number: Decimal, integer: int) -> None:
    text = f"{number:f}" if "." in f"{number:f}" else f"{number:f}.0"
    value = parse_json(text)
    assert isinstance(value, float) and repr(value) == text
    assert parse_json(str(integer)) == integer


def test_json_floats_are_documents() -> None:
    value = parse_json("1.10")
    assert isinstance(value, float) and math.isclose(value, 1.1)
    assert f"{value}" == str(value) == repr(value) == "1.10"
    assert hash(JsonFloat("1.0")) == hash(1.0) and JsonFloat("1.0") == 1.0
    assert JsonFloat("1.0") != 1 and JsonFloat("1.0") != 1
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_same_as_json_otherwise(value: object) -> None:
    text = json.dumps(value)
    try:
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":2}', "NaN", "[Infinity]", "", "{", "1 2", '"\\ud800"', '{"\\udfff":1}', "01",
     "[" * 100_000, "1" * 10_000, "\ufeff1"],
)  # fmt: skip
def test_what_cannot_be_kept_whole(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_json(text)
