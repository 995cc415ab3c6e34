"""Any document comes back from JSON as it was, types included."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.exact import pack_exact, unpack_exact

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)
KEYS = st.one_of(st.text(), st.sampled_from(["!bytes", "!map", "!"]), st.integers(), st.binary())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


def there_and_back(tree: Any) -> Any:
    return unpack_exact(json.loads(json.dumps(pack_exact(tree), allow_nan=False)))


@given(TREES)
def test_it_comes_back(tree: Any) -> None:
    found = there_and_back(tree)
    assert found == tree and repr(found) == repr(tree)


def test_what_json_knows_is_as_it_is() -> None:
    tree = {"a": [1, "x", None, True]}
    assert pack_exact(tree) == tree
    assert math.isnan(there_and_back(float("nan")))


@pytest.mark.parametrize("tree", [{"!base64": "?"}, {"!base64": 3}, {"!else": 1}, {"!map": 3}])
def test_what_was_not_written_by_it(tree: Any) -> None:
    with pytest.raises(ValueError, match="in a document"):
        unpack_exact(tree)
