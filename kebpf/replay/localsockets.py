"""The Unix sockets at which the responder stands in for those that the recorded program called."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kebpf.replay.routing import Route

DATAGRAM = "unix-datagram"
_BACKLOG = 1024
_ANYONE = 0o666  # as the application's user, who is not ours

#: Host's services that would look names up on the network for the application: it is refused by
#: them, and goes on to ask by DNS, as everybody does where they do not run.
NAME_SERVICES = (
    Path("/run/systemd/resolve/io.systemd.Resolve"),
    Path("/run/nscd/socket"),
    Path("/run/avahi-daemon/socket"),
)


class LocalSockets:
    """One socket a recorded path, in a folder of its own until the application is shown them.

    An abstract socket has no path that could be covered: it is opened by its name, which takes a
    network namespace without the real one.
    """

    def __init__(
        self,
        make_stream: Callable[[Route], asyncio.BaseProtocol],
        make_datagrams: Callable[[Route], Any],
    ) -> None:
        self.files: dict[Path, Path] = {}
        self._make_stream = make_stream
        self._make_datagrams = make_datagrams
        self._folder: Path | None = None
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[asyncio.BaseTransport] = []

    async def open(self, routes: Iterable[Route]) -> None:
        """Starts listening.  Raises ``OSError``."""
        for number, route in enumerate(routes):
            name = route.destination.host
            if name.startswith("@"):
                await self._listen(route, "\0" + name[1:])
            elif name.startswith("/"):
                file = self._make_folder() / str(number)
                await self._listen(route, str(file))
                file.chmod(_ANYONE)
                self.files[Path(name)] = file
        self._close_services()

    def _close_services(self) -> None:
        recorded = {path.resolve() for path in self.files}
        for path in NAME_SERVICES:
            if path.resolve() not in recorded and path.is_socket():
                self.files[path] = self._make_dead()

    def _make_dead(self) -> Path:
        """A socket that refuses: nobody listens on it."""
        file = self._make_folder() / "dead"
        if not file.exists():
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(file))
            file.chmod(_ANYONE)
        return file

    def _make_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kebpf-"))
        return self._folder

    async def _listen(self, route: Route, path: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            if route.destination.transport == DATAGRAM:
                datagrams, _ = await loop.create_datagram_endpoint(
                    lambda: self._make_datagrams(route), local_addr=path, family=socket.AF_UNIX
                )
                self._datagrams.append(datagrams)
            else:
                self._servers.append(
                    await loop.create_unix_server(
                        lambda: self._make_stream(route), path, backlog=_BACKLOG
                    )
                )
        except OSError as error:
            raise OSError(
                error.errno, error.strerror or str(error), str(route.destination)
            ) from error

    async def close(self) -> None:
        """Stops listening; connections that are open stay."""
        for server in self._servers:
            server.close()
        for datagrams in self._datagrams:
            datagrams.close()
        self._servers.clear()
        self._datagrams.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self.files.clear()
