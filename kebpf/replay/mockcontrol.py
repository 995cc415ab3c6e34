"""The socket by which a test runner says which mocks its next calls get, and asks what came of it.

One JSON object a line each way.  ``hello`` gives the caller a lane: the command's own one to the
first, a new one, into which it is moved, to each further process (workers, test runs in tests).
``begin`` opens a scope, ``look`` tells the misses since the last look, ``end`` closes the scope.
The socket is in a folder that only the command's user may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from kebpf.kernel.errors import KernelError
from kebpf.replay.mocklane import Lane
from kebpf.replay.mockscope import MockLibrary, Scope, SelectionError
from kebpf.replay.mockset import MissedCall
from kebpf.replay.processes import wait_gone

SOCKET_VARIABLE = "KEBPF_MOCK_SOCKET"
LONGEST_LINE = 1 << 20
MOST_UNUSED = 50  # mocks that are told by name
MOST_TOLD = 200  # misses that are told in one answer
GONE_S = 366 * 86400.0
_PEER = struct.Struct("3i")  # struct ucred; unix(7)

Message = dict[str, Any]
OpenLane = Callable[[], contextlib.AbstractAsyncContextManager[Lane]]


class MockControl:
    """The server side.

    ``open_lane`` makes a lane like ``main``; outside of scopes the ``named_sets`` answer in each.
    """

    def __init__(
        self, main: Lane, open_lane: OpenLane, library: MockLibrary, named_sets: Sequence[str] = ()
    ) -> None:
        self._named_sets = list(named_sets)
        self.on_hello: Callable[[], None] | None = None  # the first test runner is there
        self._main = main
        self._open_lane = open_lane
        self._library = library
        self._is_main_taken = False
        self._callers: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end and to the end of the process that made it."""
        task = asyncio.current_task()
        assert task is not None
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)
        pid = _pid_of_peer(writer)
        try:
            async with contextlib.AsyncExitStack() as stack:
                lane = await self._greet(stack, pid, reader, writer)
                if lane is None:
                    return
                await _Caller(lane, self._library).serve(reader, writer)
                writer.close()
                if lane is not self._main:
                    await wait_gone([pid], GONE_S)
        except ConnectionError:
            return  # the caller was killed; its scopes and its lane are closed by now
        finally:
            writer.close()

    async def _greet(
        self,
        stack: contextlib.AsyncExitStack,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Lane | None:
        message = await _read(reader)
        if message is None:
            return None
        try:
            lane = await self._find_lane(stack, pid)
        except (KernelError, OSError) as error:
            hint = f" ({error.hint})" if isinstance(error, KernelError) and error.hint else ""
            _write(writer, {"error": f"mocks for this process alone cannot be had: {error}{hint}"})
            return None
        _write(writer, {"sets": self._named_sets, "alone": self._main.refusal})
        return lane

    async def _find_lane(self, stack: contextlib.AsyncExitStack, pid: int) -> Lane:
        if not self._is_main_taken:
            self._is_main_taken = True
            if self.on_hello is not None:
                self.on_hello()
            return self._main
        if self._main.refusal is not None:
            raise KernelError(self._main.refusal)
        lane = await stack.enter_async_context(self._open_lane())
        lane.adopt(pid)
        return lane

    async def close(self) -> None:
        """Lets go of everyone who is still connected."""
        for task in list(self._callers):
            task.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)


class _Caller:
    """One test process in its lane."""

    def __init__(self, lane: Lane, library: MockLibrary) -> None:
        self._lane = lane
        self._library = library
        self._operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "begin": self._begin,
            "look": self._look,
            "end": self._end,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the caller has gone; scopes that it left open are closed."""
        try:
            while (message := await _read(reader)) is not None:
                operation = self._operations.get(str(message.get("op")))
                if operation is None:
                    _write(writer, {"error": f"{message.get('op')} is not known here"})
                else:
                    _write(writer, await operation(message))
                await writer.drain()
        finally:
            while self._lane.scopes.depth:
                self._lane.scopes.pop()

    async def _begin(self, message: Message) -> Message:
        """What was called before belongs to the scope so far, and is told with it."""
        told = await self._look(message)
        sets, cases = map(str, message["sets"]), map(str, message["cases"])
        try:
            scope = self._library.make_scope([*sets], [*cases], bool(message.get("lenient")))
        except SelectionError as error:
            return {"error": str(error)}
        self._lane.scopes.push(scope)
        return {"before": told, "mocks": scope.matcher.total}

    async def _look(self, message: Message) -> Message:
        await self._lane.settle()
        return describe_scope(self._lane.scopes.current)

    async def _end(self, message: Message) -> Message:
        if not self._lane.scopes.depth:
            return {"error": "no scope is open"}
        await self._lane.settle()
        told = describe_scope(self._lane.scopes.current, with_unused=True)
        self._lane.scopes.pop()
        return told


def describe_scope(scope: Scope, with_unused: bool = False) -> Message:
    """What became of a scope by now; of the misses those that were not told yet."""
    matcher = scope.matcher
    message: Message = {
        "answered": matcher.answered,
        "used": matcher.used,
        "mocks": matcher.total,
        "missed": matcher.missed,
        "misses": _describe_misses(scope.take_misses()),
    }
    if with_unused:
        message["unused"] = matcher.list_unused(MOST_UNUSED)
    return message


def _describe_misses(misses: Counter[MissedCall]) -> list[Message]:
    return [
        {
            "destination": one.destination,
            "protocol": one.protocol,
            "reason": one.reason,
            "call": one.call,
            "cause": one.cause.value if one.cause else None,
            "nearest": one.nearest,
            "fields": [[f.path, f.kind, repr(f.expected), repr(f.actual)] for f in one.fields],
            "count": count,
        }
        for one, count in misses.most_common(MOST_TOLD)
    ]


async def _read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; ``None`` at the end, and for what is none (then nothing more is read)."""
    try:
        line = await reader.readline()
        message = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _write(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


def _pid_of_peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    pid, _, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(pid)


@contextlib.asynccontextmanager
async def listen(control: MockControl, uid: int, gid: int) -> AsyncIterator[Path]:
    """The path of the control socket, in a folder of the user's alone.  Raises ``OSError``."""
    with tempfile.TemporaryDirectory(prefix="kebpf-mock-") as folder:
        path = Path(folder, "control")
        server = await asyncio.start_unix_server(control.serve, path, limit=LONGEST_LINE)
        try:
            for one in (path, Path(folder)):
                os.chown(one, uid, gid)
            yield path
        finally:
            server.close()
            await control.close()
            await server.wait_closed()
