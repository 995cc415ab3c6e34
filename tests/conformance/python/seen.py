"""Prints what a client library gave, a JSON object a line."""

import hashlib
import json
from collections.abc import Mapping, Set


def show(what: str, *values: object, **named: object) -> None:
    """A line: every value with its type."""
    line: dict[str, object] = {"what": what}
    if values:
        line["values"] = [tell(value) for value in values]
    line.update({name: tell(value) for name, value in named.items()})
    print(json.dumps(line, ensure_ascii=True), flush=True)


def tell(value: object) -> object:
    """A value as JSON: plain ones as they are, others with the name of their class."""
    if value is None or isinstance(value, bool):
        return value
    if type(value) in (int, str):
        return shorten(value) if isinstance(value, str) else value
    if isinstance(value, bytes | bytearray | memoryview):
        return {type(value).__name__: shorten(bytes(value))}
    if isinstance(value, Mapping):
        return {str(name): tell(one) for name, one in value.items()}
    if type(value) in (list, tuple) or type(value).__name__ in ("Row", "Record"):
        return [tell(one) for one in value]  # type: ignore[attr-defined]
    if isinstance(value, Set):
        return {type(value).__name__: sorted(map(repr, value))}
    return {type(value).__name__: repr(value)}


def shorten(value: str | bytes) -> str:
    """A long value as its size and digest."""
    raw = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    if len(raw) <= 200:
        return value if isinstance(value, str) else value.hex()
    return f"{len(raw)} bytes {hashlib.sha256(raw).hexdigest()[:16]}"


def show_changed(error: BaseException, usable: bool, code: object = None) -> None:
    """The last line of the form ``changed``."""
    line = {"changed": type(error).__name__, "code": code, "usable": usable}
    print(json.dumps(line), flush=True)
