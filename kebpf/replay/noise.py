"""What a person said not to compare, why, and how often it came to that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from kebpf.recording.model import Endpoint


@dataclass(frozen=True, slots=True)
class NoiseRule:
    """One entry of ``noise`` in ``kebpf.yml``.

    ``path`` is a JSON pointer as a glob (``*`` within a step, ``**`` for any number of steps)
    into the response or, where ``call``, a glob for operations, is given, into the arguments of
    these outgoing calls.  ``destination`` is a glob too, for calls only.
    """

    path: str
    reason: str = ""
    call: str = ""
    destination: str = "*"


@dataclass(frozen=True, slots=True)
class NoiseUse:
    """How many values a rule kept from being compared."""

    rule: NoiseRule
    count: int


class Noise:
    """The rules of a run and how often each applied."""

    def __init__(self, rules: Iterable[NoiseRule] = ()) -> None:
        self.rules = tuple(dict.fromkeys(rules))
        self._steps = {rule: rule.path.split("/") for rule in self.rules}
        self._of_calls = [rule for rule in self.rules if rule.call]
        self._of_responses = [rule for rule in self.rules if not rule.call]
        self._counts: Counter[NoiseRule] = Counter()

    @property
    def is_about_calls(self) -> bool:
        """Whether any rule is about calls."""
        return bool(self._of_calls)

    def is_in_response(self, path: str) -> bool:
        """Whether a path of a response is not to be compared; if so that is counted."""
        steps = path.split("/")
        for rule in self._of_responses:
            if matches_steps(steps, self._steps[rule]):
                self._counts[rule] += 1
                return True
        return False

    def clean(
        self, destination: Endpoint, leaves: dict[str, Any], counts: bool = False
    ) -> dict[str, Any]:
        """A call's leaves without those that are not to be compared, counted if asked for.

        The very ones that were given, where no rule is about them.
        """
        rules = self._rules_for(destination, leaves) if self._of_calls else []
        if not rules:
            return leaves
        kept = {}
        for path, value in leaves.items():
            rule = next((one for one in rules if self._applies(one, path)), None)
            if rule is None:
                kept[path] = value
            elif counts:
                self._counts[rule] += 1
        return kept

    def _rules_for(self, destination: Endpoint, leaves: Mapping[str, Any]) -> list[NoiseRule]:
        operation = " ".join(str(leaves.get("/operation", "")).split())
        return [
            rule
            for rule in self._of_calls
            if fnmatchcase(operation, rule.call) and fnmatchcase(str(destination), rule.destination)
        ]

    def _applies(self, rule: NoiseRule, path: str) -> bool:
        """The operation itself is what a rule is found by, so it is always compared."""
        return path != "/operation" and matches_steps(path.split("/"), self._steps[rule])

    def uses(self) -> list[NoiseUse]:
        """Every rule with its count, in the order they were given."""
        return [NoiseUse(rule, self._counts[rule]) for rule in self.rules]


def matches_steps(steps: list[str], pattern: list[str]) -> bool:
    """Whether the steps of a JSON pointer follow those of a pattern."""
    if not pattern or not steps:
        return not steps and all(step == "**" for step in pattern)
    if pattern[0] == "**":
        return matches_steps(steps, pattern[1:]) or matches_steps(steps[1:], pattern)
    return fnmatchcase(steps[0], pattern[0]) and matches_steps(steps[1:], pattern[1:])
