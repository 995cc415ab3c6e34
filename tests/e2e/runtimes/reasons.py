"""Why a request that was under way when a recording began or ended is no test case."""

from __future__ import annotations

import re
from collections.abc import Mapping

UNDER_WAY = (
    "it began before the recording",
    "the recording ended before the (request|response) was complete",
    "it was not finished when the recording ended",
    "the response was cut off",
    "the server closed the connection before the response was complete",
    "a call (of no test case|it (may have )?made cannot be replayed): "
    "(the connection or the recording ended before its response"
    "|the recording ended before the (request|response) was complete)",
    "a request was cut off",
    "a call of no test case: (a request was cut off|the server sent a response without a request)",
    "a call of no test case: requests were in flight when the connection was joined",
    "a call of no test case: there was no reply before the recording of it ended",
    # at the end, when what is received is seen a little longer than what is sent
    "a call of no test case: a reply came that no command was seen for",
    "a call of no test case: an answer came and the recording ended before its request was seen",
)
# Whoever joins a connection between a question and its answer sees the answer to something else.
JOINING = (
    "a call it (may have )?made cannot be replayed: "
    "(joined in the middle of its group"
    "|a reply is of a type its command cannot have"
    "|the server sent a reply that no command was seen for)"
)


def count_without_those_under_way(left_out: Mapping[str, int]) -> int:
    """The number of requests that had begun and ended within the recording."""
    return sum(
        count
        for reason, count in left_out.items()
        if not any(re.fullmatch(known, reason) for known in UNDER_WAY)
    )
