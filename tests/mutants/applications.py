"""The applications that are mutated: how each is copied, started, driven and watched."""

from __future__ import annotations

import gzip
import http.client
import random
import shutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process
from examples.services import SHOP, Services
from examples.shop.drive import Client, drive, drive_round
from tests.e2e.runtimes.declaration import FOLDER, fill_in, install, read_runtime
from tests.e2e.runtimes.load import wait_until_healthy
from tests.e2e.runtimes.routes import Answer, Customer, UnexpectedAnswerError
from tests.e2e.runtimes.servers import AUTHORS, Servers
from tests.e2e.shop_trace import watching
from tests.mutants import effect_rules, python_rules, script_rules
from tests.mutants.mutant import Edit, Mutant, name_mutants
from tests.mutants.watch import watching_servers

READY_SECONDS = 30.0
ROUNDS = 3  # of the notes service's customers: then each has taken every turn
CUSTOMERS = 3
SEED = 2
UNMUTATED = frozenset({"bugs.py", "drive.py", "__init__.py"})
PREPARED = {"python-asyncio": "app.py", "python-django": "app.py", "node-express": "server.js"}

FindEdits = Callable[[bytes], list[Edit]]


def find_python_edits(source: bytes) -> list[Edit]:
    return [*python_rules.find_edits(source), *effect_rules.find_python_edits(source)]


def find_script_edits(source: bytes) -> list[Edit]:
    return [*script_rules.find_edits(source), *effect_rules.find_script_edits(source)]


@dataclass(frozen=True)
class Source:
    """A file that is mutated, relative to the folder an application runs in, and by what."""

    path: str
    find_edits: FindEdits


class Application(ABC):
    """One application beside the servers it depends on, a context manager.

    The servers serve recordings and the oracle; a replay does not see them.
    """

    name: str
    sources: list[Source]

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._stack = ExitStack()

    def __enter__(self) -> Application:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def list_mutants(self, folder: Path) -> list[Mutant]:
        """All of a copy, in the order of files and lines."""
        return [mutant for source in self.sources for mutant in self._mutate(folder, source)]

    def _mutate(self, folder: Path, source: Source) -> Iterator[Mutant]:
        text = (folder / source.path).read_bytes()
        return name_mutants(self.name, source.path, text, source.find_edits(text))

    @abstractmethod
    def _open(self, stack: ExitStack) -> None:
        """Starts the servers."""

    @abstractmethod
    def copy_to(self, folder: Path) -> None:
        """Makes a folder from which it runs, with sources that are free to be changed."""

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """What starts it in such a folder."""

    @property
    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Its settings."""

    @property
    @abstractmethod
    def port(self) -> int: ...

    @abstractmethod
    def reset(self) -> None:
        """Puts the servers back to what they were at the start."""

    @abstractmethod
    def crowd(self) -> None:
        """Several customers at a time, each making every kind of request."""

    @abstractmethod
    def walk(self) -> Iterator[str]:
        """One customer's requests, always the same ones; gives the answers as text."""

    @abstractmethod
    def watch(self, calls: list[str]) -> AbstractContextManager[None]:
        """Adds what the servers were asked while the block lasts."""

    def start(self, folder: Path, environment: Mapping[str, str] = {}) -> Process:
        """Runs it live until it is healthy.  Raises `TimeoutError` when it does not get so."""
        process = Process(
            self.name,
            self.command,
            environment={**self.environment, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            folder=folder,
        )
        try:
            wait_until_healthy(self.port, READY_SECONDS, lambda: process.exit_status is None)
        except TimeoutError as error:
            process.stop()
            raise TimeoutError(f"{error}\n{process.tail()}") from None
        return process


class Shop(Application):
    """The shop of the examples, with its rates service."""

    name = "shop"

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        modules = (path for path in sorted(SHOP.glob("*.py")) if path.name not in UNMUTATED)
        self.sources = [Source(f"shop/{path.name}", find_python_edits) for path in modules]

    def _open(self, stack: ExitStack) -> None:
        self._services = stack.enter_context(Services(log_statements=True))

    def copy_to(self, folder: Path) -> None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SHOP, folder / "shop", ignore=ignored)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "shop"]

    @property
    def environment(self) -> Mapping[str, str]:
        return self._services.shop_environment

    @property
    def port(self) -> int:
        return self._services.shop_port

    def reset(self) -> None:
        self._services.reset()

    def crowd(self) -> None:
        base_url = self._services.shop_url
        driven = drive(base_url, concurrency=CUSTOMERS, seed=SEED, is_quiet=True)
        assert driven["unexpected"] == 0

    def walk(self) -> Iterator[str]:
        client = Client(self._services.shop_url, is_quiet=True)
        try:
            drive_round(client, random.Random(f"{SEED}/0/0"))
        except (OSError, http.client.HTTPException, LookupError, TypeError, ValueError) as error:
            yield f"the customer gave up: {type(error).__name__}"
        finally:
            client.close()
        for method, path, answer in client.answers:
            yield describe_answer(method, path, answer.status, answer.headers, answer.body)

    @contextmanager
    def watch(self, calls: list[str]) -> Iterator[None]:
        with watching(self._services) as watch:
            yield
            calls += watch.take_calls()


