"""One difference as a person who decides about it sees it, and what was decided."""

from __future__ import annotations

from kebpf.replay.review import Item
from kebpf.report.calls import show_call, title_call
from kebpf.report.differences import describe_mismatch, show_mismatch
from kebpf.report.lines import Line, Tone, indent, wrap
from kebpf.report.requests import show_request
from kebpf.report.values import cut, escape_controls

WIDTH = 80  # columns


def show_item(item: Item, number: int, total: int, width: int = WIDTH) -> list[Line]:
    """The case, the difference with both values, and why it cannot be accepted, if so."""
    where = escape_controls(item.case or "")
    head = f"({number} of {total}) {where}  {show_request(item.request)}"
    lines = [Line(""), Line(cut(head, width), Tone.HEADING)]
    if item.finding is not None:
        lines += indent(show_call(item.finding, width - 2, tone=Tone.BAD))
    for mismatch in item.mismatches:
        lines += indent(show_mismatch(mismatch, width - 2))
    if item.note is not None:
        lines += [Line(f"  {text}", Tone.WARNING) for text in wrap(item.note, width - 2)]
    if item.problem is not None:
        text = f"cannot be accepted: {escape_controls(item.problem)}"
        lines += [Line(f"  {part}", Tone.WARNING) for part in wrap(text, width - 2)]
    return lines


def title_item(item: Item) -> str:
    """The difference in one line."""
    if item.finding is not None:
        return title_call(item.finding)
    if item.mismatches:
        more = len(item.mismatches) - 1
        return describe_mismatch(item.mismatches[0]) + (f" and {more} more" if more else "")
    return escape_controls(item.problem or "")


def show_decision(decision: str, item: Item, width: int = WIDTH) -> Line:
    """``accepted  get-orders-1a2b  /body/total changed: recorded 5, came 6``."""
    name = escape_controls(item.case or "calls of no case")
    return Line(cut(f"{decision:<13} {name}  {title_item(item)}", width))
