"""What came in and what was made so far, by the spellings under which a value is known."""

from __future__ import annotations

from collections import OrderedDict

from kebpf.recording import times
from kebpf.recording.digests import EMPTY, find_digests, is_digest_size
from kebpf.recording.intake import MOST_NUMBERS, Intake
from kebpf.recording.rawforms import raw_forms
from kebpf.recording.templates import is_time_class
from kebpf.recording.values import Token

_UNITS = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us", 19: "epoch_ns"}
MOST_CASE_TEXT = 4 << 20  # characters of one case's inputs that are searched for substrings


class Memory:
    """Keys in order of use, the oldest forgotten beyond a cap, each with a class name."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._classes: OrderedDict[str, str] = OrderedDict()

    def add(self, key: str, class_name: str = "") -> None:
        self._classes[key] = self._classes.get(key) or class_name
        self._classes.move_to_end(key)
        if len(self._classes) > self._cap:
            self._classes.popitem(last=False)

    def get(self, key: str) -> str | None:
        return self._classes.get(key)


class FirstSeen:
    """When each value first came in, the oldest forgotten beyond a cap.

    Cases are settled in the order in which they began, so what came in with a long one may be
    known before an earlier case is settled: only its time says that it was not there yet.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._times: OrderedDict[str, int] = OrderedDict()

    def add(self, key: str, time_ns: int) -> None:
        self._times[key] = min(self._times.get(key, time_ns), time_ns)
        self._times.move_to_end(key)
        if len(self._times) > self._cap:
            self._times.popitem(last=False)

    def is_older(self, key: str, time_ns: int) -> bool:
        first_ns = self._times.get(key)
        return first_ns is not None and first_ns <= time_ns


class CaseOrigins:
    """What came in during one case, searched for exact substrings, and what the case made.

    ``made`` says when the message that first held a value had been answered: what is sent after
    that is a later message.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._size = 0
        self._whole: str | None = None
        self._raws: list[bytes] = []
        self._numbers: dict[str, None] = {}
        self._digested: list[str] = []
        self._digests: set[str] = set(EMPTY)
        self.keys: set[str] = set()
        self.perhaps: set[str] = set()  # of what may have come in
        self.made: dict[str, int] = {}

    def add(self, intake: Intake) -> None:
        self._whole = None
        self._raws += intake.raws
        if len(self._numbers) < MOST_NUMBERS:
            self._numbers.update(dict.fromkeys(intake.numbers))
        self._digested += intake.telling
        if self._size + intake.size <= MOST_CASE_TEXT:
            self._texts += intake.texts
            self._size += intake.size
            return
        for text in intake.texts:
            if self._size + len(text) <= MOST_CASE_TEXT:
                self._texts.append(text)
                self._size += len(text)

    def holds(self, token: Token, keys: list[str]) -> bool:
        """Whether a value came in, written in this way or in another."""
        if keys[0] in self.keys:
            return True
        if self._whole is None:
            self._whole = "\n".join(self._texts)  # no token has a line end in it
            self._texts = [self._whole]
        if token.text.lower() in self._whole:
            return True
        if bool(self._raws) and self._holds_raw(token):
            return True
        is_hex = token.class_name.lower().startswith("hex:")
        return is_hex and is_digest_size(token.text) and self._holds_digested(token.text.lower())

    def _holds_digested(self, digest: str) -> bool:
        """Whether it is the digest of something that came in."""
        for text in self._digested:
            self._digests.update(find_digests(text))
        self._digested = []
        return digest in self._digests

    def find_told_shift(self, value: times.PrintedTime, window: times.Window) -> float | None:
        """Seconds by which a fine time lies beside the window, if so many came in."""
        if value.resolution_ns >= times.SECOND_NS:
            return None
        shifts = (sign * float(number) for number in self._numbers for sign in (1, -1))
        return next((one for one in shifts if times.is_in_shifted(value, one, window)), None)

    def _holds_raw(self, token: Token) -> bool:
        forms = raw_forms(token)
        return any(form in raw for form in forms for raw in self._raws)

    def holds_second(self, token: Token) -> bool:
        """Whether a finer time came in of which this whole second is all that is printed."""
        value = read_time(token.text)
        is_whole = value is not None and value.resolution_ns == times.SECOND_NS
        return value is not None and is_whole and second_key(value) in self.keys


def keys_of(token: Token) -> list[str]:
    """The spellings under which a token is the same value elsewhere, its own first."""
    if token.class_name.startswith("uuid"):
        return [token.text.replace("-", "").lower()]
    if token.class_name.lower().startswith(("hex:", "objectid")):
        return [token.text.lower()]
    if is_time_class(token.class_name) or token.class_name == "number":
        value = read_time(token.text)
        if value is not None and value.resolution_ns <= 1_000_000:
            keys = [f"us {value.time_ns // 1000}", f"ms {value.time_ns // 1_000_000}"]
            # with four digits or five of a second its last ones were zeros, left out
            return keys if value.resolution_ns < 1_000_000 else keys[1:]
    return [token.text]


def exact_keys(keys: list[str]) -> list[str]:
    """Those of `keys_of` that say as much as the value: a finer time's millisecond is any time's.

    Under load some answer to another case holds a time of nearly every millisecond.
    """
    is_finer = keys[0].startswith("us ") and not keys[0].endswith("000")
    return keys[:1] if is_finer else keys


def read_time(text: str) -> times.PrintedTime | None:
    """A printed time, or a number that is likely to be one."""
    value = times.parse_time(text)
    unit = unit_of(text) if value is None else None
    if unit is None:
        return value
    value = times.parse_epoch(text, unit)
    return value if value is not None and times.is_plausible(value) else None


def unit_of(number: str) -> str | None:
    """The epoch unit in which a number of so many digits can be a time of these decades."""
    whole, dot, _ = number.partition(".")
    unit = _UNITS.get(len(whole)) if whole.isdigit() else None
    return "epoch_f" if dot and unit == "epoch_s" else unit


def second_key(value: times.PrintedTime) -> str:
    """The whole second of a time, as a key beside those of `keys_of`."""
    return f"s {value.time_ns // times.SECOND_NS}"


def find_second_key(token: Token) -> str | None:
    """The key of the second in which a finer time lies."""
    is_time = is_time_class(token.class_name) or token.class_name == "number"
    value = read_time(token.text) if is_time else None
    if value is None or value.resolution_ns > 1_000_000:
        return None
    return second_key(value)
