"""Keeps passwords out of documents: each becomes ``***``."""

from __future__ import annotations

from collections.abc import Callable

from kebpf.protocols.redis.catalogue import command_name, subcommand_name
from kebpf.protocols.redis.text import Text, to_printable

MASK = "***"
_SECRET_SETTINGS = frozenset({"REQUIREPASS", "MASTERAUTH", "TLS-KEY-FILE-PASS"})


def mask_credentials(command: list[Text]) -> list[Text]:
    """The command with every password in it masked (the same list if it has none)."""
    rule = _RULES.get(command_name(command))
    return rule(command) if rule else command


def has_credentials(command: list[Text]) -> bool:
    """Whether `mask_credentials` changes the command."""
    return mask_credentials(command) != command


def _mask_auth(command: list[Text]) -> list[Text]:
    return [*command[:-1], MASK] if len(command) > 1 else command


def _mask_after_auth(command: list[Text]) -> list[Text]:
    """HELLO's ``AUTH user password``; MIGRATE's ``AUTH password``, ``AUTH2 user password``."""
    masked = list(command)
    is_hello = command_name(command) == "HELLO"
    for index, word in enumerate(command):
        option = to_printable(word).upper() if index else ""
        if option in ("AUTH", "AUTH2"):
            secret = index + (2 if is_hello or option == "AUTH2" else 1)
            masked[secret : secret + 1] = [MASK] if secret < len(masked) else []
    return masked


def _mask_config(command: list[Text]) -> list[Text]:
    if subcommand_name(command) != "SET":
        return command
    masked = list(command)
    for index in range(2, len(command) - 1, 2):
        if to_printable(command[index]).upper() in _SECRET_SETTINGS:
            masked[index + 1] = MASK
    return masked


def _mask_acl(command: list[Text]) -> list[Text]:
    if subcommand_name(command) != "SETUSER":
        return command
    return [_mask_rule(word) if index > 2 else word for index, word in enumerate(command)]


def _mask_rule(word: Text) -> Text:
    """``>password``, ``<password``, ``#hash`` and ``!hash`` of ACL SETUSER."""
    text = to_printable(word)
    return text[0] + MASK if text[:1] in (">", "<", "#", "!") else word


_RULES: dict[str, Callable[[list[Text]], list[Text]]] = {
    "AUTH": _mask_auth,
    "HELLO": _mask_after_auth,
    "MIGRATE": _mask_after_auth,
    "CONFIG": _mask_config,
    "ACL": _mask_acl,
}
