"""Writes what is not to be compared into ``kebpf.yml``, without touching what stands there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from kebpf.cli.config import CONFIG_NAME, parse_config
from kebpf.cli.errors import CommandUsageError, KebpfError
from kebpf.replay.noise import NoiseRule

_GLOB = re.compile(r"[*?\[]")
_INDEX = re.compile(r"(?<=/)\d+(?=/|$)")


def escape_glob(text: str) -> str:
    """A pattern that matches this very text."""
    return _GLOB.sub(lambda match: f"[{match.group()}]", text)


def suggest_path(path: str) -> str:
    """A pattern for the same field in every item of an array."""
    return _INDEX.sub("*", escape_glob(path))


def add_noise(folder: Path, rules: list[NoiseRule]) -> None:
    """Adds entries that are not there yet.  Raises `KebpfError` if it cannot be done."""
    path = folder / CONFIG_NAME
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = parse_config(text).noise
    new = [rule for rule in dict.fromkeys(rules) if rule not in known]
    if not new:
        return
    changed = _insert(text, [_write_entry(rule) for rule in new])
    try:
        is_right = parse_config(changed).noise == [*known, *new]
    except CommandUsageError:
        is_right = False
    if not is_right:
        entries = "".join(f"\n  - {_write_entry(rule)}" for rule in new)
        raise KebpfError(f"{CONFIG_NAME} cannot be changed; put under noise:{entries}")
    try:
        path.write_text(changed, encoding="utf-8")
    except OSError as error:
        raise KebpfError(f"{CONFIG_NAME} cannot be written: {error.strerror}") from error


def _write_entry(rule: NoiseRule) -> str:
    """One line of YAML."""
    fields = {}
    if rule.call:
        fields["call"] = rule.call
    if rule.destination != "*":
        fields["destination"] = rule.destination
    fields |= {"path": rule.path, "reason": rule.reason}
    line: str = yaml.safe_dump(
        fields, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    return line.strip()


def _insert(text: str, entries: list[str]) -> str:
    """Behind the entries that are there, in their indentation; else at the end of the file."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    node = _find_noise(text)
    if node is None:
        return "".join([*lines, "noise:\n", *(f"  - {entry}\n" for entry in entries)])
    if not node.flow_style and node.value:
        indent = " " * node.start_mark.column
        at = _line_behind(node.value[-1])
        return "".join([*lines[:at], *(f"{indent}- {entry}\n" for entry in entries), *lines[at:]])
    end = node.end_mark.index - 1  # of the closing bracket
    joined = (", " if node.value else "") + ", ".join(entries)
    return text[:end] + joined + text[end:]


def _line_behind(node: yaml.Node) -> int:
    """The number of the line that follows a node."""
    mark = node.end_mark
    return int(mark.line) + (1 if mark.column else 0)


def _find_noise(text: str) -> yaml.SequenceNode | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for key, value in pairs:
        if key.value == "noise" and isinstance(value, yaml.SequenceNode):
            return value
    return None
