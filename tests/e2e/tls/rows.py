"""The matrix: which programs, by which library, in which role, to whom."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.e2e.runtimes.declaration import Command, Runtime
from tests.e2e.tls.services import Service

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Project(Runtime):
    """Sources with dependencies of their own, from which several rows are started."""

    @property
    def sources(self) -> Path:
        return PROGRAMS / self.name.removeprefix("tls-")


@dataclass(frozen=True)
class Row:
    """A program in one way to run.

    ``calls`` is whom it calls over TLS, ``serves`` whether it serves TLS itself, ``trusts`` the
    variables that tell it where the authority's certificate is (others have a setting of their
    own), ``bugs`` the changes of it that must be seen, ``customers`` how many at once (one more
    comes after the attach), ``pause`` how long each thinks, in seconds, ``requests`` how many are
    recorded at least.  ``left_out`` are regular expressions of reasons for which requests may be
    left out, and ``min_cases`` how many there must be all the same.
    """

    name: str
    project: Project
    start: Command
    calls: Service | None = None
    serves: bool = False
    trusts: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    bugs: Sequence[str] = ("field", "drop", "argument")
    customers: int = 3
    pause: float = 0.01
    requests: int = 100
    left_out: Sequence[str] = ()
    min_cases: int = 60
    needs: Sequence[str] = ()
    in_ci: bool = False

    def why_not(self) -> str | None:
        """What of it is not on this machine, if anything."""
        missing = [name for name in self.needs if shutil.which(name) is None]
        return f"{', '.join(missing)} not installed" if missing else self.project.why_not()

    @property
    def is_reversed(self) -> bool:
        """Redis gives a note back as it is, all others reversed."""
        return self.calls is not Service.REDIS


PYTHON = Project(
    "tls-python",
    "Python",
    [],
    lock=("requirements.txt",),
    install=(
        ["{python}", "-m", "venv", ".venv"],
        [".venv/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"],
    ),
)
NODE = Project(
    "tls-node",
    "Node",
    [],
    needs=("node", "npm"),
    lock=("package.json", "package-lock.json"),
    install=(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],),
)
GO = Project(
    "tls-go",
    "Go",
    [],
    needs=("go",),
    lock=("go.mod", "go.sum"),
    install=(["go", "mod", "download"],),
    build=(
        ["go", "build", "-o", "asker", "."],
        ["go", "build", "-ldflags", "-s -w", "-o", "stripped", "."],
    ),
)
JAVA = Project(
    "tls-java",
    "Java",
    [],
    needs=("java", "javac", "keytool"),
    build=(["javac", "Asker.java"],),
)
JAVA_MAVEN = Project(
    "tls-java-maven",
    "Java",
    [],
    needs=("java", "javac", "mvn"),
    lock=("pom.xml",),
    build=(["mvn", "-q", "-B", "package"],),
)
NGINX = Project("tls-nginx", "nginx", [], needs=("nginx",))

_PREPARED = (
    "a call it (may have )?made cannot be replayed: "
    'statement "[^"]+" was prepared before the recording began'
)


def _threads(name: str, calls: Service, **more: Any) -> Row:
    """Python's own HTTP server in threads, with the caller of that name."""
    caller = name.partition("+")[0]
    command = [".venv/bin/python", "serve.py", f"call_{caller}"]
    return Row(f"python-{name}", PYTHON, command, calls, **more)


def _tasks(name: str, calls: Service, loop: str = "asyncio", **more: Any) -> Row:
    """uvicorn with the caller of that name."""
    environment = {"CALLER": f"call_{name}", **more.pop("environment", {})}
    command = _uvicorn("serve_async:app", loop)
    name = f"python-{name}-{loop}".replace("_async", "")
    return Row(name, PYTHON, command, calls, environment=environment, **more)


def _uvicorn(application: str, loop: str) -> Command:
    where = ["--port", "{port}", "--loop", loop, "--no-access-log"]
    return [".venv/bin/uvicorn", application, *where]


def _node(name: str, calls: Service, **more: Any) -> Row:
    return Row(f"node-{name}", NODE, ["node", "server.js", name], calls, **more)


def _java(name: str, calls: Service) -> Row:
    """A client library with dependencies of its own."""
    command = ["java", "-Xmx128m", "-cp", "target/asker.jar:target/lib/*", "Asker", name]
    return Row(f"java-{name}", JAVA_MAVEN, command, calls, options=["--java-agent"])


# A process of some hundredths of a second may be half-way before it is looked at.
_BRIEF = r"a call it (may have )?made cannot be replayed: encrypted \(TLS\) and not read"


def _commands(name: str) -> Row:
    """A process for each call."""
    command = [".venv/bin/python", "serve.py", f"call_{name}"]
    row = Row(name, PYTHON, command, _VENDOR, needs=[name], left_out=[_BRIEF])
    return replace(row, customers=2, requests=40, min_cases=30)


