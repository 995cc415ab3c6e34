"""What a test case's file may say, and where it says something else: line, field, nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from kebpf.recording.loose import PERMUTATION
from kebpf.recording.model import Endpoint
from kebpf.recording.templates import match_template
from kebpf.recording.yamltext import BodyForm, compose_yaml

Step = str | int
_SCALARS = {
    "int": "a whole number", "str": "a text", "list": "a list", "map": "a mapping",
    "bool": "true or false",
}  # fmt: skip
_TYPES = {"int": int, "str": str, "list": list, "map": dict, "bool": bool}


class FieldError(ValueError):
    """A field is wrong; ``line`` counts from 1 (0: unknown)."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


class _WrongFieldError(Exception):
    def __init__(self, steps: Sequence[Step], text: str) -> None:
        super().__init__(text)
        self.steps = list(steps)
        self.text = text


_TOP = {
    "name": "str", "protocol": "str", "endpoint": "str", "request": "map", "response": "map",
    "generated": "map", "strength": "map", "calls": "list", "order": "int", "timing": "map",
    "verified": "list", "set_apart": "str", "kept_open": "bool", "tls": "map",
    "seen": "int", "shape": "str", "needs": "list",
}  # fmt: skip
_NEEDED = ("name", "protocol", "endpoint", "request", "response", "order", "timing")
_EMPTY_IS_NONE = ("generated", "calls", "needs", "verified", "set_apart", "strength", "tls")
_STRENGTH = {"exact": "int", "by_class": "int", "not_compared": "int"}
_TIMING = {"start_ns": "int", "end_ns": "int"}
_TLS = {"sni": "str", "alpn": "str", "version": "str"}
_BODY = {
    "json": "", "text": "str", "base64": "str", "raw": "str", "style": "str", "size": "int",
    "encoding": "str",
}  # fmt: skip
_CONTENT = {
    "version": "str", "headers": "list", "body": "", "trailers": "list", "framing": "str",
    "layout": "list",
}  # fmt: skip
_HTTP = {
    "request": {"method": "str", "target": "str", **_CONTENT},
    "response": {"status": "int", "reason": "str", **_CONTENT, "interim": "list"},
}
_HTTP_NEEDED = {
    "request": ("method", "target", "headers", "body"),
    "response": ("status", "headers", "body"),
}


def check_fields(tree: Mapping[str, Any], text: str | bytes) -> None:
    """Raises `FieldError` for what is missing, unknown, or not of its type."""
    try:
        _check_case(tree)
    except _WrongFieldError as problem:
        field = "/".join(map(str, problem.steps))
        told = f"{field}: {problem.text}" if field else problem.text
        raise FieldError(told, _find_line(text, problem.steps)) from problem


def _check_case(tree: Mapping[str, Any]) -> None:
    _check_map((), tree, _TOP, _NEEDED, _EMPTY_IS_NONE)
    _check_map(("strength",), tree.get("strength") or {}, _STRENGTH)
    _check_map(("timing",), tree["timing"], _TIMING, tuple(_TIMING))
    _check_map(("tls",), tree.get("tls") or {}, _TLS)
    for key in ("request", "response"):
        if tree["protocol"] == "http":
            _check_map((key,), tree[key], _HTTP[key], _HTTP_NEEDED[key])
            _check_headers(key, tree[key])
        form = tree[key].get("body")
        if isinstance(form, BodyForm):
            _check_map((key, "body"), form, _BODY)
    _check_endpoint(tree["endpoint"])
    for path, template in (tree.get("generated") or {}).items():
        _check_template(path, template)


def _check_map(
    steps: Sequence[Step],
    tree: Mapping[Any, Any],
    kinds: Mapping[str, str],
    needed: Sequence[str] = (),
    may_be_none: Sequence[str] = (),
) -> None:
    for key, value in tree.items():
        if key not in kinds:
            raise _WrongFieldError([*steps, key], f"no such field{_suggest(str(key), kinds)}")
        if value is not None or key not in may_be_none:
            _check_kind([*steps, key], value, kinds[key])
    for key in needed:
        if key not in tree:
            raise _WrongFieldError(steps, f"{key!r} is missing")


def _check_kind(steps: Sequence[Step], value: Any, kind: str) -> None:
    types = _TYPES.get(kind)
    is_truth = isinstance(value, bool)
    if types is not None and (not isinstance(value, types) or is_truth != (types is bool)):
        hint = ": put it in quotes" if kind == "str" and not isinstance(value, list | dict) else ""
        shown = repr(value) if isinstance(value, str | int | float) else _name_kind(value)
        raise _WrongFieldError(steps, f"{_SCALARS[kind]} is expected, not {shown[:60]}{hint}")


def _name_kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"


def _check_headers(key: str, message: Mapping[str, Any]) -> None:
    for name in ("headers", "trailers"):
        for number, pair in enumerate(message.get(name) or []):
            texts = isinstance(pair, list) and len(pair) == 2 and all(map(_is_text, pair))
            if not texts:
                text = "a pair of texts is expected, such as [Content-Type, text/plain]"
                raise _WrongFieldError([key, name, number], text)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _check_endpoint(text: str) -> None:
    try:
        Endpoint.parse(text)
    except ValueError:
        raise _WrongFieldError(
            ["endpoint"], f"{text!r} is no address, such as 127.0.0.1:8000"
        ) from None


def _check_template(path: Any, template: Any) -> None:
    steps: list[Step] = ["generated", path]
    if not (isinstance(path, str) and path.startswith("/")):
        raise _WrongFieldError(steps, "a path is expected, such as /body/id")
    _check_kind(steps, template, "str")
    problem = _find_template_problem(template)
    if problem is not None:
        raise _WrongFieldError(steps, problem)


@lru_cache(maxsize=4096)
def _find_template_problem(template: str) -> str | None:
    if template == PERMUTATION:
        return None
    try:
        match_template(template, "")
    except ValueError as error:
        return str(error)
    return None


def _suggest(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f" (is it {near[0]!r}?)" if near else f" (there are: {', '.join(known)})"


def _find_line(text: str | bytes, steps: Sequence[Step]) -> int:
    """Where the field begins, or the innermost that is there."""
    node = compose_yaml(text)
    line = 0
    for step in steps:
        found = next((pair for pair in _children(node) if pair[0] == step), None)
        if found is None:
            break
        _, mark, node = found
        line = mark.start_mark.line + 1
    return line


def _children(node: yaml.Node | None) -> Iterator[tuple[Step, yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key, value
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield number, value, value
