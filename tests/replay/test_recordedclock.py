"""Real runtimes in another time: they read it, and waiting takes as long as they say."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kebpf.replay.invoker import find_invoker
from kebpf.replay.launch import LaunchError, launch_application
from kebpf.replay.recordedclock import find_library, make_recorded_clock
from kebpf.replay.spawn import Launch

pytestmark = pytest.mark.kernel

THEN = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
THEN_NS = int(THEN.timestamp()) * 1_000_000_000
LATER = datetime(2031, 1, 1, tzinfo=UTC)
LIMIT_S = 20.0
WAIT_S = 0.05

PYTHON = f"""
import asyncio, datetime, queue, threading, time
print(datetime.datetime.now(datetime.UTC).isoformat())
begun = time.monotonic()
time.sleep({WAIT_S})
condition = threading.Condition()
with condition:
    condition.wait({WAIT_S})
try:
    queue.Queue().get(timeout={WAIT_S})
except queue.Empty:
    pass
asyncio.run(asyncio.sleep({WAIT_S}))
assert 4 * {WAIT_S} <= time.monotonic() - begun
print(datetime.datetime.now(datetime.UTC).isoformat())
"""
NODE = f"""
console.log(new Date().toISOString());
setTimeout(() => console.log(new Date().toISOString()), {WAIT_S * 1000});
"""
JAVA = f"""
import java.time.Instant;
import java.util.concurrent.*;
public class Waits {{
    public static void main(String[] words) throws Exception {{
        System.out.println(Instant.now());
        Thread.sleep({int(WAIT_S * 1000)});
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
        timer.schedule(() -> {{ }}, {int(WAIT_S * 1000)}, TimeUnit.MILLISECONDS).get();
        timer.shutdown();
        try {{
            new CompletableFuture<String>().get({int(WAIT_S * 1000)}, TimeUnit.MILLISECONDS);
        }} catch (TimeoutException expected) {{
            System.out.println(Instant.now());
        }}
    }}
}}
"""


def run(command: list[str], start_ns: int) -> list[str]:
    """What the command prints, started at another time; it ends within the limit."""

    async def play() -> list[str]:
        clock = make_recorded_clock(start_ns, None)
        application = await launch_application(Launch(command, find_invoker(), clock=clock))
        try:
            status = await asyncio.wait_for(application.wait(), LIMIT_S)
            await application.wait_last_output()
        finally:
            await application.stop(0)
        assert status == 0, application.last_lines
        return application.last_lines

    return asyncio.run(play())


def assert_in_time(lines: list[str], start: datetime) -> None:
    """Two readings of the clock, both soon after the start, one after the other."""
    first, last = (datetime.fromisoformat(line) for line in lines)
    assert 0 <= (first - start).total_seconds() < LIMIT_S
    assert WAIT_S <= (last - first).total_seconds() < LIMIT_S


@pytest.mark.parametrize("start", [THEN, LATER], ids=["before", "after"])
def test_python_lives_in_another_time(start: datetime) -> None:
    start_ns = int(start.timestamp()) * 1_000_000_000
    assert_in_time(run([sys.executable, "-c", PYTHON], start_ns), start)


def test_so_does_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    assert_in_time(run(["node", "-e", NODE], THEN_NS), THEN)


def test_so_does_java(tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("a JDK is not installed")
    (tmp_path / "Waits.java").write_text(JAVA)
    subprocess.run(["javac", "Waits.java"], cwd=tmp_path, check=True)
    assert_in_time(run(["java", "-cp", str(tmp_path), "Waits"], THEN_NS), THEN)


def test_children_of_a_shell_do_too() -> None:
    [line] = run(["/bin/sh", "-c", "(date -u +%Y-%m-%d)"], THEN_NS)
    assert line == "2024-02-29"


def test_files_are_as_old_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert run(["stat", "-c", "%Y", str(file)], THEN_NS) == ["1000000000"]


def test_its_clock_is_the_one_that_is_told() -> None:
    clock = make_recorded_clock(THEN_NS, None)
    [line] = run(["date", "+%s%N"], THEN_NS)
    assert abs(clock.now_ns() - int(line)) < LIMIT_S * 1e9
    assert clock.offset_ns == pytest.approx(THEN_NS - time.time_ns(), abs=LIMIT_S * 1e9)


def test_a_library_that_is_preloaded_already_stays() -> None:
    extended = make_recorded_clock(THEN_NS, None).extend({"LD_PRELOAD": "other.so", "A": "b"})
    assert extended["LD_PRELOAD"].split() == [str(find_library()), "other.so"]
    assert extended["A"] == "b"


def test_a_program_it_cannot_act_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "still.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", "still", "still.c"], cwd=tmp_path, check=True)
    with pytest.raises(LaunchError, match=r"still is linked statically.*; use --clock real"):
        make_recorded_clock(THEN_NS, tmp_path / "still")


def test_one_that_turns_out_to_go_by_the_real_clock_is_refused() -> None:
    clock = make_recorded_clock(THEN_NS, None)
    with pytest.raises(LaunchError, match="did not load libfaketime"):
        clock.check([os.getpid()])
    clock.check([])


def test_where_the_library_is_missing_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="apt-get install libfaketime"):
        find_library([str(tmp_path)])
