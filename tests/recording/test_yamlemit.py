"""What is written fast is what PyYAML writes, and both of its readers read it back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kebpf.recording.casefile import read_case, write_case
from kebpf.recording.yamlemit import LONGEST_KEY, LONGEST_LINE, emit_yaml
from kebpf.recording.yamltext import BodyForm, dump_yaml, load_yaml
from tests.recording.builders import make_case, make_request, make_response
from tests.recording.test_casefile import ODD

INDICATORS = "#,[]{}&*!|>'\"%@`?:- .~=<\n"
lines = st.text(st.sampled_from("ab1" + INDICATORS), max_size=8)
numbers = st.integers().map(str) | st.floats().map(str) | st.integers(0, 9).map(lambda n: f"{n}e3")
texts = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | lines
    | numbers
    | st.sampled_from([*ODD, "Yes", "off", "0b1", "1_000", ".inf", "y", "1:30", "0o7", "...", "<<"])
    | st.lists(lines, min_size=2, max_size=4).map("\n".join)
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=4)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    maps = st.dictionaries(texts, inner, max_size=4)
    pairs = st.lists(texts, min_size=2, max_size=2)
    return st.lists(inner, max_size=4) | st.lists(pairs, max_size=3) | maps | maps.map(BodyForm)


trees = st.dictionaries(texts, st.recursive(scalars, _deeper, max_leaves=12), max_size=4)


class _PythonLoader(yaml.SafeLoader):
    """PyYAML's own reader, not libyaml's; it knows the tags of a case."""


def _construct(loader: Any, node: Any) -> Any:
    if node.tag == "!body":
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node).encode()


for _tag in ("!body", "!bytes"):
    _PythonLoader.add_constructor(_tag, _construct)


@settings(max_examples=400, deadline=None)
@example({"a": [["x", "y"], ["z"]], "b": [[["k", "v"]], {"c": "l1\n\n l2\n"}], "": BodyForm(k=1)})
@example({"a": 1e16, "b": -0.0, "c": 1e-7, "d": float("nan")})
@given(trees)
def test_it_writes_what_pyyaml_writes_and_it_reads_back(tree: dict[str, Any]) -> None:
    text = emit_yaml(tree)
    if text is None or not tree:
        return
    assert text == dump_yaml(tree)
    assert repr(load_yaml(text)) == repr(tree)
    assert repr(yaml.load(text, _PythonLoader)) == repr(tree)


@given(lines | numbers | st.sampled_from(["true", "~", "é", "a: b", "a #b", "- a", "0x1f", "="]))
def test_one_line_of_common_text_is_always_written(text: str) -> None:
    line = text.replace("\n", "")
    tree = {line: line, "list": [line, {"k": line}], "pair": [line, line]}
    assert emit_yaml(tree) == dump_yaml(tree)


@pytest.mark.parametrize(
    "value",
    [
        "a\tb",
        "a\r\nb",
        "\x85",
        "\u2028",
        "\ufeff",
        "😀",
        "\ud800",
        " a\nb",
        "a\n\n",
        "x" * (LONGEST_LINE + 1),
        float("inf"),
        b"bytes",
        [b"a", b"b"],
        [[b"a", b"b"]],
        ["a\nb", "c"],
        {"k" * (LONGEST_KEY + 1): 1},
        {"é" * LONGEST_KEY: 1},
        {1: 1},
        (1, 2),
        BodyForm(),
        object(),
    ],
)
def test_what_is_uncommon_is_left_to_pyyaml(value: Any) -> None:
    assert emit_yaml({"before": 1, "key": value}) is None


def test_a_case_with_an_uncommon_part_is_written_whole() -> None:
    case = make_case(request=make_request("/a\tb"), response=make_response(b"plain"))
    assert repr(read_case(write_case(case))) == repr(case)
