"""Two messages line by line beside each other: what was recorded and what came."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, islice, zip_longest
from typing import Any

from kebpf.replay.events import Mismatch
from kebpf.replay.permutation import escape
from kebpf.report.html.markup import Content, Html, join, make, unfold
from kebpf.report.lines import count
from kebpf.report.values import cut_pair, escape_controls, to_json

MOST_LINES = 600  # of one message
MOST_WIDTH = 300  # characters of a line
CONTEXT = 3  # equal lines around a difference
HEX_WIDTH = 16
LINES_BEFORE = 40  # of a body, before the first difference
_PLACE = re.compile(r"/body/(line|offset)/(\d+)")
ACCEPTED = (
    "Dotted: accepted, because it is a fresh value of the same class, or this run's in place of "
    "the recorded one."
)
_HEADERS = ("headers", "trailers")
_NOT_SHOWN = frozenset({"body_kind"})


@dataclass(frozen=True, slots=True)
class BodyLine:
    """A line of a message; ``path`` is the JSON pointer of the value on it."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Row:
    """``kind`` is ``same``, ``alike`` (other text, accepted), ``changed``, ``missing``, ``extra``.

    ``left`` and ``right`` are what was recorded and what came.
    """

    kind: str
    left: str | None
    right: str | None


def show_beside(expected: Any, actual: Any, mismatches: Sequence[Mismatch]) -> Html:
    """Both messages; runs of lines that are as recorded are folded."""
    paths = [one.path for one in mismatches]
    first = find_first_line(paths)
    rows = align(list_lines(expected, first), list_lines(actual, first), paths)
    head = make("div", make("b", "recorded"), make("b", "came"), class_="row head")
    beside = make("div", head, *_fold(rows), class_="beside")
    return join((beside, make("p", ACCEPTED, class_="faint")) if _has_alike(rows) else (beside,))


def _has_alike(rows: Iterable[Row]) -> bool:
    return any(row.kind == "alike" for row in rows)


def find_first_line(paths: Iterable[str]) -> int:
    """From which line on a text or binary body is worth showing, from 0."""
    for path in paths:
        if found := _PLACE.fullmatch(path):
            number = int(found[2]) // (HEX_WIDTH if found[1] == "offset" else 1)
            return max(0, number - LINES_BEFORE)
    return 0


def list_lines(view: Any, first: int = 0) -> list[BodyLine]:
    """A decoded message as lines, up to a cap, which the last line then tells."""
    every = _list_message(view, first) if isinstance(view, dict) else _list_value(view, "")
    lines = list(islice(every, MOST_LINES + 1))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES] = BodyLine("… and more lines", "")
    return lines


def _list_message(view: dict[str, Any], first: int) -> Iterator[BodyLine]:
    for key, value in view.items():
        if key in _HEADERS and isinstance(value, list | tuple):
            yield from _list_headers(key, value)
        elif key == "body":
            yield from _list_body(value, first)
        elif key not in _NOT_SHOWN:
            yield from _list_value(value, f"/{escape(key)}", f"{key}: ")


def _list_headers(key: str, pairs: Iterable[Sequence[Any]]) -> Iterator[BodyLine]:
    seen: dict[str, int] = {}
    for name, value in pairs:
        name = str(to_json(name))
        number = seen[name] = seen.get(name, -1) + 1
        yield BodyLine(f"{name}: {to_json(value)}", f"/{key}/{name.lower()}/{number}")


def _list_body(body: Any, first: int) -> Iterator[BodyLine]:
    if isinstance(body, bytes | str) and first:
        yield BodyLine(f"… {count(first, 'line')} before", "/body")
    if isinstance(body, bytes):
        for at in range(first * HEX_WIDTH, len(body), HEX_WIDTH):
            piece = body[at : at + HEX_WIDTH]
            text = "".join(chr(one) if 32 <= one < 127 else "." for one in piece)
            yield BodyLine(f"{at:06x}  {piece.hex(' '):47}  {text}", f"/body/offset/{at}")
    elif isinstance(body, str):
        for number, line in enumerate(body.split("\n")[first:], start=first + 1):
            yield BodyLine(line, f"/body/line/{number}")
    elif body is not None:
        yield from _list_value(body, "/body")


def _list_value(
    value: Any, path: str, label: str = "", indent: str = "", end: str = ""
) -> Iterator[BodyLine]:
    if isinstance(value, dict | list | tuple) and value:
        yield from _list_container(value, path, label, indent, end)
    else:
        text = json.dumps(to_json(value), ensure_ascii=False, default=str)
        yield BodyLine(f"{indent}{label}{text}{end}", path)


