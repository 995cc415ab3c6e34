"""What a server session takes from the recorded session exchanges of its destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kebpf.protocols.base import Document
from kebpf.protocols.redis.catalogue import bare_reply, command_name, error_text
from kebpf.protocols.redis.pushes import COMMAND_OF_KIND
from kebpf.protocols.redis.text import Text, to_printable

DEFAULT_VERSION = "7.0.15"
DEFAULT_GREETING: dict[str, Any] = {
    "server": "redis",
    "version": DEFAULT_VERSION,
    "mode": "standalone",
    "role": "master",
}
_NO_HELLO = ("ERR unknown command", "NOPROTO")


class Greetings:
    """The facts of one destination, read once a session."""

    def __init__(self, facts: Sequence[Document]) -> None:
        self.fields = dict(DEFAULT_GREETING)
        self.hello_error: Document | None = None
        self.pushes: dict[tuple[str, Text], list[Document]] = {}
        self.refusals: dict[tuple[Text, ...], Document] = {}  # what MULTI would not queue
        self.knows_database = False
        for fact in facts:
            self._learn(fact["request"], fact.get("response") or {})

    def _learn(self, request: Document, response: Document) -> None:
        reply = response.get("reply")
        if request.get("pushed"):
            self._learn_push(request["command"], reply)
            return
        if request.get("refused") and reply:
            self.refusals[tuple(request["command"])] = reply
            return
        if "db" in request:
            self.knows_database = True
        name = command_name(request.get("command", []))
        if name == "HELLO" and reply:
            self._learn_hello(reply)
        elif name == "INFO" and reply:
            self._learn_info(bare_reply(reply).get("value", ""))

    def _learn_push(self, command: list[Text], reply: Document | None) -> None:
        if reply and command[0] in COMMAND_OF_KIND.values():
            self.pushes.setdefault((str(command[0]), command[1]), []).append(reply)

    def _learn_hello(self, reply: Document) -> None:
        text = error_text(reply)
        if text is not None:
            if text.startswith(_NO_HELLO):
                self.hello_error = reply
            return
        for name, value in _pairs(bare_reply(reply)):
            if name in ("server", "version", "mode", "role"):
                self.fields[name] = value

    def _learn_info(self, text: Any) -> None:
        for line in to_printable(text).splitlines():
            name, _, value = line.partition(":")
            if name == "redis_version":
                self.fields["version"] = value

    def hello(self, version: int, identifier: int) -> Document:
        """The reply to HELLO: the server's recorded fields, this connection's own id."""
        items = [
            *_field("server", self.fields["server"]),
            *_field("version", self.fields["version"]),
            *_field("proto", version),
            *_field("id", identifier),
            *_field("mode", self.fields["mode"]),
            *_field("role", self.fields["role"]),
            {"type": "bulk", "value": "modules"},
            {"type": "array", "items": []},
        ]
        return {"type": "map", "items": items}

    def info(self) -> Document:
        """An INFO reply with what clients look for when they connect."""
        lines = [
            "# Server",
            f"redis_version:{self.fields['version']}",
            f"redis_mode:{self.fields['mode']}",
            "# Persistence",
            "loading:0",
            "# Replication",
            f"role:{self.fields['role']}",
            "# Cluster",
            "cluster_enabled:0",
        ]
        return {"type": "bulk", "value": "".join(line + "\r\n" for line in lines)}


def _field(name: str, value: Any) -> list[Document]:
    type_ = "integer" if isinstance(value, int) else "bulk"
    return [{"type": "bulk", "value": name}, {"type": type_, "value": value}]


def _pairs(tree: Document) -> Iterator[tuple[Any, Any]]:
    items = tree.get("items", [])
    for key, value in zip(items[::2], items[1::2], strict=False):
        yield key.get("value"), value.get("value")
