"""Escaping, checked with the standard library's own parser."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from kebpf.report.html.markup import Html, escape_text, join, make, make_copyable, unfold
from kebpf.report.values import escape_controls


class Reading(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    found = Reading(make("p", text, title=text))
    assert found.tags == [("p", {"title": escape_controls(text)})]
    assert found.text == escape_controls(text)
    assert found.comments == []


def test_attributes_are_named_as_in_html() -> None:
    made = make("input", type="radio", class_="a", aria_label="b", checked=True, hidden=False)
    assert made == '<input type="radio" class="a" aria-label="b" checked>'


def test_markup_is_taken_as_it_is_and_text_is_not() -> None:
    assert join((Html("<b>"), "<b>")) == "<b>&lt;b&gt;"
    assert escape_text("\x1b\u202e\ud800") == "\\x1b\\u202e\\ud800"


def test_a_command_stands_in_one_element_beside_its_button() -> None:
    found = Reading(make_copyable("curl 'http://a/?b&c'", "as curl"))
    assert [tag for tag, _ in found.tags] == ["div", "button", "pre", "code"]
    assert found.text == "Copy as curlcurl 'http://a/?b&c'"


def test_what_unfolds_is_closed_unless_asked() -> None:
    assert unfold("a", "b") == "<details><summary>a</summary>b</details>"
    assert unfold("a", is_open=True, kind="k") == (
        '<details open class="k"><summary>a</summary></details>'
    )
