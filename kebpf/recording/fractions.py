"""How many digits of a second a program prints at a place, where one time alone may not say.

Go and Python leave trailing zeros out, or the whole of them: one time in a thousand that has six
digits elsewhere ends behind three, and looks as if it were made in milliseconds.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

PLACES_CAP = 5_000  # remembered

_FRACTION = re.compile(r"\d\d:\d\d:\d\d\.(\d{1,9})(?!\d)")
_INDEX = re.compile(r"/\d+(?=/|\Z)")
_NOTATIONS = (".%3f", ".%f", ".%9f")  # each fits what those before it do


class Fractions:
    """Learns from messages that the program sent, by the place in them."""

    def __init__(self) -> None:
        self._widest: OrderedDict[str, int] = OrderedDict()  # place → index of `_NOTATIONS`

    def learn(self, texts: Iterable[tuple[str, str]]) -> None:
        """The texts of a message that was sent, with their JSON pointers."""
        for path, text in texts:
            if ":" in text and "." in text:
                for digits in _FRACTION.findall(text):
                    self._note(_INDEX.sub("/#", path), len(digits))

    def _note(self, place: str, size: int) -> None:
        rank = 2 if size > 6 else int(size != 3)
        if rank > self._widest.get(place, 0):
            self._widest[place] = rank
            if len(self._widest) > PLACES_CAP:
                self._widest.popitem(last=False)

    def widen(self, path: str, class_name: str) -> str:
        """The class of a time that was found at a path, with as many digits as stand there."""
        if "time:" not in class_name or not self._widest:
            return class_name
        widest = self._widest.get(_INDEX.sub("/#", path), 0)
        for narrower in _NOTATIONS[:widest]:
            class_name = class_name.replace(narrower, _NOTATIONS[widest])
        return class_name