# A thread that waits for its customer within a read of the library got there before the probe did,
# so of that read nothing is seen: the first request of such a connection is none to the recorder.
_WITHIN_A_READ = "it began before the recording"


def _echo(name: str, project: Project, start: Command, **more: Any) -> Row:
    """What serves TLS and calls nobody."""
    return Row(name, project, start, serves=True, bugs=("field",), **more)


_VENDOR, _POSTGRES, _REDIS = Service.VENDOR, Service.POSTGRES, Service.REDIS
_ANY, _REQUESTS, _NODE = ("SSL_CERT_FILE",), ("REQUESTS_CA_BUNDLE",), ("NODE_EXTRA_CA_CERTS",)
_TLS = ["--ssl-certfile", "{cert}", "--ssl-keyfile", "{key}"]
_GUNICORN = [".venv/bin/gunicorn", "echo_wsgi:app", "--bind", "127.0.0.1:{port}", "--workers", "2"]
_BY_DEFAULT = {"STATEMENTS": "100"}

ROWS = (
    _threads("ssl", _VENDOR, trusts=_ANY),
    _threads("requests", _VENDOR, trusts=_REQUESTS),
    _threads("requests+proxy", Service.PROXIED, trusts=_REQUESTS),
    _threads("requests+mutual", Service.MUTUAL, trusts=_REQUESTS, environment={"SHOWN": "yes"}),
    _threads("httpx", _VENDOR, trusts=_ANY),
    _tasks("httpx_async", _VENDOR, trusts=_ANY),
    _tasks("aiohttp", _VENDOR),
    _tasks("aiohttp", _VENDOR, "uvloop", in_ci=True),
    _threads("psycopg2", _POSTGRES),
    _threads("psycopg", _POSTGRES),
    _tasks("asyncpg", _POSTGRES),
    _tasks(
        "asyncpg", _POSTGRES, "uvloop", environment=_BY_DEFAULT, left_out=[_PREPARED], min_cases=0
    ),
    _threads("redis", _REDIS),
    _tasks("redis_async", _REDIS),
    _echo("python-uvicorn-asyncio", PYTHON, [*_uvicorn("echo_asgi:app", "asyncio"), *_TLS]),
    _echo("python-uvicorn-uvloop", PYTHON, [*_uvicorn("echo_asgi:app", "uvloop"), *_TLS]),
    _echo("python-gunicorn", PYTHON, [*_GUNICORN, "--certfile", "{cert}", "--keyfile", "{key}"]),
    _echo(
        "python-threads",
        PYTHON,
        [".venv/bin/python", "echo_threads.py"],
        left_out=[_WITHIN_A_READ],
    ),
    _node("https", _VENDOR, trusts=_NODE),
    _node("fetch", _VENDOR, trusts=_NODE),
    _node("undici", _VENDOR, trusts=_NODE),
    _node("pg", _POSTGRES),
    _node("ioredis", _REDIS),
    _echo("node-echo", NODE, ["node", "server.js", "echo"]),
    Row("go-http", GO, ["./asker", "http"], _VENDOR, trusts=_ANY),
    Row("go-http-stripped", GO, ["./stripped", "http"], _VENDOR, trusts=_ANY, in_ci=True),
    Row("go-pgx", GO, ["./asker", "pgx"], _POSTGRES),
    Row("go-pgx-stripped", GO, ["./stripped", "pgx"], _POSTGRES),
    _echo("go-echo", GO, ["./asker", "echo"]),
    _echo("go-echo-stripped", GO, ["./stripped", "echo"]),
    _commands("curl"),
    _commands("wget"),
    Row("gnutls-pycurl", PYTHON, ["/usr/bin/python3", "serve.py", "call_pycurl"], _VENDOR),
    Row("java-http", JAVA, ["sh", "start.sh"], _VENDOR, options=["--java-agent"]),
    _java("pgjdbc", _POSTGRES),
    _java("lettuce", _REDIS),
    Row("nginx", NGINX, ["sh", "start.sh"], _VENDOR, serves=True, in_ci=True),
)
# What it calls is itself, so there is no peer to compare with.
DEEP = Row("go-deep", GO, ["./asker", "echo-deep"], serves=True)


def is_asked_for() -> bool:
    """Whether rows were asked for, and so are tested at length."""
    return bool(os.environ.get("KEBPF_TLS"))


def choose_rows() -> list[Row]:
    """Those that KEBPF_TLS names, by default a sample.  Raises ``ValueError``."""
    names = os.environ.get("KEBPF_TLS", "").replace(",", " ").split()
    if names == ["all"]:
        return list(ROWS)
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise ValueError(f"KEBPF_TLS: there is no {', '.join(sorted(unknown))}")
    return [row for row in ROWS if (row.name in names if names else row.in_ci)]
