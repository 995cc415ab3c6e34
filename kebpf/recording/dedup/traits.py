"""What is told apart of an exchange: its path, all that is the same in each of its shape, the rest.

What is the same goes into one hash, a tree of the hashes of its parts: the query's keys, the
request's media type and outline, the status, the response's media type and outline, and the
calls that were made, in their order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.dedup.groups import Fields
from kebpf.recording.dedup.outline import (
    count_class,
    draw_outline,
    list_fields,
    write_outline,
)
from kebpf.recording.dedup.routes import split_path
from kebpf.recording.lineage import template_of
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier

HASH_SIZE = 12  # bytes
MOST_TEXT = 64 << 10  # characters of a message in which values are looked for

GetSpec = Callable[[str], ProtocolSpec]

_PLACEHOLDERS = re.compile(r"(?:\?|\$\?)(?:\s*,\s*(?:\?|\$\?))+")
_ROWS = re.compile(r"\)(?:\s*,\s*\([?$, ]*\))+")
_WITH_DIGIT = re.compile(r"[^/?&=:,;\s]*\d[^/?&=:,;\s]*")
_WORDS = re.compile(r"[\w.~%+-]+")


class Called(NamedTuple):
    """A call that a request made."""

    protocol: str
    destination: Endpoint
    request: Document
    response: Document | None
    start_ns: int
    end_ns: int
    generated: dict[str, str]

    @classmethod
    def of_mock(cls, mock: Mock) -> Called:
        """What a mock says of it."""
        timing = mock.timing
        return cls(
            mock.protocol, mock.destination, mock.request, mock.response,
            timing.start_ns, timing.end_ns, mock.generated,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """``rest`` is the hash of what is not learned, ``fields`` are values that may be of few.

    ``size`` is that of both bodies in bytes, ``calls`` how many kinds of calls there were.
    """

    method: str
    segments: list[str]
    rest: bytes
    fields: Fields
    evidence: Callable[[], Collection[str]]
    status: int
    size: int
    calls: int


def tells_apart(mock: Mock) -> bool:
    """Whether a call says something of its case: not of its connection or of looking up names."""
    return mock.tier is not Tier.SESSION and mock.protocol != "dns"


def find_traits(case: TestCase, calls: Sequence[Called], get_spec: GetSpec) -> Traits:
    """What tells a case apart from others; ``calls`` are those it made, in any order."""
    spec = get_spec(case.protocol)
    request, response = spec.view(case.request), spec.view(case.response)
    kinds = find_kinds(calls, get_spec)
    status = case.response.get("status")
    parts = [
        _media_type(request),
        " ".join(sorted({str(pair[0]) for pair in request.get("query") or ()})),
        _draw_body(request),
        str(status),
        _media_type(response),
        _draw_body(response),
        *kinds,
    ]
    return Traits(
        method=str(case.request.get("method", "")),
        segments=split_path(_text(case.request.get("target", ""))),
        rest=hash_parts(parts),
        fields=list_fields(response.get("body"), str(status))
        if response.get("body_kind") == "json"
        else (),
        evidence=_Evidence(case, calls),
        status=status if isinstance(status, int) else 0,
        size=_size_of_body(case.request) + _size_of_body(case.response),
        calls=len(kinds),
    )


class _Evidence:
    """The words of the response and of the calls, found when they are first asked for."""

    __slots__ = ("_calls", "_case", "_words")

    def __init__(self, case: TestCase, calls: Sequence[Called]) -> None:
        self._case, self._calls = case, calls
        self._words: set[str] | None = None

    def __call__(self) -> Collection[str]:
        if self._words is None:
            self._words = set()
            trees = [self._case.response.get("body"), *(call.request for call in self._calls)]
            for text in iter_texts(trees):
                self._words.update(_WORDS.findall(text))
        return self._words


def iter_texts(tree: Any) -> Iterable[str]:
    """All scalars of a tree as texts, the long ones cut."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one[:MOST_TEXT]
        elif isinstance(one, bytes):
            yield one[:MOST_TEXT].decode("latin-1")
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, int) and not isinstance(one, bool):
            yield str(one)


