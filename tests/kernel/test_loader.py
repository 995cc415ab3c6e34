"""The loader's own preprocessing; what it loads is tested with `kebpf.kernel.programs`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from kebpf.kernel import loader
from kebpf.kernel.loader import expand


def test_own_headers_come_once_and_in_place(tmp_path: Path) -> None:
    (tmp_path / "a.h").write_text('#pragma once\n#include "b.h"\nint a;\n')
    (tmp_path / "b.h").write_text("int b;\n")
    (tmp_path / "main.c").write_text(
        '#include <linux/bpf.h>\n#include "b.h"\n#include "a.h"\nint c;\n'
    )
    lines = [line for line in expand(tmp_path / "main.c", set()).splitlines() if line]
    assert [line for line in lines if not line.startswith("#line")] == [
        "#include <linux/bpf.h>",
        "int b;",
        "#pragma once",
        "int a;",
        "int c;",
    ]


def test_it_needs_nothing_of_this_package() -> None:
    """Run by another interpreter without a path to kebpf; here by one that finds no bcc."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = (
        "import runpy, sys; sys.modules['bcc'] = None;"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    with ours, theirs:
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-c", code, loader.__file__, str(theirs.fileno())],
            input=json.dumps({"shim": "", "source": "", "flags": [], "programs": {}}),
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
        )
        theirs.close()
        answer = json.loads(ours.recv(10_000))
    assert done.returncode == 0
    assert answer["error"] == "bcc"


def test_it_ends_with_whom_it_works_for(tmp_path: Path) -> None:
    """Killed in the middle: nobody is left to compile for."""
    site = tmp_path / "bcc.py"
    site.write_text("import signal\nprint('compiling', flush=True)\nsignal.pause()\n")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r});"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = ["/usr/bin/python3", "-I", "-c", code, loader.__file__, str(theirs.fileno())]
    starting = (
        "import subprocess, sys, signal;"
        f"one = subprocess.Popen({words!r}, stdin=subprocess.PIPE, pass_fds=[{theirs.fileno()}]);"
        "one.stdin.write(sys.argv[1].encode()); one.stdin.close();"
        "print(one.pid, flush=True); signal.pause()"
    )
    request = {"shim": "", "source": __file__, "flags": [], "programs": {}}
    with ours, theirs:
        parent = subprocess.Popen(
            [sys.executable, "-c", starting, json.dumps(request)],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        told = {parent.stdout.readline().strip() for _ in range(2)}
        [pid] = map(int, told - {"compiling"})
        handle = os.pidfd_open(pid)
        try:
            parent.kill()
            assert select.select([handle], [], [], 60)[0], "it goes on"
        except BaseException:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            raise
        finally:
            os.close(handle)
            parent.communicate()
