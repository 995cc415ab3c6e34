"""``kebpf record -- COMMAND``: starts the target with the probes in place before its first call."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from kebpf.capture.target import resolve_target
from kebpf.cli.errors import KebpfError
from kebpf.cli.options import RecordOptions
from kebpf.cli.record import Session, Stop
from kebpf.replay.invoker import InvokerError, find_invoker
from kebpf.replay.launch import Application, LaunchError, launch_application
from kebpf.replay.spawn import Launch


def record_command(options: RecordOptions) -> int:
    """Starts the command, records it until it ends or is told to; the exit status."""
    with ExitStack() as stack:
        try:
            return asyncio.run(_record(options, stack))
        except (LaunchError, InvokerError) as error:
            raise KebpfError(str(error)) from error


async def _record(options: RecordOptions, stack: ExitStack) -> int:
    sessions: list[Session] = []

    async def begin(pid: int) -> None:
        session = Session(options, resolve_target([pid]), stack)
        session.begin()
        sessions.append(session)

    launch = Launch(
        options.command, find_invoker(options.user), captures_output=False, before_exec=begin
    )
    application = await launch_application(launch)
    return await _run(sessions[0], application)


async def _run(session: Session, application: Application) -> int:
    """The recording goes on until the target has ended, so that its last calls are in it."""
    stop = session.stop
    session.stop = Stop(None)  # the target's end ends it
    working = asyncio.create_task(asyncio.to_thread(session.run))
    while not working.done() and not stop():
        await asyncio.wait({working}, timeout=0.1)
    await application.stop()
    return await working
