"""What is known of a Java process before anything is done to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.capture.jvm import AttachError, Jvm, check_attachable, has_agent, read_jvm
from tests.capture.machines import compile_idle, idle, jvm_of, needs_java


def test_another_program_is_no_jvm() -> None:
    assert read_jvm(os.getpid()) is None


def test_a_process_that_is_gone_is_said_so() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        with pytest.raises(OSError, match=str(ended.pid)):
            read_jvm(ended.pid)


@needs_java
def test_a_jvm_is_known(tmp_path: Path) -> None:
    with idle(compile_idle(tmp_path)) as (program, _):
        jvm = jvm_of(program.pid)
        assert jvm == Jvm(program.pid, program.pid, 0, 0, catches_quit=True, is_hotspot=True)
        assert jvm.title == f"java ({program.pid})"
        assert not has_agent(program.pid)


def make_proc(folder: Path, words: list[str], environment: dict[str, str]) -> None:
    process = folder / "7"
    process.mkdir()
    (process / "comm").write_text("shop\n")
    (process / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    settings = (f"{name}={value}\0" for name, value in environment.items())
    (process / "environ").write_bytes("".join(settings).encode())
    status = "Name:\tshop\nUid:\t0\t1000\t0\t0\nGid:\t0\t1001\t0\t0\nNSpid:\t7\t3\n"
    (process / "status").write_text(status + "SigCgt:\t0000000000000004\n")
    (process / "maps").write_text("7f00-7f01 r-xp 0 08:01 1 /opt/jdk/lib/server/libjvm.so\n")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("kebpf.capture.jvm.PROC", tmp_path)
    return tmp_path


def check(proc: Path) -> None:
    jvm = jvm_of(7)
    number = os.open(proc, os.O_RDONLY)
    try:
        check_attachable(jvm, number)
    finally:
        os.close(number)


def test_in_a_container_it_has_another_number_and_its_effective_ids_count(proc: Path) -> None:
    make_proc(proc, ["java"], {})
    assert jvm_of(7) == Jvm(7, 3, 1000, 1001, catches_quit=True, is_hotspot=True)
    check(proc)


def test_openj9_is_another_machine(proc: Path) -> None:
    make_proc(proc, ["java"], {})
    with (proc / "7/maps").open("a") as maps:
        maps.write("7f02-7f03 r-xp 0 08:01 2 /opt/jdk/lib/default/libj9vm29.so\n")
    assert not jvm_of(7).is_hotspot


def test_one_that_does_not_catch_sigquit_would_be_ended_by_it(proc: Path) -> None:
    make_proc(proc, ["java"], {})
    text = (proc / "7/status").read_text()
    (proc / "7/status").write_text(text.replace("0004", "0008"))
    with pytest.raises(AttachError, match="does not catch SIGQUIT"):
        check(proc)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["java", "-XX:+DisableAttachMechanism"], {}),
        (["java"], {"JAVA_TOOL_OPTIONS": "-Xmx1g -XX:+DisableAttachMechanism"}),
        (["java"], {"JDK_JAVA_OPTIONS": "-XX:+DisableAttachMechanism"}),
        (["java"], {"_JAVA_OPTIONS": "-XX:+DisableAttachMechanism"}),
    ],
)
def test_options_by_which_a_jvm_wants_no_agent(
    proc: Path, words: list[str], environment: dict[str, str]
) -> None:
    make_proc(proc, words, environment)
    with pytest.raises(AttachError, match="was started with"):
        check(proc)


@pytest.mark.parametrize(("value", "is_refused"), [(b"0", True), (b"1", False)])
def test_what_a_jvm_says_of_itself_counts_too(proc: Path, value: bytes, is_refused: bool) -> None:
    make_proc(proc, ["java", "@options"], {})
    (proc / "hsperfdata_shop").mkdir()
    data = b"\xca\xfe\xc0\xc0" + bytes(40) + b"sun.rt.jvmCapabilities\0\0" + value + b"1" * 63
    (proc / "hsperfdata_shop/3").write_bytes(data)
    if is_refused:
        with pytest.raises(AttachError, match="DisableAttachMechanism"):
            check(proc)
    else:
        check(proc)


def test_one_started_with_the_agent_has_it(proc: Path) -> None:
    make_proc(proc, ["java"], {"JAVA_TOOL_OPTIONS": "-javaagent:/opt/kebpf-agent.jar=pid=1:2"})
    assert has_agent(7)
