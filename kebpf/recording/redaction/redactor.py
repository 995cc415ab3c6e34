"""Learns the secrets of exchanges as they complete and puts what stands for them in their place.

Learning comes first and at once; what is written is written seconds later, so that a value which
only a later message shows to be a secret (a token that is stored before it is sent) is replaced
in the earlier one too.  What was written before its secret was known stays: see the
documentation of ``kebpf record``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kebpf.protocols.base import Document, Exchange
from kebpf.recording.model import RecordedExchange, Role
from kebpf.recording.redaction.assignments import Assignments
from kebpf.recording.redaction.calls import Calls
from kebpf.recording.redaction.editor import Learner, Writer
from kebpf.recording.redaction.names import PASSWORD, Names
from kebpf.recording.redaction.rules import Rules
from kebpf.recording.redaction.stored import Prover, Stored, pair_stored
from kebpf.recording.redaction.substitution import Substitution
from kebpf.recording.redaction.vault import Known, Vault, is_telling
from kebpf.recording.redaction.walking import Editor, Walker

_UNNAMED = "other"
_LEAST_ECHO = 3  # characters of a short secret that is looked for within its case


@dataclass(frozen=True, slots=True)
class Redacted:
    """An exchange as it may be written, and the secrets that the program sent in it.

    ``given`` are those of a response that were not in its request.
    """

    recorded: RecordedExchange
    sent: tuple[str, ...]
    given: tuple[str, ...] = ()


class Redactor:
    """``key`` makes what stands for a secret; it is never written."""

    def __init__(self, rules: Rules, key: bytes) -> None:
        self._names = Names(rules.names)
        self._patterns = rules.compile_patterns()
        self._assignments = Assignments(self._names, rules)
        self._walker = Walker(self._names, self._assignments)
        self._calls = Calls(self._names, self._assignments, self._walker)
        self._substitution = Substitution(key, self.redact_text)
        self._vault = Vault()
        self._prover = Prover()
        self._came_in = False
        self._learner = Learner(self._learn)
        self._has_common = False  # whether `list_common` can find any
        self.replaced: Counter[str] = Counter()  # different values by kind

    # learning

    def learn(self, recorded: RecordedExchange) -> None:
        """Takes an exchange as soon as it is complete."""
        is_served = recorded.role is Role.SERVER
        exchange = recorded.exchange
        self._came_in = is_served
        self._walk_request(exchange, self._learner)
        self._came_in = not is_served
        self._walk_response(exchange, self._learner)

    def _learn(self, value: str, kind: str) -> None:
        known = self._vault.get(value)
        if known is None:
            known = self._remember(value, kind)
            known.came_in, known.is_made = self._came_in, not self._came_in
        elif self._came_in:
            known.came_in = True

    def _remember(self, value: str, kind: str) -> Known:
        known = Known(value, kind, self._substitution.replace(value), False)
        self._vault.add(known)
        for part in self._substitution.list_parts(value):
            if is_telling(part) and self._vault.get(part) is None:
                self._vault.add(Known(part, kind, self._substitution.replace(part), False))
        self._has_common |= not is_telling(value)
        self.replaced[kind or _UNNAMED] += 1
        return known

    # writing

    def redact(self, recorded: RecordedExchange, echoes: Collection[str] = ()) -> Redacted:
        """The exchange with what stands for its secrets.

        ``echoes`` are secrets of the same case, of `list_common`.
        """
        exchange, is_served = recorded.exchange, recorded.role is Role.SERVER
        asking = self._make_writer(echoes, is_input=is_served)
        request = self._walk_request(exchange, asking)
        answering = self._make_writer(echoes, is_input=not is_served)
        response = self._walk_response(exchange, answering)
        if request is exchange.request and response is exchange.response:
            return Redacted(recorded, ())
        self._note_used(is_served, asking.used, answering.used)
        changed = replace(exchange, request=request, response=response)
        sent = answering if is_served else asking
        given = [value for value in answering.used if value not in asking.used and is_served]
        return Redacted(replace(recorded, exchange=changed), tuple(sent.used), tuple(given))

    def _note_used(
        self, is_served: bool, asked: Collection[str], answered: Collection[str]
    ) -> None:
        for value in {*asked, *answered}:
            known = self._vault.get(value)
            if known is not None:
                known.is_asked |= not is_served
                known.is_made |= is_served and value not in asked

    def redact_text(self, text: str) -> str:
        """Any text: a message, a command line."""
        find = self._assignments.find if self._names.may_hold(text.lower()) else None
        return self._make_writer().edit(text, find)

    def redact_command(self, words: Sequence[str]) -> list[str]:
        """A command line, in which ``--password`` may be a word of its own."""
        redacted: list[str] = []
        before = ""
        for word in words:
            kind = self._assignments.judge(before.lstrip("-"), word) if before[:1] == "-" else None
            is_option = word.startswith("-") or kind is None
            redacted.append(
                self.redact_text(word) if is_option else self._look_up(word, kind or "")
            )
            before = word
        return redacted

    def redact_tree(self, tree: Any) -> Any:
        """Any plain values."""
        return self._walker.walk_tree(tree, self._make_writer())

    def list_common(self, recorded: Iterable[RecordedExchange]) -> set[str]:
        """The secrets in these exchanges that are no more than a common word or number.

        They are not looked for everywhere, but what was sent may come back as it is.
        """
        found: set[str] = set()
        if not self._has_common:
            return found

        def note(value: str, kind: str) -> None:
            if len(value) >= _LEAST_ECHO and not is_telling(value):
                found.add(value)

        learner = Learner(note)
        for one in recorded:
            self._walk_request(one.exchange, learner)
            self._walk_response(one.exchange, learner)
        return found

    # what a program may check by itself

    def prove(self, request: RecordedExchange, calls: Sequence[RecordedExchange]) -> bool:
        """Makes the hashes anew that prove to be those of the passwords in a request.

        Whether one came in with an answer of which that could not be told.
        """
        passwords = [value for value, kind in self._list(request, True) if kind == PASSWORD]
        is_open = False
        for call in calls if passwords else ():
            for is_request in (True, False):
                found = self._list(call, is_request)
                for stored in pair_stored([value for value, kind in found if kind == PASSWORD]):
                    is_proved = self._remake(passwords, stored)
                    known = self._vault.get(stored.text)
                    is_own = known is not None and (known.is_made or known.is_proved)
                    is_open |= not (is_request or is_proved or is_own)
        return is_open

    def _remake(self, passwords: Sequence[str], stored: Stored) -> bool:
        for password in passwords:
            new = self._look_up(password, PASSWORD)
            made = self._prover.remake(password, stored, new, self.stand_in_of)
            if made is not None:
                known = self._vault.get(stored.text) or self._remember(stored.text, PASSWORD)
                known.is_proved = True
                self._vault.change(known, made)
                return True
        return False

    def list_credentials(self, recorded: RecordedExchange) -> list[str]:
        """What let a request in: the secrets of its target and its headers, and what is signed.

        One that is there twice is compared with itself, as is done against forged requests, unless
        it is signed.
        """
        message = recorded.exchange.request
        if recorded.exchange.protocol != "http" or not message:
            return []
        found: list[str] = []
        learner = Learner(lambda value, kind: found.append(value))
        self._walker.walk_http(message, learner)
        times = Counter(found)
        signed = list(filter(self.is_signed, times))
        found.clear()
        head = {"target": message["target"], "headers": message["headers"]}
        self._walker.walk_http(head, learner)
        return list(dict.fromkeys([*(one for one in found if times[one] == 1), *signed]))

    def is_signed(self, value: str) -> bool:
        """Whether the program can check a value by itself, whomever it asks besides."""
        return self._substitution.is_signed(value)

    def was_asked(self, value: str) -> bool:
        """Whether the program asked another for a value, or had it proved by what that said."""
        known = self._vault.get(value)
        return known is None or known.is_asked or known.is_proved

    def is_known_elsewhere(self, value: str) -> bool:
        """Whether the program made a credential itself, or asked another for it."""
        known = self._vault.get(value)
        return known is None or known.is_made or known.is_asked or known.is_proved

    def was_made(self, value: str) -> bool:
        """Whether the program sent a value before it came."""
        known = self._vault.get(value)
        return known is not None and known.is_made

    def _list(self, recorded: RecordedExchange, is_request: bool) -> list[tuple[str, str]]:
        """The secrets that tell by their place, with their kinds."""
        found: list[tuple[str, str]] = []
        learner = Learner(lambda value, kind: found.append((value, kind)))
        if is_request:
            self._walk_request(recorded.exchange, learner)
        else:
            self._walk_response(recorded.exchange, learner)
        return found

    def stand_in_of(self, value: str) -> str:
        """What stands for a secret that was found."""
        return self._look_up(value, "")

    def came_in(self, value: str) -> bool:
        """Whether a secret is known to have come to the program from outside."""
        known = self._vault.get(value)
        return known is not None and known.came_in

    def count_replaced(self) -> dict[str, int]:
        """How many different values were replaced, by kind, the most frequent first."""
        return dict(self.replaced.most_common())

    def _make_writer(self, echoes: Collection[str] = (), is_input: bool = False) -> Writer:
        look_up = self._look_up_input if is_input else self._look_up
        return Writer(self._vault, look_up, self._patterns, echoes)

    def _look_up(self, value: str, kind: str) -> str:
        known = self._vault.get(value) or self._remember(value, kind)
        return known.stand_in

    def _look_up_input(self, value: str, kind: str) -> str:
        known = self._vault.get(value) or self._remember(value, kind)
        known.came_in = True
        return known.stand_in

    # places

    def _walk_request(self, exchange: Exchange, editor: Editor) -> Document:
        request = exchange.request
        if not request:
            return request
        if exchange.protocol == "http":
            return self._walker.walk_http(request, editor)
        if exchange.protocol == "postgres":
            return self._calls.walk_query(request, editor)
        if exchange.protocol == "redis":
            return self._calls.walk_command(request, editor)
        return self._walk_tree(request, editor)

    def _walk_response(self, exchange: Exchange, editor: Editor) -> Document | None:
        response = exchange.response
        if not response:
            return response
        if exchange.protocol == "http":
            return self._walker.walk_http(response, editor)
        if exchange.protocol == "postgres":
            return self._calls.walk_rows(response, editor)
        if exchange.protocol == "redis":
            return self._calls.walk_reply(exchange.request, response, editor)
        return self._walk_tree(response, editor)

    def _walk_tree(self, document: Document, editor: Editor) -> Document:
        walked: Document = self._walker.walk_tree(document, editor)
        return walked
