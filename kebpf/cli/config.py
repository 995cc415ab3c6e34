"""Reads ``kebpf.yml``: the same keys as the command line, which wins over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kebpf.cli.errors import CommandUsageError
from kebpf.cli.options import LEAST_BACKLOG, MAX_PORT, MOST_BACKLOG, MOST_JOBS, ClockChoice
from kebpf.recording.dedup.leaving import DEFAULTS, LeaveOut
from kebpf.recording.dedup.reading import read_leave_out
from kebpf.recording.redaction.reading import read_redaction
from kebpf.recording.redaction.rules import Rules
from kebpf.replay.noise import NoiseRule

CONFIG_NAME = "kebpf.yml"
MAX_SECONDS = 1e9
MAX_SEED = 10**18
EMPTY_TAG = "tag:yaml.org,2002:null"


@dataclass(slots=True)
class Config:
    """What ``kebpf.yml`` says; what it does not say is ``None`` or empty.

    Times are in seconds, ``backlog`` in MiB; ``noise`` says what is not to be compared, ``redact``
    what to replace before it is written (``None``: nothing).
    """

    command: str | list[str] | None = None
    output: Path | None = None
    name: str | None = None
    user: str | None = None
    timeout: float | None = None
    delay: float | None = None
    shuffle: bool | int = False
    alone: bool = False
    clock: ClockChoice | None = None
    isolated: bool = False
    jobs: int | None = None
    rootless: bool = False
    duration: float | None = None
    noise: list[NoiseRule] = field(default_factory=list)
    cgroup: Path | None = None
    unit: str | None = None
    container: str | None = None
    port: list[int] = field(default_factory=list)
    exclude_port: list[int] = field(default_factory=list)
    inbound_only: bool = False
    backlog: int | None = None
    trust: list[Path] = field(default_factory=list)
    redact: Rules | None = field(default_factory=Rules)
    unique: bool = False
    leave_out: list[LeaveOut] | None = None

    def list_left_out(self, is_unique: bool) -> list[LeaveOut]:
        """The rules that hold: those given, else the usual ones where only what is unique stays."""
        if self.leave_out is not None:
            return self.leave_out
        return list(DEFAULTS) if is_unique else []


_NOISE = "a list of paths such as /body/updated_at, or of entries with path and reason"
_NOISE_KEYS = ("path", "reason", "call", "destination")


class _WrongValueError(Exception):
    """The text says what the value has to be."""


def load_config(folder: Path) -> Config:
    """Reads ``kebpf.yml`` in ``folder`` itself (not in those above it), if there is one.

    Raises `CommandUsageError` naming file, line and key.
    """
    path = folder / CONFIG_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandUsageError(f"{CONFIG_NAME} cannot be read: {_why(error)}") from error
    return parse_config(text)


def parse_config(text: str) -> Config:
    """Reads the text of a ``kebpf.yml``.  Raises `CommandUsageError`."""
    config = Config()
    seen: set[str] = set()
    for key, value, line in _entries(text):
        where = f"{CONFIG_NAME}, line {line}: {key}"
        if key not in _READERS:
            raise CommandUsageError(f"{where} is not a known key (known: {', '.join(_READERS)})")
        if key in seen:
            raise CommandUsageError(f"{where} is given twice")
        seen.add(key)
        try:
            setattr(config, key.replace("-", "_"), _READERS[key](value))
        except _WrongValueError as error:
            raise CommandUsageError(f"{where} must be {error}") from error
    return config


def _entries(text: str) -> Iterator[tuple[str, Any, int]]:
    """The keys of the document in order, each with its value and its line from 1."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None or node.tag == EMPTY_TAG:
            return
        if not isinstance(node, yaml.MappingNode):
            raise CommandUsageError(f"{CONFIG_NAME}, line 1: keys and values are expected")
        for key, value in node.value:
            yield str(key.value), loader.construct_object(value, deep=True), _line_of(key)
    except yaml.YAMLError as error:
        raise CommandUsageError(_describe_yaml_error(error)) from error


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _describe_yaml_error(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it holds characters YAML does not allow"
    where = f", line {mark.line + 1}" if mark else ""
    return f"{CONFIG_NAME}{where}: not valid YAML: {problem}"


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "error" if isinstance(error, OSError) else "it is not UTF-8"


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongValueError("a text")
    return value


def _read_path(value: Any) -> Path:
    return Path(_read_text(value))


def _read_command(value: Any) -> str | list[str]:
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return list(value)
    if isinstance(value, str) and value.strip():
        return value
    raise _WrongValueError("a text or a list of texts")


def _read_seconds(value: Any) -> float:
    if not _is_seconds(value):
        raise _WrongValueError("a number of seconds, 0 or more")
    return float(value)


def _read_positive_seconds(value: Any) -> float:
    if not _is_seconds(value) or value == 0:
        raise _WrongValueError("a number of seconds above 0")
    return float(value)


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < MAX_SECONDS


def _read_noise(value: Any) -> list[NoiseRule]:
    if not isinstance(value, list):
        raise _WrongValueError(_NOISE)
    return [_read_rule(entry) for entry in value]


def _read_rule(entry: Any) -> NoiseRule:
    fields = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        raise _WrongValueError(_NOISE)
    unknown = set(fields).difference(_NOISE_KEYS)
    if unknown:
        raise _WrongValueError(f"{_NOISE}; {min(map(str, unknown))} is no key of an entry")
    if not fields.get("path", "").startswith("/"):
        raise _WrongValueError(_NOISE)
    is_of_call = "call" in fields or "destination" in fields
    if is_of_call and not fields.get("reason", "").strip():
        raise _WrongValueError(f"{_NOISE}; an entry for calls needs a reason")
    call = {"call": fields.get("call", "*")} if is_of_call else {}
    return NoiseRule(**{**fields, **call})


def _read_redaction(value: Any) -> Rules | None:
    try:
        return read_redaction(value)
    except ValueError as error:
        raise _WrongValueError(str(error)) from error


def _read_ports(value: Any) -> list[int]:
    ports = value if isinstance(value, list) else [value]
    if not ports or not all(_is_number(port, 1, MAX_PORT) for port in ports):
        raise _WrongValueError(f"a port or a list of ports, each from 1 to {MAX_PORT}")
    return list(ports)


def _read_paths(value: Any) -> list[Path]:
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise _WrongValueError("a path or a list of paths")
    return [Path(path) for path in paths]


def _read_leave_out(value: Any) -> list[LeaveOut]:
    try:
        return read_leave_out(value)
    except ValueError as error:
        raise _WrongValueError(str(error)) from error


def _read_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError("true or false")
    return value


def _read_clock(value: Any) -> ClockChoice:
    try:
        return ClockChoice(value)
    except ValueError:
        raise _WrongValueError("real or recorded") from None


def _read_shuffle(value: Any) -> bool | int:
    if not isinstance(value, bool) and not _is_number(value, 0, MAX_SEED):
        raise _WrongValueError("true, false or a seed, a whole number")
    return bool(value) if isinstance(value, bool) else int(value)


def _read_backlog(value: Any) -> int:
    if not _is_number(value, LEAST_BACKLOG, MOST_BACKLOG):
        raise _WrongValueError(f"a whole number of MiB from {LEAST_BACKLOG} to {MOST_BACKLOG}")
    return int(value)


def _read_jobs(value: Any) -> int:
    if not _is_number(value, 1, MOST_JOBS):
        raise _WrongValueError(f"a whole number from 1 to {MOST_JOBS}")
    return int(value)


def _is_number(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


_READERS: dict[str, Callable[[Any], object]] = {
    "command": _read_command,
    "output": _read_path,
    "name": _read_text,
    "user": _read_text,
    "timeout": _read_positive_seconds,
    "delay": _read_seconds,
    "shuffle": _read_shuffle,
    "alone": _read_truth,
    "clock": _read_clock,
    "isolated": _read_truth,
    "jobs": _read_jobs,
    "rootless": _read_truth,
    "duration": _read_positive_seconds,
    "noise": _read_noise,
    "cgroup": _read_path,
    "unit": _read_text,
    "container": _read_text,
    "port": _read_ports,
    "exclude-port": _read_ports,
    "inbound-only": _read_truth,
    "backlog": _read_backlog,
    "trust": _read_paths,
    "redact": _read_redaction,
    "unique": _read_truth,
    "leave_out": _read_leave_out,
}
