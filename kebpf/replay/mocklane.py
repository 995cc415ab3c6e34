"""A group of processes that are answered from mocks, with a responder of their own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from kebpf.kernel.members import Network
from kebpf.protocols.base import ProtocolSpec
from kebpf.replay.mockscope import Scopes
from kebpf.replay.mockset import MissedCall
from kebpf.replay.processes import Group
from kebpf.replay.responder import Responder
from kebpf.replay.runtls import RunAuthority, RunTls
from kebpf.replay.setrun import Environment

ALONE = (
    "under --rootless one test process can have mocks; with xdist give each worker its own kebpf: "
    'pytest --dist load --tx "4*popen//python=kebpf mock --rootless -- python"'
)


@dataclass(slots=True)
class Lane:
    """What processes in ``group`` call is answered in the current one of ``scopes``."""

    group: Group
    responder: Responder
    scopes: Scopes
    tls: RunTls

    async def settle(self, timeout_s: float = 0.0) -> None:
        """Waits until what was sent by now is answered, and with a timeout until clients are gone.

        Connections that could not be served count as misses.
        """
        await self.responder.settle(timeout_s)
        for problem in self.responder.take_problems():
            reason = f"the connection could not be served: {problem.text}"
            missed = MissedCall(problem.destination, problem.protocol, reason)
            self.scopes.current.matcher.note_miss(missed)

    @property
    def refusal(self) -> str | None:
        """Why there cannot be another lane beside this one."""
        return ALONE if isinstance(self.group, Network) else None

    def adopt(self, pid: int) -> None:
        """Moves a process here, with all its threads.  Raises ``OSError``."""
        assert not isinstance(self.group, Network)
        (self.group.path / "cgroup.procs").write_text(f"{pid}\n", encoding="ascii")


@contextlib.asynccontextmanager
async def open_lane(
    environment: Environment,
    scopes: Scopes,
    protocols: Mapping[str, ProtocolSpec],
    authority: RunAuthority,
) -> AsyncIterator[Lane]:
    """A lane for as long as the block lasts; who is still in it then is ended.

    All lanes of a run have the same ``authority``, which its processes trust.

    Raises `kebpf.kernel.errors.KernelError` and ``OSError``.
    """
    async with contextlib.AsyncExitStack() as stack:
        steering = environment.make_steering()
        stack.callback(steering.close)
        group = stack.enter_context(environment.make_group())
        tls = RunTls(authority, scopes.routes)
        responder = Responder(steering, scopes, scopes.routes, protocols, encryption=tls.encryption)
        stack.push_async_callback(responder.close)
        responder.refusals.group = group
        steering.attach(group, await responder.start())
        yield Lane(group, responder, scopes, tls)
