"""Asks a running agent for its status."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

_SECONDS = 10
_TIME = struct.Struct("@ll")  # struct timeval
_MOST_SIZE = 64 << 20


class NoAgentError(Exception):
    """Nobody answers; the text is one sentence."""


def ask_status(path: Path) -> dict[str, Any]:
    """What `kebpf.agent.status.describe_agent` gave.  Raises `NoAgentError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            # a Unix socket without room in its queue is waited for by a blocking connect only
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIME.pack(_SECONDS, 0))
            client.connect(os.fspath(path))
            client.settimeout(_SECONDS)
            status = json.loads(_read_all(client))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoAgentError(
            f"no agent answers at {path}: start it with `systemctl start kebpf`"
        ) from error
    except PermissionError as error:
        raise NoAgentError(f"the agent at {path} answers root only: ask it with sudo") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "what it says cannot be read"
        raise NoAgentError(f"the agent at {path} does not answer: {reason}") from error
    if not isinstance(status, dict):
        raise NoAgentError(f"the agent at {path} does not answer: what it says cannot be read")
    return status


def _read_all(client: socket.socket) -> bytes:
    data = bytearray()
    while len(data) < _MOST_SIZE and (more := client.recv(1 << 16)):
        data += more
    return bytes(data)
