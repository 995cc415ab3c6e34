"""``kebpf record -- COMMAND``: starts the target with the probes in place before its first call."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from contextlib import ExitStack
from dataclasses import replace
from itertools import dropwhile
from pathlib import Path

from kebpf.capture.javalaunch import add_agent
from kebpf.capture.naming import name_program
from kebpf.capture.target import resolve_target
from kebpf.cli.errors import KebpfError
from kebpf.cli.options import RecordOptions
from kebpf.cli.record import Session
from kebpf.kernel.processes import ProcessFacts
from kebpf.recording.assembly import Assembly
from kebpf.recording.progress import Progress
from kebpf.replay.invoker import InvokerError, find_invoker
from kebpf.replay.launch import Application, LaunchError, launch_application
from kebpf.replay.spawn import Launch

_STOP_POLL_SECONDS = 0.1
_SETTING = re.compile(r"[A-Za-z_]\w*=")


def record_command(options: RecordOptions, assembly: Assembly) -> int:
    """Starts the command, records it until it ends or is told to; the exit status."""
    with ExitStack() as stack:
        try:
            return asyncio.run(_record(options, assembly, stack))
        except (LaunchError, InvokerError) as error:
            raise KebpfError(str(error)) from error


async def _record(options: RecordOptions, assembly: Assembly, stack: ExitStack) -> int:
    sessions: list[Session] = []

    async def begin(pid: int) -> None:
        target = resolve_target([pid])
        target.facts = describe_command(target.facts, options.command)
        target.name = target.facts.name
        target.origin = "a command, from its start"
        session = Session(options, target, assembly, stack)
        session.begin()
        sessions.append(session)

    invoker = find_invoker(options.user)
    if options.with_java_agent:
        environment = add_agent(invoker.environment, invoker.uid, invoker.gid, stack)
        invoker = replace(invoker, environment=environment)
    launch = Launch(
        options.command,
        invoker,
        captures_output=False,
        keeps_stdout=options.as_json,
        before_exec=begin,
    )
    application = await launch_application(launch)
    return await _run(sessions[0], application)


def describe_command(facts: ProcessFacts, words: list[str]) -> ProcessFacts:
    """What a process that is about to execute ``words`` will be."""
    is_shell_text = words[:2] == ["/bin/sh", "-c"] and len(words) == 3
    program = (_skip_settings(words[2].split()) if is_shell_text else []) or words
    executable = shutil.which(words[0]) or ""
    name = name_program(program, Path(program[0]).name)
    return replace(facts, name=name, command=words, executable=executable)


def _skip_settings(words: list[str]) -> list[str]:
    """What a shell would execute: ``exec``, ``env`` and variables come before it."""
    rest = dropwhile(lambda word: word in ("exec", "env") or _SETTING.match(word), words)
    return list(rest)


async def _run(session: Session, application: Application) -> int:
    """The recording goes on until the target has ended, so that its last calls are in it."""
    has_ended = threading.Event()
    working = asyncio.create_task(asyncio.to_thread(session.watch, has_ended.is_set))
    try:
        while not working.done() and not session.stop():
            await asyncio.wait({working}, timeout=_STOP_POLL_SECONDS)
        was_told = session.stop()
        await application.stop()
    finally:
        has_ended.set()  # some of it may live on, in a session of its own
    progress = await working
    notes = [] if was_told else explain_end(application, progress)
    return session.finish(*notes)


def explain_end(application: Application, progress: Progress) -> list[str]:
    """What to say of a command that has ended by itself.

    Raises `LaunchError` when there is nothing of it to keep: it never did its work.
    """
    how = application.describe_exit()
    if not (progress.requests or progress.destinations or progress.unparsed):
        hint = "" if application.status else " (it must stay in the foreground)"
        raise LaunchError(f"the command {how} before there was anything to record{hint}")
    return [f"the command {how}"] if application.status else []
