"""A call as the matcher sees it: its identity taken apart into leaves, and keys made of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.model import Endpoint
from kebpf.recording.peeking import pack_request
from kebpf.recording.values import find_tokens
from kebpf.replay.binding import Bindings, pair_tokens
from kebpf.replay.events import Mismatch
from kebpf.replay.noise import Noise

DATABASE = "/database"  # the leaf of what a call's connection is for
Key = int  # 64 bits; what has the same key is compared leaf by leaf before it is used
_KEY_BITS = (1 << 64) - 1
Leaves = dict[str, Any]

_MOST_OPERATION_TEXT = 4096
_KNOWN_SHAPES = 1024
_NUMBER = re.compile(r"\d+")
_NO_VALUE = object()  # what a null is in a key: no text is equal to it


_READS = re.compile(
    r"(?:SELECT|SHOW|GET|HEAD|OPTIONS|MGET|HGET|HMGET|HGETALL|EXISTS|TTL|PTTL|LRANGE|LLEN|SMEMBERS"
    r"|SISMEMBER|SCARD|ZRANGE|ZSCORE|ZCARD|HEXISTS|STRLEN|TYPE|KEYS|SCAN|CONFIG GET)\b",
    re.IGNORECASE,
)


def is_read_operation(operation: str) -> bool:
    """Whether an operation, by its first word, changes nothing."""
    return _READS.match(operation.lstrip()) is not None


class Perhaps(str):
    """A name in a recording that does not know it everywhere: unknown (empty) equals any.

    All of them look alike to a key, so that calls with and without a name keep their order.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return not self or not other or super().__eq__(other)

    def __hash__(self) -> int:
        return 0


@dataclass(slots=True)
class Call:
    """An outgoing call: ``actual`` leaves as made, ``recorded`` ones after the bindings.

    ``source`` is the whole request after the bindings.
    """

    destination: Endpoint
    spec: ProtocolSpec
    request: Document
    actual: Leaves
    recorded: Leaves
    operation: str = ""
    source: Document | None = None
    _key: Key | None = None
    _packed: bytes | None = None

    @property
    def protocol(self) -> str:
        """The name of its protocol."""
        return self.spec.name

    @property
    def description(self) -> str:
        """In one line, as it was made."""
        return self.spec.describe(self.request)

    def key(self) -> Key:
        """That of a mock which answers the call, if nothing in it was generated."""
        if self._key is None:
            self._key = make_key(self.destination, self.protocol, self.recorded)
        return self._key

    @property
    def packed(self) -> bytes | None:
        """`pack_request` of its source, if it can be stored."""
        if self._packed is None and self.source is not None:
            self._packed = pack_request(self.source)
        return self._packed


def make_call(
    destination: Endpoint,
    spec: ProtocolSpec,
    request: Document,
    bindings: Bindings,
    noise: Noise,
    is_vague: bool = False,
) -> Call:
    """Takes a request apart, as made and as it would have been in the recording.

    ``is_vague``: the recording does not know the database of every call to the destination.
    """
    actual = noise.clean(destination, leaves_of(spec.identity(request)), counts=True)
    translated = bindings.to_recorded(request)
    recorded = actual
    if translated is not request and translated != request:
        recorded = noise.clean(destination, leaves_of(spec.identity(translated)))
    if is_vague and recorded.get(DATABASE) is not None:  # session matters have none
        recorded = loosen(recorded)
    operation = str(recorded.get("/operation", ""))
    return Call(destination, spec, request, actual, recorded, operation, translated)


def leaves_of(tree: Any) -> Leaves:
    """Every scalar and every empty container of a tree by its JSON pointer."""
    found: Leaves = {}
    _add_leaves(tree, "", found)
    return found


def loosen(leaves: Leaves) -> Leaves:
    """The leaves with a database that is to be compared only where it is known."""
    if DATABASE not in leaves:
        return leaves
    return {**leaves, DATABASE: Perhaps(leaves[DATABASE] or "")}


def _add_leaves(tree: Any, path: str, found: Leaves) -> None:
    if tree and isinstance(tree, dict):
        for key, value in tree.items():
            step = str(key)
            if "~" in step or "/" in step:
                step = step.replace("~", "~0").replace("/", "~1")
            if value is None or type(value) is str:  # as most are
                found[f"{path}/{step}"] = value
            else:
                _add_leaves(value, f"{path}/{step}", found)
    elif tree and isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            if type(value) is str:
                found[f"{path}/{index}"] = value
            else:
                _add_leaves(value, f"{path}/{index}", found)
    else:
        found[path] = tree


def is_same(left: Any, right: Any) -> bool:
    """Equal in type and value: 1, 1.0, "1" and true all differ."""
    return type(left) is type(right) and bool(left == right or (left != left and right != right))


def make_key(
    destination: Endpoint, protocol: str, leaves: Leaves, without: Collection[str] = ()
) -> Key:
    """A hash of a call's leaves except those at some paths; another one in another process."""
    parts: list[Any] = [destination, protocol]
    for path in sorted(leaves):
        leaf = leaves[path]
        kind = type(leaf)
        # a left-out leaf is marked, so keys of other shapes are other keys
        if kind is Perhaps or (without and path in without):
            parts += (path, None)
        elif kind is str:
            parts += (path, leaf)
        elif leaf is None:
            parts += (path, _NO_VALUE)
        else:  # -1 and -2, 1 and true, no number and itself: `hash` is not as exact as a text
            parts += (path, kind, repr(leaf))
    return hash(tuple(parts)) & _KEY_BITS


def hash_text(text: str) -> Key:
    """64 bits of a text, as if random."""
    data = text.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def make_structure_key(destination: Endpoint, protocol: str, leaves: Leaves) -> Key:
    """A hash of a call's paths alone."""
    return make_key(destination, protocol, leaves, leaves)


def make_operation_key(destination: Endpoint, operation: str) -> Key:
    """A hash of a call's operation, in which ids and numbers count as equal."""
    return hash_text(f"{destination}\0{shape_operation(operation)}")


@lru_cache(_KNOWN_SHAPES)
def shape_operation(operation: str) -> str:
    """An operation with ``*`` for its ids and ``0`` for its numbers."""
    text = operation[:_MOST_OPERATION_TEXT]
    pieces, end = [], 0
    for token in find_tokens(text, None):
        pieces += [text[end : token.start], "*"]
        end = token.end
    return _NUMBER.sub("0", "".join([*pieces, text[end:]]))


def find_differences(expected: Leaves, call: Call, templates: dict[str, str]) -> list[Mismatch]:
    """What differs between a recorded call and an actual one, field by field."""
    found = []
    for path, value in expected.items():
        if path not in call.recorded:
            found.append(Mismatch(path, "missing", expected=value))
        elif not _agrees(path, value, call, templates.get(path)):
            found.append(Mismatch(path, "changed", value, call.actual.get(path)))
    extra = (path for path in call.recorded if path not in expected)
    return found + [Mismatch(path, "extra", actual=call.recorded[path]) for path in extra]


def _agrees(path: str, value: Any, call: Call, template: str | None) -> bool:
    if template is None:
        return is_same(value, call.recorded[path])
    return pair_tokens(template, value, call.actual.get(path)) is not None
