"""Identity, one-line description and plain view of request and response documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kebpf.protocols.base import Document
from kebpf.protocols.redis.catalogue import (
    command_name,
    is_session_command,
    subcommand_name,
)
from kebpf.protocols.redis.text import Text, to_printable

MAX_DESCRIPTION = 100
_PLAIN = frozenset("!#$%&()*+,-./:;<=>?@[]^_`{|}~")


def identify(request: Document) -> Document:
    """Operation, database and arguments, exactly; a transaction's commands in their order.

    A session command is the same in every database.  A recording joined in the middle of a
    connection does not know which database was selected: such a request has no ``db``, and is
    held to be in database 0.
    """
    command: list[Text] = request.get("command", [])
    db = 0 if is_session_command(command) else request.get("db") or 0
    identity: Document = {
        "operation": _name_operation(command),
        "db": db,
        "arguments": list(command[1:]),
    }
    if "queued" in request:
        identity["queued"] = [[command_name(c), *c[1:]] for c in request["queued"]]
    if request.get("watched"):
        identity["watched"] = list(request["watched"])
    for aside in ("pushed", "refused"):
        if request.get(aside):
            identity[aside] = True
    return identity


def _name_operation(command: list[Text]) -> str:
    """The command's name; with its second word where only that says whether it changes anything."""
    name = command_name(command)
    return f"CONFIG {subcommand_name(command)}" if name == "CONFIG" else name


def describe_request(request: Document) -> str:
    """The command as one would type it, cut at `MAX_DESCRIPTION` characters."""
    command: list[Text] = request.get("command", [])
    text = _describe_command(command)
    if "queued" in request:
        text = "; ".join(["MULTI", *map(_describe_command, request["queued"]), text])
    text += " (pushed)" if request.get("pushed") else ""
    text += " (not queued)" if request.get("refused") else ""
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"


def _describe_command(command: Sequence[Text]) -> str:
    words = [command_name(command), *(_quote(word) for word in command[1:])]
    return " ".join(words)


def _quote(word: Text) -> str:
    text = to_printable(word[: MAX_DESCRIPTION + 1])
    if text and all(c.isalnum() or c in _PLAIN for c in text):
        return text
    return json.dumps(text, ensure_ascii=False)


def view_message(message: Document) -> Any:
    """A request or response as a plain tree."""
    if "command" in message:
        return _view_request(message)
    if "replies" in message:
        return [view_reply(reply) for reply in message["replies"]]
    return view_reply(message["reply"])


def _view_request(request: Document) -> Document:
    view: Document = {"command": _view_command(request["command"])}
    if "queued" in request:
        view["queued"] = [_view_command(command) for command in request["queued"]]
    if request.get("watched"):
        view["watched"] = list(request["watched"])
    return view


def _view_command(command: Sequence[Text]) -> list[Any]:
    return [view_text(word) for word in command]


def view_reply(tree: Document) -> Any:
    """A reply as plain values; an error is ``{"error": text}``.

    A map whose keys are different strings is a ``dict``, any other a list of pairs.
    """
    type_ = tree["type"]
    if type_ in ("error", "bulk-error"):
        return {"error": tree["value"]}
    if type_ == "map":
        return _view_map(tree["items"])
    if type_ == "attribute":
        return {"attributes": _view_map(tree["items"]), "reply": view_reply(tree["reply"])}
    if "items" in tree:
        return [view_reply(item) for item in tree["items"]]
    if type_ == "streamed-bulk":
        return list(tree["chunks"])
    if type_ == "double":
        return _view_double(tree["value"])
    value = tree.get("value")
    return view_text(value) if type_ in ("bulk", "verbatim") else value


def _view_map(items: Sequence[Document]) -> Any:
    pairs = [(view_reply(k), view_reply(v)) for k, v in zip(items[::2], items[1::2], strict=True)]
    keys = [key for key, _ in pairs]
    is_plain = all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)
    return dict(pairs) if is_plain else [list(pair) for pair in pairs]


def _view_double(value: str) -> Any:
    number = float(value)
    return number if abs(number) < float("inf") else value


def view_text(value: Any) -> Any:
    """A string holding a JSON object becomes that object, if writing it again gives the string.

    So no difference between two strings is lost by looking at them decoded.
    """
    if not isinstance(value, str) or value[:1] != "{" or value[-1:] != "}":
        return value
    try:
        decoded = json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return value
    if "\\ud" in value.lower():  # half a surrogate pair could not be written anywhere
        return value
    return decoded if value in _write_json(decoded) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _write_json(value: Any) -> list[str]:
    return [
        json.dumps(value, ensure_ascii=is_ascii, separators=separators)
        for is_ascii in (True, False)
        for separators in ((",", ":"), (", ", ": "))
    ]
