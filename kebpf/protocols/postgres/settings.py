"""Run-time settings and the transaction block of one served connection (sections 20, 13)."""

from __future__ import annotations

from kebpf.protocols.postgres.lexing import Statement, unquote_name

# What a server of version 15 reports (GUC_REPORT), with the values of a fresh cluster.
DEFAULT_PARAMETERS: dict[str, str] = {
    "application_name": "",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
    "integer_datetimes": "on",
    "IntervalStyle": "postgres",
    "is_superuser": "off",
    "server_encoding": "UTF8",
    "server_version": "15.0",
    "session_authorization": "postgres",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
}
_UNREPORTED_DEFAULTS = {
    "transaction_isolation": "read committed",
    "default_transaction_isolation": "read committed",
    "transaction_read_only": "off",
    "transaction_deferrable": "off",
    "bytea_output": "hex",
    "client_min_messages": "notice",
    "enable_seqscan": "on",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",
    "jit": "on",
    "lock_timeout": "0",
    "row_security": "on",
    "search_path": '"$user", public',
    "statement_timeout": "0",
    "synchronous_commit": "on",
    "work_mem": "4MB",
}
_SPELLINGS = {name.lower(): name for name in DEFAULT_PARAMETERS}
_ON = {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}
_SWITCHES = frozenset(("standard_conforming_strings", "default_transaction_read_only"))


class Settings:
    """The settings of one connection; changes are taken back where the server takes them back."""

    def __init__(self, parameters: dict[str, str], options: dict[str, str]) -> None:
        self.values = dict(parameters)
        self._changed: set[str] = set()
        self._local: dict[str, str | None] = {}
        self._before: dict[str, str] = {}
        for name, value in _startup_settings(options).items():
            self._set(name, value)
        self._changed.clear()
        self._initial = dict(self.values)

    def spell(self, name: str) -> str:
        """The setting's name as the server writes it."""
        return _SPELLINGS.get(name.lower(), name.lower())

    def get(self, name: str) -> str | None:
        """A value that is known here, whether set or default."""
        name = self.spell(name)
        return self.values.get(name, _UNREPORTED_DEFAULTS.get(name))

    def was_set(self, name: str) -> bool:
        """Whether this connection has changed it, if only back to its default."""
        return self.spell(name) in self._changed

    def begin(self) -> None:
        """A transaction block opened."""
        self._before = dict(self.values)
        self._local.clear()

    def end(self, is_committed: bool) -> dict[str, str]:
        """The block ended; gives what must be reported."""
        wanted = dict(self.values if is_committed else self._before)
        for name, value in self._local.items() if is_committed else ():
            if value is None:
                wanted.pop(name, None)
            else:
                wanted[name] = value
        self._local.clear()
        return self._replace(wanted)

    def apply(self, statement: Statement, in_block: bool) -> dict[str, str]:
        """What a ``SET`` changes, of the settings that are reported."""
        change = read_setting(statement)
        if change is None:
            return {}
        scope, name, value = change
        new = self._initial.get(self.spell(name)) if value is None else value
        if new is None:
            return self._forget(self.spell(name))
        return self.change(name, new, scope == "local", in_block)

    def _forget(self, name: str) -> dict[str, str]:
        """Back to a default that the server never told."""
        self.values.pop(name, None)
        self._changed.add(name)
        return {}

    def change(self, name: str, value: str, is_local: bool, in_block: bool) -> dict[str, str]:
        """Sets one setting, for the block only if ``is_local``; gives what must be reported."""
        name = self.spell(name)
        if is_local:
            if not in_block:
                return {}
            self._local.setdefault(name, self.values.get(name))
        return self._set(name, value)

    def adopt(self, parameters: dict[str, str]) -> dict[str, str]:
        """Takes values the recording says the server reported."""
        self._changed |= set(parameters)
        self.values.update(parameters)
        return parameters

    def reset(self) -> dict[str, str]:
        """``RESET ALL``, ``DISCARD ALL``."""
        self._changed.clear()
        return self._replace(dict(self._initial))

    def _set(self, name: str, value: str) -> dict[str, str]:
        self._changed.add(name)
        value = _canonical(name, value)
        if self.values.get(name) == value:
            return {}
        self.values[name] = value
        return {name: value} if name in DEFAULT_PARAMETERS else {}

    def _replace(self, wanted: dict[str, str]) -> dict[str, str]:
        changed = {n: v for n, v in wanted.items() if self.values.get(n) != v}
        self.values = wanted
        return {n: v for n, v in changed.items() if n in DEFAULT_PARAMETERS}


def _canonical(name: str, value: str) -> str:
    if name == "client_encoding":
        plain = value.upper().replace("-", "")
        return {"UTF8": "UTF8", "UNICODE": "UTF8"}.get(plain, value)
    if name == "DateStyle" and value.upper() == "ISO":
        return "ISO, MDY"
    if name in _SWITCHES:
        return _ON.get(value.lower(), value.lower())
    return value


def _startup_settings(options: dict[str, str]) -> dict[str, str]:
    """Settings of a StartupMessage, those in ``options`` (``-c name=value``) among them."""
    found = {}
    words = options.get("options", "").replace("\\ ", "\0").split()
    for flag, word in zip(words, [*words[1:], ""], strict=False):
        text = word if flag == "-c" else flag.removeprefix("-c").removeprefix("--")
        name, equals, value = text.partition("=")
        if equals and flag.startswith("-"):
            found[name] = value.replace("\0", " ")
    found.update({n: v for n, v in options.items() if n != "options" and not n.startswith("_pq_")})
    return {_SPELLINGS.get(n.lower(), n.lower()): v for n, v in found.items()}


def read_setting(statement: Statement) -> tuple[str, str, str | None] | None:
    """Scope, name and value (``None``: the default) of a plain ``SET`` or ``RESET name``."""
    tokens = list(statement.tokens[1:])
    if statement.verb == "reset" and len(tokens) == 1:
        return "session", unquote_name(tokens[0]), None
    scope = "session"
    if tokens and tokens[0].text in ("local", "session"):
        scope = tokens.pop(0).text
    if [t.text for t in tokens[:2]] == ["time", "zone"]:
        name, values = "TimeZone", tokens[2:]
    elif len(tokens) > 2 and tokens[1].text in ("to", "="):
        name, values = unquote_name(tokens[0]), tokens[2:]
    else:
        return None
    text = ", ".join(_plain(t.text, t.kind) for t in values if t.text != ",")
    return scope, name, None if text in ("default", "local") else text


def _plain(text: str, kind: str) -> str:
    if kind == "string" and text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return text.strip('"')


class Block:
    """The state of the transaction block: ``I``, ``T`` or ``E``, and its savepoints."""

    def __init__(self) -> None:
        self.status = "I"
        self._savepoints: list[str] = []

    def open(self) -> None:
        self.status = "T"
        self._savepoints.clear()

    def close(self) -> None:
        self.status = "I"
        self._savepoints.clear()

    def fail(self) -> None:
        """A statement failed: in a block, only ending it is left."""
        if self.status == "T":
            self.status = "E"

    def save(self, name: str) -> None:
        self._savepoints.append(name)

    def roll_back_to(self, name: str) -> bool:
        """``False`` if there is no such savepoint."""
        if not self._cut(name):
            return False
        self._savepoints.append(name)
        self.status = "T"
        return True

    def release(self, name: str) -> bool:
        """``False`` if there is no such savepoint."""
        return self._cut(name)

    def _cut(self, name: str) -> bool:
        for index in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[index] == name:
                del self._savepoints[index:]
                return True
        return False