def find_kinds(calls: Sequence[Called], get_spec: GetSpec) -> list[str]:
    """The fingerprints of calls in their order, repeats as one.

    Those that were under way at the same time have no order.
    """
    kinds: dict[str, None] = {}
    together: list[str] = []
    end_ns = 0
    for call in sorted(calls, key=_start_of):
        if call.start_ns >= end_ns:
            kinds.update(dict.fromkeys(sorted(together)))
            together = []
        end_ns = max(end_ns, call.end_ns)
        together.append(fingerprint_call(call, get_spec(call.protocol)))
    kinds.update(dict.fromkeys(sorted(together)))
    return list(kinds)


def _start_of(call: Called) -> int:
    return call.start_ns


def fingerprint_call(call: Called, spec: ProtocolSpec) -> str:
    """Where a call went, what it asked for, and how much came back; nothing of its values."""
    if call.protocol == "redis":
        asked = _describe_command(call.request)
    else:
        asked = simplify_operation(str(spec.identity(call.request).get("operation", "")))
    return f"{call.protocol} {call.destination} {asked} -> {describe_answer(call, spec)}"


@lru_cache(maxsize=4096)
def simplify_operation(operation: str) -> str:
    """A statement without its literals and lengths of lists, a path without what has digits."""
    if operation.partition(" ")[2].startswith("/"):
        return _WITH_DIGIT.sub("*", operation)
    text = _PLACEHOLDERS.sub("?", template_of(operation))
    return _ROWS.sub(")", text)


def _describe_command(request: Document) -> str:
    """The commands with the beginning of their keys, as far as the first colon."""
    commands = [*(request.get("queued") or ()), request.get("command") or ()]
    return "; ".join(map(_describe_words, commands))


def _describe_words(words: Sequence[Any]) -> str:
    name = _text(words[0]).upper() if words else ""
    key = _text(words[1]) if len(words) > 1 else ""
    prefix, colon, _ = key.partition(":")
    return f"{name} {_WITH_DIGIT.sub('*', prefix)}:" if colon else name


def describe_answer(call: Called, spec: ProtocolSpec) -> str:
    """Rows and elements as none, one or many; of an error its code."""
    response = call.response
    if response is None:
        return "nothing"
    if "results" in response:
        return _describe_results(response)
    if "status" in response:
        body = spec.view(response).get("body")
        held = count_class(len(body)) if isinstance(body, list) else ""
        return f"{response['status']} {held}"
    reply = response.get("reply")
    if isinstance(reply, dict):
        return _describe_reply(reply)
    return "answered"


def _describe_results(response: Document) -> str:
    error = response.get("error")
    if error:
        return f"error {error.get('code')}" if isinstance(error, dict) else "error"
    return " ".join(
        count_class(len(one["rows"]))
        if one.get("columns") is not None and one.get("rows") is not None
        else _describe_tag(str(one.get("tag")))
        for one in response["results"]
    )


def _describe_tag(tag: str) -> str:
    """``UPDATE 3`` as ``UPDATE many``, ``INSERT 0 1`` as ``INSERT 1``."""
    words = tag.split()
    if not words or not words[-1].isdigit():
        return tag
    return f"{words[0]} {count_class(int(words[-1]))}"


def _describe_reply(reply: Document) -> str:
    kind = str(reply.get("type"))
    if "error" in kind:
        return f"error {_text(reply.get('value')).partition(' ')[0]}"
    if "items" in reply:
        items = reply["items"]
        return "null" if items is None else count_class(len(items))
    return "null" if reply.get("value") is None else "value"


def hash_parts(parts: Iterable[str]) -> bytes:
    """One hash of the hashes of all parts."""
    return hashlib.blake2b(b"".join(map(_hash_part, parts)), digest_size=HASH_SIZE).digest()


@lru_cache(maxsize=4096)
def _hash_part(part: str) -> bytes:
    data = part.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=HASH_SIZE).digest()


def _draw_body(view: Document) -> str:
    kind = str(view.get("body_kind"))
    if kind == "form":
        return " ".join(["form", *sorted({str(pair[0]) for pair in view["body"]})])
    return write_outline(draw_outline(view["body"])) if kind == "json" else kind


def _media_type(view: Document) -> str:
    for name, value in view.get("headers") or ():
        if name == "content-type":
            return str(value).partition(";")[0].strip().lower()
    return ""


def _size_of_body(message: Document) -> int:
    body = message.get("body")
    return len(body) if isinstance(body, bytes | str) else 0


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