def _list_container(
    value: dict[Any, Any] | Sequence[Any], path: str, label: str, indent: str, end: str
) -> Iterator[BodyLine]:
    is_object = isinstance(value, dict)
    opening, closing = "{}" if is_object else "[]"
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    yield BodyLine(f"{indent}{label}{opening}", f"{path}/")
    for number, (key, item) in enumerate(items, start=1):
        comma = "," if number < len(items) else ""
        name = f"{json.dumps(str(key), ensure_ascii=False)}: " if is_object else ""
        yield from _list_value(item, f"{path}/{escape(key)}", name, f"{indent}  ", comma)
    yield BodyLine(f"{indent}{closing}{end}", f"{path}/")


def align(
    left: Sequence[BodyLine], right: Sequence[BodyLine], mismatched: Collection[str]
) -> list[Row]:
    """Pairs the lines; those the comparison accepted are paired by their paths, not their text."""
    wrong = set(mismatched)
    keys = [[_key_of(line, wrong) for line in side] for side in (left, right)]
    rows: list[Row] = []
    codes = SequenceMatcher(a=keys[0], b=keys[1], autojunk=False).get_opcodes()
    for kind, start, stop, other, end in codes:
        pairs = zip_longest(left[start:stop], right[other:end])
        rows += (_make_row(one, two, is_equal=kind == "equal") for one, two in pairs)
    return rows


def _key_of(line: BodyLine, wrong: set[str]) -> tuple[str, str]:
    """Equal for lines that are as recorded: by the path if nothing was found wrong there."""
    if not wrong:
        return line.path, ""
    steps = line.path.split("/")
    above = ("/".join(steps[:size]) for size in range(1, len(steps) + 1))
    is_text = line.path.startswith(("/body/line/", "/body/offset/"))
    is_wrong = any(path in wrong for path in above) or (is_text and _is_in_body(wrong))
    return ("", line.text.rstrip(",")) if is_wrong or line.path.endswith("/") else (line.path, "")


def _is_in_body(wrong: Iterable[str]) -> bool:
    return any(path.startswith("/body") for path in wrong)


def _make_row(left: BodyLine | None, right: BodyLine | None, is_equal: bool) -> Row:
    if left is None or right is None:
        kind = "missing" if right is None else "extra"
    elif is_equal:
        kind = "same" if left.text.rstrip(",") == right.text.rstrip(",") else "alike"
    else:
        kind = "changed"
    return Row(kind, left.text if left else None, right.text if right else None)


def _fold(rows: Sequence[Row]) -> Iterator[Html]:
    runs = [list(run) for _, run in groupby(rows, key=lambda row: row.kind in ("same", "alike"))]
    for number, run in enumerate(runs):
        if run[0].kind not in ("same", "alike"):
            yield from map(_show_row, run)
            continue
        first = CONTEXT if number else 0
        last = CONTEXT if number < len(runs) - 1 else 0
        hidden = run[first : len(run) - last]
        if len(hidden) <= CONTEXT:
            yield from map(_show_row, run)
            continue
        yield from map(_show_row, run[:first])
        yield unfold(f"{count(len(hidden), 'line')} as recorded", *map(_show_row, hidden))
        yield from map(_show_row, run[len(run) - last :])


def _show_row(row: Row) -> Html:
    left, right = cut_pair(row.left or "", row.right or "", MOST_WIDTH)
    cells: tuple[Content, Content] = left, right
    if row.kind in ("changed", "alike"):
        cells = mark_difference(left, right)
    return make("div", *(make("code", cell) for cell in cells), class_=f"row {row.kind}")


def mark_difference(left: str, right: str) -> tuple[Html, Html]:
    """Both texts with their differing middles marked."""
    left, right = escape_controls(left), escape_controls(right)
    most = min(len(left), len(right))
    start = next((at for at in range(most) if left[at] != right[at]), most)
    rest = most - start
    end = next((at for at in range(rest) if left[-1 - at] != right[-1 - at]), rest)
    return _mark(left, start, end), _mark(right, start, end)


def _mark(text: str, start: int, end: int) -> Html:
    stop = len(text) - end
    middle = make("mark", text[start:stop]) if stop > start else ""
    return join((text[:start], middle, text[stop:]))
