"""What is read of an interpreter's memory is what that interpreter says of itself."""

from __future__ import annotations

import sys

import pytest

from kebpf.capture.interpreter import find_running, find_task_code, find_version
from kebpf.capture.memory import Memory, read_mappings
from tests.capture.interpreters import INTERPRETERS, running

# tp_init stands at 296 in PyTypeObject (Include/cpython/object.h)
PROGRAM = """
import asyncio, ctypes, sys
print(id(asyncio.tasks._current_tasks), id(asyncio.Task),
      ctypes.c_void_p.from_address(id(asyncio.Task) + 296).value, flush=True)
async def main():
    while sys.stdin.readline():
        print("in a task", flush=True)
asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())
"""
NONE_OF_IT = """
import sys
print("here", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("name", INTERPRETERS)
@pytest.mark.parametrize("is_within", [False, True], ids=["between tasks", "within one"])
def test_tasks_are_found(name: str, is_within: bool) -> None:
    with running(INTERPRETERS[name], PROGRAM) as program:
        tasks, task_type, function = map(int, program.output.readline().split())
        if is_within:
            assert program.ask() == "in a task"
        memory = Memory(program.pid)
        try:
            code = find_task_code(memory, read_mappings(program.pid), set())
            minor = int(name.partition(" ")[0][2:])
            if minor > 13:
                assert code is None
                return
            assert code is not None
            assert (code.version, code.function) == (minor, function)
            assert code.mapping.start + code.offset - code.mapping.offset - function in (0, 4)
            assert find_running(memory, code, task_type) == tasks
            assert find_running(memory, code, 0) == (0 if code.awaits_type else tasks)
        finally:
            memory.close()


def test_a_subclass_leads_to_the_same() -> None:
    program_text = PROGRAM.replace(
        "id(asyncio.Task),", "id(type('Own', (type('Mine', (asyncio.Task,), {}),), {})),"
    )
    for name in INTERPRETERS:
        with running(INTERPRETERS[name], program_text) as program:
            tasks, task_type, _ = map(int, program.output.readline().split())
            memory = Memory(program.pid)
            try:
                code = find_task_code(memory, read_mappings(program.pid), set())
                assert code is None or find_running(memory, code, task_type) == tasks
            finally:
                memory.close()


def test_a_program_without_asyncio_has_none() -> None:
    with running(sys.executable, NONE_OF_IT) as program:
        assert program.output.readline() == "here\n"
        memory = Memory(program.pid)
        try:
            without: set[tuple[str, int]] = set()
            mappings = read_mappings(program.pid)
            assert find_task_code(memory, mappings, without) is None
            # the interpreter's own file is large: it is looked into once
            known = {one.file for one in mappings if find_version(one.path)}
            assert without == known != set()
        finally:
            memory.close()


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/usr/lib/python3.11/lib-dynload/_asyncio.cpython-311-x86_64-linux-gnu.so", 11),
        ("/opt/lib/python3.7/lib-dynload/_asyncio.cpython-37m-x86_64-linux-gnu.so", 7),
        ("/opt/lib/libpython3.12.so.1.0", 12),
        ("/usr/bin/python3.10", 10),
        ("/opt/lib/libpython3.13t.so.1.0", 0),  # without the global lock: laid out otherwise
        ("/opt/lib-dynload/_asyncio.cpython-313t-x86_64-linux-gnu.so", 0),
        ("/opt/lib-dynload/_asyncio.cpython-311d-x86_64-linux-gnu.so", 0),
        ("/usr/lib/python3.11/site-packages/other.so", 0),
        ("[heap]", 0),
        ("", 0),
    ],
)
def test_versions_by_name(path: str, version: int) -> None:
    assert find_version(path) == version
