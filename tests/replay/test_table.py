"""The compact map against a dictionary of lists."""

from __future__ import annotations

import random
from collections import defaultdict

from kebpf.replay.table import Table


def test_equal_to_a_dictionary_of_lists() -> None:
    rng = random.Random(7)
    keys = [rng.getrandbits(64) for _ in range(300)] + [0, (1 << 64) - 1]
    table, expected = Table(), defaultdict(list)
    for ordinal in range(5000):
        key = rng.choice(keys)
        table.add(key, ordinal)
        expected[key].append(ordinal)
    assert len(table) == 5000
    for key in keys:
        bucket = table.find(key)
        assert list(bucket) == expected[key]
        assert list(reversed(bucket)) == expected[key][::-1]
        assert len(bucket) == len(expected[key])
    assert not table.find(keys[0] ^ 1)


def test_what_is_used_up_at_the_head_is_not_asked_for_again() -> None:
    table = Table()
    for ordinal in range(10):
        table.add(1, ordinal)
    bucket, used, asked = table.find(1), {0, 1, 2, 5}, []

    def is_usable(ordinal: int) -> bool:
        asked.append(ordinal)
        return ordinal not in used

    assert list(bucket.usable(is_usable)) == [3, 4, 6, 7, 8, 9]
    asked.clear()
    assert next(bucket.usable(is_usable)) == 3
    assert min(asked) == 3