class Notes(Application):
    """The notes service in one of its runtimes."""

    def __init__(self, scratch: Path, name: str) -> None:
        super().__init__(scratch)
        self.name = name
        is_script = PREPARED[name].endswith(".js")
        self.sources = [
            Source(PREPARED[name], find_script_edits if is_script else find_python_edits)
        ]
        self._runtime = read_runtime(FOLDER / name / "runtime.json")

    def _open(self, stack: ExitStack) -> None:
        self._installed = install(self._runtime)
        self._servers = stack.enter_context(Servers(self.scratch))
        self._servers.log_statements()

    def copy_to(self, folder: Path) -> None:
        """What was installed beside the sources is shared by all copies."""
        folder.mkdir()
        ours = {path.name for path in self._runtime.sources.iterdir()}
        for path in self._installed.iterdir():
            if path.name in ours:
                shutil.copy(path, folder)
            elif path.name != "__pycache__":
                (folder / path.name).symlink_to(path)

    @property
    def command(self) -> list[str]:
        return fill_in(self._runtime.start, port=self._servers.port)

    @property
    def environment(self) -> Mapping[str, str]:
        return {**self._servers.environment, **self._runtime.environment}

    @property
    def port(self) -> int:
        return self._servers.port

    def reset(self) -> None:
        self._servers.forget()

    def crowd(self) -> None:
        answers: list[list[str]] = [[] for _ in AUTHORS]
        threads = [
            threading.Thread(target=self._visit, args=(author, texts))
            for author, texts in zip(AUTHORS, answers, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not [text for texts in answers for text in texts if "gave up" in text]

    def walk(self) -> Iterator[str]:
        answers: list[str] = []
        self._visit(AUTHORS[0], answers)
        yield from answers

    def _visit(self, author: str, answers: list[str]) -> None:
        customer = _TellingCustomer(self.port, author, answers)
        try:
            for _ in range(ROUNDS):
                customer.run_round()
        except (OSError, http.client.HTTPException, UnexpectedAnswerError, ValueError) as error:
            answers.append(f"the customer gave up: {type(error).__name__}")
        finally:
            customer.close()

    def watch(self, calls: list[str]) -> AbstractContextManager[None]:
        return watching_servers(self._servers.postgres_log, self._servers.redis_port, calls)


class _TellingCustomer(Customer):
    """A customer of the notes service who keeps the answers."""

    def __init__(self, port: int, author: str, answers: list[str]) -> None:
        super().__init__(port, author, lambda _: None)
        self._answers = answers

    def send(
        self, route: str, method: str, path: str, status: int, body: bytes = b"", kind: str = ""
    ) -> Answer:
        answer = super().send(route, method, path, status, body, kind)
        headers = answer.headers.items()
        self._answers.append(describe_answer(method, path, answer.status, headers, answer.body))
        return answer


def describe_answer(
    method: str, path: str, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> str:
    """An answer as text, its body as it was before compression."""
    if ("content-encoding", "gzip") in [(name.lower(), value) for name, value in headers]:
        body = gzip.decompress(body)
        headers = [one for one in headers if one[0].lower() != "content-length"]  # by chance
    shown = "\n".join(f"{name}: {value}" for name, value in headers)
    return f"{method} {path}\n{status}\n{shown}\n\n{body.decode('utf-8', 'backslashreplace')}"


def make_application(name: str, scratch: Path) -> Application:
    """The application of a name among `NAMES`."""
    return Shop(scratch) if name == Shop.name else Notes(scratch, name)


NAMES = (Shop.name, *PREPARED)
