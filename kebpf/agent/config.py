"""Reads the agent's configuration, ``/etc/kebpf/kebpf.yml``; errors name file and line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kebpf.agent.fields import (
    Reader,
    WrongValueError,
    read_address,
    read_left_out,
    read_name,
    read_path,
    read_ports,
    read_rate,
    read_redacted,
    read_seconds,
    read_share,
    read_size,
    read_text,
    read_truth,
)
from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut
from kebpf.recording.redaction.rules import Rules

CONFIG_PATH = Path("/etc/kebpf/kebpf.yml")
OUTPUT_FOLDER = Path("/var/lib/kebpf")
RUN_FOLDER = Path("/run/kebpf")
DEFAULT_BACKLOG = 64 << 20  # bytes
LEAST_BACKLOG = 4 << 20
LEAST_DISK = 16 << 20
#: How a target may be said, each with the key's meaning.
KINDS = ("unit", "cgroup", "executable", "listen", "container-label")
_EMPTY_TAG = "tag:yaml.org,2002:null"


class ConfigError(Exception):
    """One sentence with file, line and reason."""


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """One thing to follow: ``kind`` is one of `KINDS`, ``pattern`` what was given for it."""

    name: str
    kind: str
    pattern: str
    ports: tuple[int, ...] = ()
    excluded_ports: tuple[int, ...] = ()
    is_inbound_only: bool = False

    def describe(self) -> str:
        """``unit shop.service``."""
        return f"{self.kind.replace('-', ' ')} {self.pattern}"


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of that which was recorded is kept: only ``unique`` requests, none to ``leave_out``.

    Secrets are replaced by the rules in ``redact``; ``None``: they are not.
    """

    unique: bool = True
    leave_out: tuple[LeaveOut, ...] = DEFAULTS
    redact: Rules | None = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the agent may use: bytes, and ``cpu`` in processors; ``None`` for no limit.

    ``backlog`` is memory for what was captured and is not parsed yet, and ``rate`` bytes a second
    that are recorded, both of each target; ``disk`` is for all test sets.
    """

    memory: int | None = None
    cpu: float | None = None
    backlog: int = DEFAULT_BACKLOG
    disk: int | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """``user`` is who parses what was recorded; ``None``: kebpf, where there is such a user.

    ``metrics`` is a path or (host, port); ``stop_seconds`` is how long an end may take."""

    targets: tuple[TargetConfig, ...] = ()
    output: Path = OUTPUT_FOLDER
    socket: Path = RUN_FOLDER / "agent.sock"
    metrics: Path | tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)
    stop_seconds: float = 80.0
    keeping: Keeping = field(default_factory=Keeping)
    user: str | None = None


_LIMITS: dict[str, Reader] = {
    "memory": read_size,
    "cpu": read_share,
    "backlog": read_size,
    "disk": read_size,
    "rate": read_rate,
}
_KEYS: dict[str, Reader] = {
    "output": read_path,
    "socket": read_path,
    "metrics": read_address,
    "stop-seconds": read_seconds,
    "user": read_name,
}
_KEEPING: dict[str, Reader] = {
    "unique": read_truth,
    "leave-out": read_left_out,
    "redact": read_redacted,
}
_FILTERS: dict[str, Reader] = {
    "port": read_ports,
    "exclude-port": read_ports,
    "inbound-only": read_truth,
}
_FIELDS = {"port": "ports", "exclude-port": "excluded_ports", "inbound-only": "is_inbound_only"}
_SELECTORS: dict[str, Reader] = {
    "unit": read_text,
    "cgroup": read_text,
    "executable": read_text,
    "listen": read_ports,
    "container-label": read_text,
}


def load_config(path: Path) -> AgentConfig:
    """Raises `ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: it is not UTF-8") from error
    return parse_config(text, path)


def parse_config(text: str, path: Path = CONFIG_PATH) -> AgentConfig:
    """Raises `ConfigError`."""
    return _Parser(str(path)).parse(text)


class _Parser:
    """Reads one file; its errors name it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def parse(self, text: str) -> AgentConfig:
        try:
            node = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise self._explain(error) from error
        if node is None or node.tag == _EMPTY_TAG:
            raise ConfigError(f"{self._path}: it is empty; name at least one target under targets:")
        values: dict[str, Any] = {}
        known = ("targets", "limits", *_KEYS, *_KEEPING)
        entries = self._entries(node, "keys and values", known)
        kept = [key for key in _KEEPING if key in entries]
        read = {key: self._read(key, _KEEPING[key], entries.pop(key)) for key in kept}
        values["keeping"] = Keeping(**{key.replace("-", "_"): one for key, one in read.items()})
        for key, value in entries.items():
            if key == "targets":
                values["targets"] = self._read_targets(value)
            elif key == "limits":
                values["limits"] = self._read_limits(value)
            else:
                values[key.replace("-", "_")] = self._read(key, _KEYS[key], value)
        if not values.get("targets"):
            raise self._error(node, "no target is named; name at least one under targets:")
        return AgentConfig(**values)

    def _read_limits(self, node: yaml.Node) -> Limits:
        entries = self._entries(node, "limits: keys and values", tuple(_LIMITS))
        read = {key: self._read(key, _LIMITS[key], value) for key, value in entries.items()}
        if read.get("backlog", DEFAULT_BACKLOG) < LEAST_BACKLOG:
            raise self._error(entries["backlog"], f"backlog must be {LEAST_BACKLOG >> 20}M or more")
        if read.get("disk", LEAST_DISK) < LEAST_DISK:
            raise self._error(entries["disk"], f"disk must be {LEAST_DISK >> 20}M or more")
        return Limits(**read)

    def _read_targets(self, node: yaml.Node) -> tuple[TargetConfig, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(node, "targets must be a list")
        found: dict[str, TargetConfig] = {}
        for entry in node.value:
            target = self._read_target(entry)
            if target.name in found:
                raise self._error(
                    entry, f"two targets are called {target.name}; give one another name"
                )
            found[target.name] = target
        return tuple(found.values())

    def _read_target(self, node: yaml.Node) -> TargetConfig:
        known = ("name", *KINDS, *_FILTERS)
        entries = self._entries(node, "a target: keys and values", known)
        kinds = [kind for kind in KINDS if kind in entries]
        if len(kinds) != 1:
            raise self._error(node, f"a target needs exactly one of {', '.join(KINDS)}")
        [kind] = kinds
        pattern = self._read_pattern(kind, entries[kind])
        name = self._read("name", read_name, entries["name"]) if "name" in entries else None
        name = name or name_target(kind, pattern)
        if name is None:
            raise self._error(node, "the target needs a name: none can be made of what it says")
        filters = {
            _FIELDS[key]: self._read(key, reader, entries[key])
            for key, reader in _FILTERS.items()
            if key in entries
        }
        return TargetConfig(name, kind, pattern, **filters)

    def _read_pattern(self, kind: str, node: yaml.Node) -> str:
        value = self._read(kind, _SELECTORS[kind], node)
        if kind == "listen":
            return ", ".join(map(str, value))
        text = str(value)
        if kind == "unit" and ("/" in text or text.startswith("-")):
            raise self._error(node, "unit must be a unit's name, such as shop.service")
        if kind == "unit" and not text.endswith((".service", ".scope", ".slice")):
            return f"{text}.service"
        if kind in ("cgroup", "executable") and not text.startswith("/"):
            raise self._error(node, f"{kind} must be a path from / on")
        return text

    def _entries(
        self, node: yaml.Node, expected: str, known: tuple[str, ...]
    ) -> dict[str, yaml.Node]:
        """The keys of a mapping, with ``-`` for ``_``."""
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{expected} are expected")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value).replace("_", "-")
            if name not in known:
                text = f"{key.value} is not a known key here (known: {', '.join(known)})"
                raise self._error(key, text)
            if name in found:
                raise self._error(key, f"{key.value} is given twice")
            found[name] = value
        return found

    def _read(self, key: str, reader: Reader, node: yaml.Node) -> Any:
        try:
            loader = yaml.SafeLoader("")
            return reader(loader.construct_object(node, deep=True))
        except WrongValueError as error:
            raise self._error(node, f"{key} must be {error}") from error
        except yaml.YAMLError as error:
            raise self._explain(error) from error

    def _error(self, node: yaml.Node, reason: str) -> ConfigError:
        return ConfigError(f"{self._path}, line {node.start_mark.line + 1}: {reason}")

    def _explain(self, error: yaml.YAMLError) -> ConfigError:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it holds characters YAML does not allow"
        where = f", line {mark.line + 1}" if mark else ""
        return ConfigError(f"{self._path}{where}: not valid YAML: {problem}")


def name_target(kind: str, pattern: str) -> str | None:
    """What a target is called that has no name: ``shop`` for the unit ``shop.service``."""
    if kind == "listen":
        return f"port-{pattern.replace(', ', '-')}"
    last = pattern.rstrip("/").rpartition("=" if kind == "container-label" else "/")[2]
    last = last.rpartition(".")[0] if kind == "unit" else last
    try:
        return read_name(last.replace("@", "-").replace("*", "").strip("-."))
    except WrongValueError:
        return None
