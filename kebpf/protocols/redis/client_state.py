"""What the commands of a connection, in the order sent, say about the replies to expect."""

from __future__ import annotations

from collections.abc import Iterable

from kebpf.protocols.redis.catalogue import (
    NEVER_QUEUED,
    SUBSCRIBING,
    UNSUBSCRIBING,
    command_name,
    subcommand_name,
)
from kebpf.protocols.redis.credentials import has_credentials, mask_credentials
from kebpf.protocols.redis.outstanding import Pending, Transaction
from kebpf.protocols.redis.stream import Message
from kebpf.protocols.redis.text import Text, to_printable

ENDS_BLOCK = frozenset({"EXEC", "DISCARD", "RESET", "QUIT"})


class ClientState:
    """Turns each command into what is due for it.

    ``db`` is the database in which the next command will run, ``None`` if the SELECT for it may
    have come before anything was seen.
    """

    def __init__(self, db: int | None, blocks: int = 0) -> None:
        self.db = db
        self.blocks = blocks  # numbers given to transactions of this connection so far
        self.transaction: Transaction | None = None
        self._watched: list[Text] = []
        self._block: int | None = None
        self._is_muted = False
        self._skips = 0
        self._subscribed: dict[str, set[Text]] = {}

    @property
    def has_subscriptions(self) -> bool:
        return any(self._subscribed.values())

    def expect(self, message: Message) -> Pending:
        """What is due for the command."""
        command: list[Text] = message.document["command"]
        name = command_name(command)
        inline = None if has_credentials(command) else message.document.get("inline")
        pending = Pending(
            mask_credentials(command), name, message.start, message.end, self.db, inline
        )
        if message.is_damaged:
            pending.problem = "part of the request was lost"
        self._note_transaction(pending)
        self._note_database(pending)
        if pending.transaction is None or name in NEVER_QUEUED:
            pending.replies_due = self._replies_due(name, command)
        pending.replies_due = self._apply_reply_mode(name, command, pending.replies_due)
        return pending

    def _note_transaction(self, pending: Pending) -> None:
        name = pending.name
        if name == "WATCH" and self.transaction is None:
            self._watched += pending.command[1:]
            self._open_block()
        is_first_multi = name == "MULTI" and self.transaction is None
        if is_first_multi:
            self.transaction = Transaction(pending.start, self._watched)
            self._open_block()
        pending.block = self._block
        pending.transaction = self.transaction if name != "QUIT" else None
        if name in ENDS_BLOCK or (name == "UNWATCH" and self.transaction is None):
            self._close_block()
        elif self.transaction and not is_first_multi:
            self.transaction.commands.append(pending.command)

    def _note_database(self, pending: Pending) -> None:
        """SELECT holds from where it is executed: inside MULTI that is at EXEC."""
        if pending.name == "RESET":
            self.db = 0
        elif pending.name == "EXEC" and pending.transaction:
            for command in pending.transaction.commands:
                self._select(command)
        elif pending.transaction is None:
            self._select(pending.command)

    def _select(self, command: list[Text]) -> None:
        if command_name(command) == "SELECT" and len(command) > 1:
            number = to_printable(command[1])
            self.db = int(number) if number.isdecimal() else None

    def refuse_select(self, refused: Pending, later: Iterable[Pending]) -> None:
        """A SELECT failed: what was sent after it ran in the database selected before."""
        for pending in later:
            pending.db = refused.db
            if pending.name in ("SELECT", "RESET"):
                return
        self.db = refused.db

    def _open_block(self) -> None:
        if self._block is None:
            self.blocks += 1
            self._block = self.blocks

    def _close_block(self) -> None:
        self.transaction = None
        self._watched = []
        self._block = None

    def _replies_due(self, name: str, command: list[Text]) -> int:
        if name in SUBSCRIBING:
            self._subscribed.setdefault(SUBSCRIBING[name], set()).update(command[1:])
            return max(1, len(command) - 1)
        if name in UNSUBSCRIBING:
            names = self._subscribed.setdefault(UNSUBSCRIBING[name], set())
            count = len(command) - 1 or len(names)
            names.difference_update(command[1:] if len(command) > 1 else set(names))
            return max(1, count)
        if name == "RESET":
            self._subscribed.clear()
        return 1

    def _apply_reply_mode(self, name: str, command: list[Text], due: int) -> int:
        """CLIENT REPLY OFF silences what follows, SKIP the next command, ON only itself speaks."""
        is_reply_mode = (
            name == "CLIENT" and subcommand_name(command) == "REPLY" and len(command) > 2
        )
        mode = to_printable(command[2]).upper() if is_reply_mode else ""
        if mode == "ON" or name == "RESET":
            self._is_muted, self._skips = False, 0
        elif mode == "OFF":
            self._is_muted = True
        elif mode == "SKIP" and not self._is_muted:
            self._skips = 2
        is_silent = self._is_muted or self._skips > 0
        self._skips = max(0, self._skips - 1)
        return 0 if is_silent else due
