from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from kebpf.replay.connection import Address
from kebpf.replay.invoker import find_invoker
from kebpf.replay.launch import Application, LaunchError, launch_application
from kebpf.replay.readiness import Readiness, wait_ready
from kebpf.replay.spawn import Launch
from kebpf.replay.stages import Listening


async def listen(events: Sequence[Listening], ends: bool) -> AsyncIterator[Listening]:
    for event in events:
        yield event
    if not ends:
        await asyncio.Event().wait()


def wait_for(
    needed: Collection[int],
    *events: tuple[str, int],
    known: Collection[int] = (),
    command: str = "sleep 600",
    timeout_s: float = 20.0,
    settle_s: float = 0.01,
    ends: bool = False,
) -> Readiness:
    async def scenario() -> Readiness:
        application: Application = await launch_application(Launch(command, find_invoker()))
        listening = listen([Listening(1, host, port) for host, port in events], ends)
        try:
            return await wait_ready(application, listening, needed, known, timeout_s, settle_s)
        finally:
            await application.stop()

    return asyncio.run(scenario())


class TestReady:
    def test_when_the_recorded_port_listens_whatever_else_does(self) -> None:
        ready = wait_for([8000], ("127.0.0.1", 9000), ("0.0.0.0", 8000))
        assert ready == Readiness({8000: Address("127.0.0.1", 8000)}, pids=(1,))

    def test_only_when_all_needed_ports_listen(self) -> None:
        ready = wait_for([1, 2], ("::", 2), ("10.0.0.5", 3), ("10.0.0.5", 1), settle_s=60)
        assert ready.addresses == {1: Address("10.0.0.5", 1), 2: Address("::1", 2)}

    def test_one_other_port_stands_for_the_recorded_one_and_is_named(self) -> None:
        ready = wait_for([8000], ("0.0.0.0", 9000), known=[8000])
        assert ready.addresses == {8000: Address("127.0.0.1", 9000)}
        assert ready.note == "the application listens on port 9000 instead of 8000"

    def test_a_port_the_recorded_one_had_beside_stands_for_nothing(self) -> None:
        with pytest.raises(LaunchError, match=r"on port 8000 \(it listens on port 9090\)"):
            wait_for([8000], ("0.0.0.0", 9090), known=[8000, 9090], timeout_s=0.2)

    def test_the_report_of_listening_sockets_is_closed(self) -> None:
        closed: list[bool] = []

        async def report() -> AsyncIterator[Listening]:
            try:
                yield Listening(1, "127.0.0.1", 8000)
            finally:
                closed.append(True)

        async def scenario() -> None:
            application = await launch_application(Launch("sleep 600", find_invoker()))
            try:
                await wait_ready(application, report(), [8000])
                assert closed == [True]
            finally:
                await application.stop()

        asyncio.run(scenario())


class TestNotReady:
    def test_two_other_ports_cannot_be_told_apart(self) -> None:
        text = r"^the application did not listen on port 8000 \(it listens on ports 9000 and 9001\)"
        with pytest.raises(LaunchError, match=text):
            wait_for([8000], ("0.0.0.0", 9001), ("0.0.0.0", 9000), timeout_s=0.2)

    def test_never_listening(self) -> None:
        with pytest.raises(
            LaunchError, match=r"listen on ports 1, 2 and 3 within 0\.2 s"
        ) as caught:
            wait_for([3, 1, 2], timeout_s=0.2, command="echo starting; exec sleep 600")
        assert caught.value.output == ["starting"]

    def test_an_early_exit_shows_the_last_lines(self) -> None:
        with pytest.raises(LaunchError, match=r"status 3 before it listened$") as caught:
            wait_for([1], command="echo no database >&2; exit 3")
        assert caught.value.output == ["no database"]

    def test_a_program_that_goes_to_the_background(self) -> None:
        with pytest.raises(LaunchError, match="must stay in the foreground"):
            wait_for([1], command="true")

    def test_an_end_of_the_kernels_report(self) -> None:
        with pytest.raises(LaunchError, match="report of listening sockets ended"):
            wait_for([1], ("0.0.0.0", 2), ends=True, settle_s=60)
