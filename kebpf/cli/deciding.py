"""Asks a person about one difference after the other; a letter and Enter answer."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TextIO

from kebpf.cli.lines import print_lines
from kebpf.cli.noisefile import escape_glob, suggest_path
from kebpf.replay.accepting import CannotAcceptError
from kebpf.replay.noise import NoiseRule, matches_steps
from kebpf.replay.review import Item
from kebpf.report.lines import Line, Tone, count
from kebpf.report.review import show_item

_NUMBER = re.compile(r"\d+")
_KEYS = "[a]ccept [r]eject [n]oise [s]kip, [c]ase, a[l]ike, [u]ndo [q]uit [?]"
_HELP = (
    "a  accept it: what came is what is recorded from now on",
    "r  reject it: the recording stays, the case goes on failing",
    "n  declare it noise, with a reason: it is compared no more (kebpf.yml)",
    "s  skip it for now",
    "c  accept all that is left of this case and can be accepted",
    "l  accept this one and all alike that are left",
    "u  undo the last decision",
    "q  write what was decided so far, and end",
)


class Decision(enum.Enum):
    """What became of a difference."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOISE = "noise"
    SKIPPED = "skipped"


Check = Callable[[Item, Sequence[Item]], None]  # raises `CannotAcceptError`


@dataclass(slots=True)
class Decisions:
    """What was decided of each item, by its place, and the noise that was declared."""

    items: list[Item]
    made: dict[int, Decision] = field(default_factory=dict)
    rules: dict[int, list[NoiseRule]] = field(default_factory=dict)
    has_quit: bool = False

    def of(self, decision: Decision) -> list[Item]:
        """The items that were decided so, in their order."""
        return [self.items[place] for place in sorted(self.made) if self.made[place] is decision]

    def list_rules(self) -> list[NoiseRule]:
        """The noise that was declared."""
        return [rule for place in sorted(self.rules) for rule in self.rules[place]]


