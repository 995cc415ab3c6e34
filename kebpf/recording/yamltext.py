"""YAML in which every value comes back exactly as it went in, and which people can read.

Text over several lines becomes a block where a block can hold it, strings that some YAML reader
could take for something else are quoted, bytes that are text are written as text under the tag
``!bytes`` (a list of header pairs carries the tag once), other bytes as ``!!binary``.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

try:
    from yaml import CSafeDumper as _BaseDumper
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML without libyaml: slower, otherwise the same
    from yaml import SafeDumper as _BaseDumper  # type: ignore[assignment]
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

BYTES_TAG = "!bytes"
BODY_TAG = "!body"
MAX_LINE = 1_000_000  # never fold: a folded line is hard to read in a comparison of versions

# What YAML 1.2 readers, but not this one, would take for a number.
_NUMBER_LIKE = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?")
_NEEDS_ESCAPES = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NOT_IN_A_BLOCK = re.compile(r"\A[\s]|[ \t]\n|[ \t]\Z|\n\t|\n\n\Z|\A\n*\Z")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class BodyForm(dict[str, Any]):
    """A message body in the readable form of `kebpf.recording.body`."""


class YamlError(ValueError):
    """Not valid YAML; ``line`` counts from 1 (0: unknown)."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


class _Dumper(_BaseDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _QuotingDumper(_Dumper):
    """Quotes every string: what is used if a file should ever not read back as written."""


class _Loader(_BaseLoader):
    """Without dates and ``=``: what a person writes unquoted stays a string."""


_DROPPED_TAGS = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _DROPPED_TAGS]
    for first, pairs in _BaseLoader.yaml_implicit_resolvers.items()
}


def as_readable_text(data: bytes) -> str | None:
    """The bytes as text if they are UTF-8 without control characters, else ``None``."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if _UNREADABLE.search(text) else text


def pick_style(text: str) -> str | None:
    """The style in which a text is asked for; ``None``: PyYAML's choice."""
    if _NEEDS_ESCAPES.search(text):
        return '"'
    if "\n" in text:
        return '"' if _NOT_IN_A_BLOCK.search(text) else "|"
    return "'" if _NUMBER_LIKE.fullmatch(text) else None


def _represent_str(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=pick_style(text))


def _represent_quoted(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


def _represent_bytes(dumper: Any, data: bytes) -> Any:
    text = as_readable_text(data)
    if text is None:
        return dumper.represent_binary(data)
    return dumper.represent_scalar(BYTES_TAG, text, style=pick_style(text) or "'")


def looks_like_other(text: str) -> bool:
    """Whether some reader would take the unquoted line for something else than text."""
    if _NUMBER_LIKE.fullmatch(text):
        return True
    resolvers = _Dumper.yaml_implicit_resolvers.get(text[:1], ())
    return any(pattern.match(text) for _tag, pattern in resolvers)


def is_pair(value: Any) -> bool:
    """Whether it is written in one line: two short texts, such as a header's name and value."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(item, str | bytes) and len(item) < 4096 for item in value)
    )


def _as_text_pairs(pairs: list[Any]) -> list[list[str]] | None:
    """Pairs of bytes as pairs of text, or ``None`` if that is not what they are."""
    texts: list[list[str]] = []
    for pair in pairs:
        if not (is_pair(pair) and all(isinstance(item, bytes) for item in pair)):
            return None
        decoded = [as_readable_text(item) for item in pair]
        if None in decoded:
            return None
        texts.append([item for item in decoded if item is not None])
    return texts or None


def _represent_list(dumper: Any, items: list[Any]) -> Any:
    text_pairs = _as_text_pairs(items)
    if text_pairs is not None:
        return dumper.represent_sequence(BYTES_TAG, text_pairs, flow_style=False)
    flow = is_pair(items) or not items
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


def _represent_body(dumper: Any, form: BodyForm) -> Any:
    return dumper.represent_mapping(BODY_TAG, form, flow_style=False)


for _cls in (_Dumper, _QuotingDumper):
    _cls.add_representer(str, _represent_str if _cls is _Dumper else _represent_quoted)
    _cls.add_representer(bytes, _represent_bytes)
    _cls.add_representer(list, _represent_list)
    _cls.add_representer(BodyForm, _represent_body)


def _encode_deep(value: Any) -> Any:
    if isinstance(value, list):
        return [_encode_deep(item) for item in value]
    return value if isinstance(value, bytes) else str(value).encode()


def _construct_bytes(loader: Any, node: Any) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [
            [_encode_deep(loader.construct_object(item, deep=True)) for item in pair.value]
            if isinstance(pair, yaml.SequenceNode)
            else _encode_deep(loader.construct_object(pair, deep=True))
            for pair in node.value
        ]
    return loader.construct_scalar(node).encode()


def _construct_body(loader: Any, node: Any) -> BodyForm:
    return BodyForm(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(BYTES_TAG, _construct_bytes)
_Loader.add_constructor(BODY_TAG, _construct_body)


def dump_yaml(value: Any, quote_all: bool = False) -> str:
    """Writes a tree of plain values.  Raises ``YamlError`` for what YAML cannot hold."""
    dumper = _QuotingDumper if quote_all else _Dumper
    try:
        text: str = yaml.dump(
            value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=MAX_LINE
        )
    except (yaml.YAMLError, RecursionError, UnicodeError) as error:
        raise YamlError(f"cannot be written as YAML: {error}", 0) from error
    return text


def compose_yaml(text: str | bytes) -> yaml.Node | None:
    """The nodes of what can be loaded, which know their lines."""
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def load_yaml(text: str | bytes) -> Any:
    """Reads what ``dump_yaml`` or a person wrote.  Raises ``YamlError``."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "not YAML", mark.line + 1 if mark else 0) from error
    except (yaml.YAMLError, RecursionError, UnicodeError, ValueError) as error:
        raise YamlError(str(error).splitlines()[0] if str(error) else "not YAML", 0) from error
