"""The responder may hold more connections than its caller allowed; the application sees nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from kebpf.replay.invoker import find_invoker
from kebpf.replay.launch import launch_application
from kebpf.replay.spawn import Launch

GIVEN = 64  # fewer than the connections below need


async def _talk(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
    answer = await reader.readline()
    writer.close()
    return answer


def serve_many(count: int) -> dict[str, object]:
    """In a process of its own, with few descriptors at first."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (GIVEN, hard))
    from tests.replay.test_responder import serving

    async def scenario() -> dict[str, object]:
        async with serving(destination=("10.0.0.6", 6379)) as stand:
            opened = [
                await asyncio.open_connection("127.0.0.1", stand.ports.tcp4) for _ in range(count)
            ]
            answer = await _talk(stand.ports.tcp4)
            lines: list[str] = []
            launch = Launch("ulimit -Sn; ulimit -Hn", find_invoker(), on_line=lines.append)
            application = await launch_application(launch)
            await application.wait()
            await application.stop()
            for _, writer in opened:
                writer.close()
            return {"answer": answer.decode(), "limits": lines, "hard": str(hard)}

    return asyncio.run(scenario())


def test_more_connections_than_the_soft_limit_and_the_application_has_its_own() -> None:
    code = "from tests.replay.test_limits import *; print(json.dumps(serve_many(300)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answer"].startswith("-KEBPF")
    assert found["limits"] == [str(GIVEN), found["hard"]]


def test_the_limit_first_given_is_kept() -> None:
    code = (
        "import resource as r; from kebpf.replay.limits import *\n"
        f"r.setrlimit(r.RLIMIT_NOFILE, ({GIVEN}, r.getrlimit(r.RLIMIT_NOFILE)[1]))\n"
        "before = get_given_files(); raise_open_files(); raise_open_files()\n"
        "soft, hard = r.getrlimit(r.RLIMIT_NOFILE)\n"
        "print(before, get_given_files(), soft == hard)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", str(GIVEN), "True"]
