"""Makes HTML of which every piece of content is escaped, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from kebpf.report.values import cut, escape_controls


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | Html
_VOID = frozenset({"meta", "input"})


def escape_text(text: str) -> Html:
    """Any text as content or as an attribute's value; what nobody would see is made visible."""
    return text if isinstance(text, Html) else Html(escape(escape_controls(text)))


def make(tag: str, *children: Content, **attributes: str | bool) -> Html:
    """An element.  ``class_`` is ``class``; ``True`` is an attribute without a value."""
    words = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not False:
            words.append(f'{name}="{escape_text(value)}"')
    head = f"<{' '.join(words)}>"
    return Html(head) if tag in _VOID else Html(f"{head}{join(children)}</{tag}>")


def join(parts: Iterable[Content]) -> Html:
    """Pieces one after the other."""
    return Html("".join(map(escape_text, parts)))


def make_code(text: str, limit: int) -> Html:
    """Text of a program, at most ``limit`` characters of it."""
    return make("code", cut(text, limit))


def make_copyable(text: str, label: str) -> Html:
    """A command with a button that copies it; without scripts it can still be selected."""
    button = make("button", f"Copy {label}", type="button", class_="copy")
    return make("div", button, make("pre", make("code", text)), class_="command")


def unfold(summary: Content, *children: Content, is_open: bool = False, kind: str = "") -> Html:
    """What is shown on demand."""
    return make("details", make("summary", summary), *children, open=is_open, class_=kind or False)