class Asking:
    """One pass over the items; ``check`` says whether one can be accepted."""

    def __init__(self, items: Sequence[Item], check: Check, read: TextIO, out: TextIO) -> None:
        self._decisions = Decisions(list(items))
        self._check = check
        self._read = read
        self._out = out
        self._history: list[list[int]] = []

    def run(self) -> Decisions:
        """Asks until everything is decided or the person, or the input, ends it."""
        place = 0
        while place < len(self._decisions.items):
            if place in self._decisions.made:
                place += 1
                continue
            item = self._decisions.items[place]
            print_lines(self._out, show_item(item, place + 1, len(self._decisions.items)))
            answer = self._ask_key()
            if answer == "q":
                self._decisions.has_quit = True
                break
            place = self._undo(place) if answer == "u" else place
            if answer != "u":
                self._decide(place, answer)
        return self._decisions

    def _ask_key(self) -> str:
        """One of the letters; the end of the input quits."""
        while True:
            answer = self._ask(_KEYS)
            if answer is None:
                return "q"
            key = answer.strip().lower()[:1]
            if key and key in "arnsclu":
                return key
            if key == "q":
                return key
            print_lines(self._out, [Line(f"  {text}", Tone.FAINT) for text in _HELP])

    def _ask(self, text: str) -> str | None:
        self._out.write(f"{text} ")
        self._out.flush()
        line = self._read.readline()
        if not line:
            self._out.write("\n")
            return None
        return line.rstrip("\n")

    def _decide(self, place: int, key: str) -> None:
        item = self._decisions.items[place]
        if key == "r":
            self._note([place], Decision.REJECTED)
        elif key == "s":
            self._note([place], Decision.SKIPPED)
        elif key == "n":
            self._declare_noise(place, item)
        elif key == "a":
            self._accept([place], is_one=True)
        else:
            is_wanted = _is_same_case if key == "c" else _is_alike
            left = [
                other
                for other in range(len(self._decisions.items))
                if other not in self._decisions.made
                and is_wanted(item, self._decisions.items[other])
            ]
            self._accept(left)

    def _accept(self, places: Sequence[int], is_one: bool = False) -> None:
        accepted: list[int] = []
        for place in places:
            so_far = self._decisions.of(Decision.ACCEPTED)
            try:
                self._check(self._decisions.items[place], so_far)
            except CannotAcceptError as error:
                if is_one:
                    self._say(f"cannot be accepted: {error}", Tone.WARNING)
                continue
            accepted.append(place)
            self._decisions.made[place] = Decision.ACCEPTED
        if accepted:
            self._note(accepted, Decision.ACCEPTED)
        if not is_one:
            left = len(places) - len(accepted)
            more = f"; {left:,} cannot be" if left else ""
            self._say(f"accepted {count(len(accepted), 'difference')}{more}")

    def _declare_noise(self, place: int, item: Item) -> None:
        rules = suggest_rules(item)
        if not rules:
            self._say("a call that is missing or extra cannot be noise", Tone.WARNING)
            return
        if len(rules) == 1:
            path = self._ask(f"path [{rules[0].path}]:")
            if path is None:
                return
            if path.strip() and not path.strip().startswith("/"):
                self._say("a path begins with / (nothing was declared)", Tone.WARNING)
                return
            rules = [_with(rules[0], path=path.strip() or rules[0].path)]
        reason = (self._ask("reason:") or "").strip()
        if not reason:
            self._say("noise needs a reason (nothing was declared)", Tone.WARNING)
            return
        rules = [_with(rule, reason=reason) for rule in rules]
        self._decisions.rules[place] = rules
        alike = [
            other
            for other, one in enumerate(self._decisions.items)
            if other != place and other not in self._decisions.made and is_noise(one, rules)
        ]
        self._note([place, *alike], Decision.NOISE)
        if alike:
            self._say(f"that covers {count(len(alike), 'more difference')}")

    def _note(self, places: list[int], decision: Decision) -> None:
        for place in places:
            self._decisions.made[place] = decision
        self._history.append(places)

    def _undo(self, place: int) -> int:
        if not self._history:
            self._say("nothing was decided yet")
            return place
        places = self._history.pop()
        for one in places:
            del self._decisions.made[one]
            self._decisions.rules.pop(one, None)
        return min(places)

    def _say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        print_lines(self._out, [Line(text, tone)])


def suggest_rules(item: Item) -> list[NoiseRule]:
    """What would keep the difference from being compared; none for a call as a whole."""
    finding = item.finding
    if finding is None:
        return [NoiseRule(suggest_path(one.path)) for one in item.mismatches]
    fields = [one for one in finding.fields if one.path not in ("", "/operation")]
    if finding.kind != "changed" or len(fields) < len(finding.fields):
        return []
    call = escape_glob(" ".join(item.operation.split()))
    return [NoiseRule(suggest_path(one.path), call=call) for one in fields] if call else []


def is_noise(item: Item, rules: Sequence[NoiseRule]) -> bool:
    """Whether the rules leave nothing of the difference to be compared."""
    of_call = item.finding is not None
    paths = [one.path for one in (item.finding.fields if item.finding else item.mismatches)]
    operation = " ".join(item.operation.split())
    fitting = [
        rule.path.split("/")
        for rule in rules
        if bool(rule.call) is of_call and (not of_call or fnmatchcase(operation, rule.call))
    ]
    return bool(paths) and all(
        any(matches_steps(path.split("/"), steps) for steps in fitting) for path in paths
    )


def _with(rule: NoiseRule, path: str | None = None, reason: str | None = None) -> NoiseRule:
    return NoiseRule(
        rule.path if path is None else path,
        rule.reason if reason is None else reason,
        rule.call,
        rule.destination,
    )


def _is_same_case(item: Item, other: Item) -> bool:
    return item.case == other.case


def _is_alike(item: Item, other: Item) -> bool:
    return _shape(item) == _shape(other)


def _shape(item: Item) -> tuple[object, ...]:
    paths = [(one.kind, _NUMBER.sub("*", one.path)) for one in item.mismatches]
    finding = item.finding
    call = (finding.kind, finding.destination, finding.operation) if finding is not None else ()
    return item.problem is None, *paths, *call
