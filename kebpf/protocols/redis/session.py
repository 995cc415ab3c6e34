"""Answers the commands that concern only the connection: HELLO, AUTH, SELECT, CLIENT, PING …

Each is told to the answerer.  What the connection's own state decides is synthesised; for the
rest the recorded response is taken where there is one.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from kebpf.protocols.base import Answerer, Document, ProtocolError
from kebpf.protocols.redis.catalogue import (
    SUBSCRIBING,
    UNSUBSCRIBING,
    command_name,
    error_text,
    subcommand_name,
    words,
)
from kebpf.protocols.redis.convert import convert_reply
from kebpf.protocols.redis.credentials import mask_credentials
from kebpf.protocols.redis.greetings import Greetings
from kebpf.protocols.redis.subscriptions import Subscriptions
from kebpf.protocols.redis.text import Text, to_bytes, to_printable

OK: Document = {"type": "simple", "value": "OK"}
_HARMLESS_CLIENT = words("SETINFO TRACKING CACHING NO-EVICT NO-TOUCH MAINT_NOTIFICATIONS")
_identifiers = itertools.count(1)


def make_error(text: str) -> Document:
    """An error reply, which is one line whatever the text holds."""
    return {"type": "error", "value": " ".join(text.split())}


class SessionState:
    """What a connection knows of itself."""

    def __init__(self, greetings: Greetings, answerer: Answerer) -> None:
        self.greetings = greetings
        self.identifier = next(_identifiers)
        self.subscriptions = Subscriptions(
            greetings.pushes,
            lambda command: answerer.peek({"command": command, "db": self.asked_db}),
        )
        self.is_closed = False
        self.reset()

    def reset(self) -> None:
        """As after RESET, or before anything was said."""
        self.version = 2
        self.db = 0
        self.name: Text = ""
        self.watched: list[Text] = []
        self.is_muted = False
        self.skips = 0
        self.subscriptions.clear()

    @property
    def is_resp2_subscriber(self) -> bool:
        return self.version == 2 and bool(self.subscriptions)

    @property
    def asked_db(self) -> int:
        """The database under which a call was recorded.

        If every recorded connection was joined in its middle, the recording does not know which
        one they had selected, and holds all calls to be in database 0.
        """
        return self.db if self.greetings.knows_database else 0

    def note_executed(self, commands: list[list[Text]]) -> None:
        """A transaction was executed; a SELECT in it holds from then on."""
        for command in commands:
            if command_name(command) == "SELECT":
                self.select(command)

    def select(self, command: list[Text]) -> bool:
        number = to_printable(command[1]) if len(command) == 2 else ""
        if not number.isdecimal():
            return False
        self.db = int(number)
        return True


class SessionCommands:
    """The handlers, by command name."""

    def __init__(self, state: SessionState, answerer: Answerer) -> None:
        self._state = state
        self._answerer = answerer
        self._handlers: dict[str, Callable[[list[Text], Document | None], list[Document]]] = {
            "HELLO": self._hello,
            "SELECT": self._select,
            "CLIENT": self._client,
            "PING": self._ping,
            "ECHO": self._echo,
            "QUIT": self._quit,
            "RESET": self._reset,
            "INFO": self._info,
            "COMMAND": self._command,
            "SCRIPT": self._script,
            **dict.fromkeys(SUBSCRIBING, self._subscribe),
            **dict.fromkeys(UNSUBSCRIBING, self._unsubscribe),
            **dict.fromkeys(words("AUTH READONLY READWRITE ASKING WATCH UNWATCH DISCARD"), _ok),
        }

    def answer(self, command: list[Text]) -> list[Document]:
        """The replies to a session command."""
        return self.answer_request({"command": command})

    def answer_request(self, request: Document) -> list[Document]:
        """As `answer`, for a request document that says more (what DISCARD threw away)."""
        command = request["command"]
        told = {**request, "command": mask_credentials(command), "db": self._state.asked_db}
        recorded = self._recorded_reply(told)
        handler = self._handlers.get(command_name(command), self._recorded_only)
        return [self._speak(reply) for reply in handler(command, recorded)]

    def _recorded_reply(self, request: Document) -> Document | None:
        response = self._answerer.session(request)
        if not response or "reply" not in response:
            return None
        reply: Document = response["reply"]
        try:
            is_resp3 = response.get("resp") == 3
            return convert_reply(reply, request, self._state.version, is_resp3)
        except ProtocolError:
            return None

    def _speak(self, reply: Document) -> Document:
        """In the version the connection speaks now (HELLO answers in the one it sets)."""
        return convert_reply(reply, {"command": [""]}, self._state.version)

    def _recorded_only(self, command: list[Text], recorded: Document | None) -> list[Document]:
        name = f"{command_name(command)} {subcommand_name(command)}".strip()
        return [recorded or make_error(f"KEBPF {name} was never recorded")]

    def _hello(self, command: list[Text], recorded: Document | None) -> list[Document]:
        state = self._state
        if state.greetings.hello_error:
            return [state.greetings.hello_error]
        version = to_printable(command[1]) if len(command) > 1 else str(state.version)
        if version not in ("2", "3"):
            return [make_error("NOPROTO unsupported protocol version")]
        state.version = int(version)
        words = [to_printable(word).upper() for word in command]
        if "SETNAME" in words[2:-1]:
            state.name = command[words.index("SETNAME", 2) + 1]
        return [state.greetings.hello(state.version, state.identifier)]

    def _select(self, command: list[Text], recorded: Document | None) -> list[Document]:
        if recorded and error_text(recorded) is not None:
            return [recorded]
        if not self._state.select(command):
            return [make_error("ERR invalid DB index")]
        return [OK]

    def _client(self, command: list[Text], recorded: Document | None) -> list[Document]:
        subcommand = subcommand_name(command)
        argument = command[2] if len(command) > 2 else ""
        if subcommand == "REPLY":
            return self._set_reply_mode(to_printable(argument).upper())
        if subcommand == "ID":
            return [{"type": "integer", "value": self._state.identifier}]
        if subcommand == "GETNAME":
            name = self._state.name
            return [{"type": "bulk", "value": name} if name else {"type": "null-bulk"}]
        if subcommand == "SETNAME":
            self._state.name = argument
            return [OK]
        if recorded is not None:
            return [recorded]
        if subcommand in _HARMLESS_CLIENT:
            return [OK]
        return self._recorded_only(command, recorded)

    def _set_reply_mode(self, mode: str) -> list[Document]:
        state = self._state
        if mode == "ON":
            state.is_muted, state.skips = False, 0
            return [OK]
        if mode == "OFF":
            state.is_muted = True
        elif mode == "SKIP":
            state.skips = 1
        else:
            return [make_error("ERR syntax error")]
        return []

    def _ping(self, command: list[Text], recorded: Document | None) -> list[Document]:
        argument = command[1] if len(command) > 1 else ""
        if self._state.is_resp2_subscriber:
            texts = ("pong", argument)
            return [{"type": "array", "items": [{"type": "bulk", "value": t} for t in texts]}]
        if len(command) > 1:
            return [{"type": "bulk", "value": argument}]
        return [{"type": "simple", "value": "PONG"}]

    def _echo(self, command: list[Text], recorded: Document | None) -> list[Document]:
        if len(command) != 2:
            return [make_error("ERR wrong number of arguments for 'echo' command")]
        return [{"type": "bulk", "value": command[1]}]

    def _quit(self, command: list[Text], recorded: Document | None) -> list[Document]:
        self._state.is_closed = True
        return [OK]

    def _reset(self, command: list[Text], recorded: Document | None) -> list[Document]:
        self._state.reset()
        return [{"type": "simple", "value": "RESET"}]

    def _info(self, command: list[Text], recorded: Document | None) -> list[Document]:
        return [recorded or self._state.greetings.info()]

    def _command(self, command: list[Text], recorded: Document | None) -> list[Document]:
        """Clients ask for the table only to complete what is typed: none need be known."""
        if recorded is not None:
            return [recorded]
        if subcommand_name(command) == "COUNT":
            return [{"type": "integer", "value": 0}]
        return [{"type": "array", "items": []}]

    def _script(self, command: list[Text], recorded: Document | None) -> list[Document]:
        """A script's name is its SHA-1; whether it gives an answer is seen when it is called."""
        if subcommand_name(command) == "LOAD" and len(command) == 3:
            digest = hashlib.sha1(to_bytes(command[2]), usedforsecurity=False).hexdigest()
            return [recorded or {"type": "bulk", "value": digest}]
        known: list[Document] = [{"type": "integer", "value": 1} for _ in command[2:]]
        return [recorded or {"type": "array", "items": known}]

    def _subscribe(self, command: list[Text], recorded: Document | None) -> list[Document]:
        if len(command) < 2:
            name = command_name(command).lower()
            return [make_error(f"ERR wrong number of arguments for '{name}' command")]
        return self._state.subscriptions.subscribe(command)

    def _unsubscribe(self, command: list[Text], recorded: Document | None) -> list[Document]:
        return self._state.subscriptions.unsubscribe(command)


def _ok(command: list[Text], recorded: Document | None) -> list[Document]:
    """What always succeeds; a password is not checked, as none is kept."""
    return [OK]
