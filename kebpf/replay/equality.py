"""Says when two recorded answers are equal: but for when and how each of them was sent.

Of an HTTP response that leaves out the headers about the transport, the trace and the measured
time (`Date`, `Age`, `Server-Timing`, ``X-Request-Id``), and any other header whose whole value is
an id or a time that was new with this answer; headers that name a thing keep their values.
"""

from __future__ import annotations

from kebpf.protocols.base import Document
from kebpf.protocols.http1.identity import is_about_transport
from kebpf.recording.durations import MEASURED
from kebpf.recording.model import Mock
from kebpf.recording.templates import is_time_class, split_time_class
from kebpf.recording.times import Window
from kebpf.recording.values import Token, find_tokens
from kebpf.replay.call import Leaves, leaves_of

_PASSING = MEASURED | {"age", "server-timing", "x-cache", "x-served-by", "x-timer", "cf-ray"}
_NAMING = frozenset(
    {
        "location", "content-location", "link", "refresh", "etag", "last-modified", "set-cookie",
        "expires", "authorization", "www-authenticate", "idempotency-key",
    }
)  # fmt: skip


def answer_of(mock: Mock) -> Leaves:
    """The leaves of a mock's answer that count for equality."""
    return leaves_of(_without_passing(mock) if mock.protocol == "http" else mock.response)


def _without_passing(mock: Mock) -> Document | None:
    response = mock.response
    if response is None or not isinstance(response.get("headers"), list):
        return response
    window = Window(mock.timing.start_ns, mock.timing.end_ns)
    kept = [pair for pair in response["headers"] if not _is_passing(pair[0], pair[1], window)]
    return {**response, "headers": kept}


def _is_passing(name: object, value: object, window: Window) -> bool:
    lowered = str(name).lower()
    if lowered in _PASSING or is_about_transport(lowered):
        return True
    return lowered not in _NAMING and isinstance(value, str) and _is_new(value, window)


def _is_new(value: str, window: Window) -> bool:
    """Whether all of a header is one id, or one time of this answer."""
    return any(
        (one.start, one.end) == (0, len(value)) and one.is_candidate and not _is_shifted(one)
        for one in find_tokens(value, window)
    )


def _is_shifted(token: Token) -> bool:
    """A time that lies beside the answer's own means something."""
    return is_time_class(token.class_name) and split_time_class(token.class_name)[1] != 0
