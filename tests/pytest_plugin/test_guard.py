"""Marked tests under ``kebpf mock``: real clients, a recording of real servers that are off."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.ordinary import find_ordinary_user, give, open_folder
from tests.kernel.rootless_runs import skip_unless_reachable
from tests.pytest_plugin.conftest import PeopleRecording
from tests.pytest_plugin.runs import PytestRun, install, run_pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(200),
]

HEAD = """
import os, subprocess, sys, uuid
from datetime import datetime, timezone
import psycopg, psycopg_pool, pytest, redis

WHERE = f"host=127.0.0.1 port={os.environ['POSTGRES']} user=postgres dbname=postgres"

def cache():
    return redis.Redis(port=int(os.environ["CACHE"]))

def name_of(number):
    with psycopg.connect(WHERE) as connection:
        found = connection.execute("SELECT name FROM people WHERE id = %s", (number,))
        return found.fetchone()[0]
"""
GOOD = """
@pytest.fixture(scope="module")
def pool():
    with psycopg_pool.ConnectionPool(WHERE, min_size=1, max_size=1) as pool:
        yield pool

@pytest.mark.kebpf("people")
@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_them_anew(number):
    assert cache().incr("visits") == 1
    assert cache().incr("visits") == 2

@pytest.mark.kebpf("people")
@pytest.mark.parametrize("number", [1, 2])
def test_old_connection(pool, number):
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (2,)
        row = connection.execute("SELECT name FROM people WHERE id = %s", (number,)).fetchone()
        assert row == ({1: "ann", 2: "bob"}[number],)
        connection.commit()

@pytest.mark.kebpf("people")
def test_generated_values_are_bound():
    with psycopg.connect(WHERE) as connection:
        now = datetime.now(timezone.utc)
        connection.execute("INSERT INTO log VALUES (%s, %s, %s)", (uuid.uuid4(), now, "hello"))

@pytest.mark.kebpf("people", "other")
def test_several_sets():
    assert cache().get("farewell") == b"bye"
    assert name_of(2) == "bob"

@pytest.mark.kebpf("people")
def test_grandchild():
    code = "import os, redis; print(redis.Redis(port=int(os.environ['CACHE'])).get('greeting'))"
    command = ["sh", "-c", f'{sys.executable} -c "{code}"; true']
    shell = subprocess.run(command, capture_output=True)
    assert shell.stdout == b"b'hi'\\n", shell.stderr

def test_without_calls():
    pass

def test_in_code(kebpf):
    for _ in range(2):
        with kebpf.mocks("people") as calls:
            assert cache().incr("visits") == 1
        assert (calls.used, calls.mocks, calls.misses) == (1, 7, [])
        assert "GET greeting" in calls.unused
    with kebpf.mocks("other", misses="report") as calls:
        with pytest.raises(redis.ResponseError):
            cache().get("never")
    [miss] = calls.misses
    assert miss.cause == "recorded but different" and miss.call == "GET never"
    assert miss.nearest == "GET farewell"
    assert [(one.path, one.recorded, one.actual) for one in miss.differences] == [
        ("/arguments/0", "'farewell'", "'never'")
    ]
"""
BAD = """
@pytest.mark.kebpf("people")
def test_swallowed():
    try:
        name_of(3)
    except psycopg.Error:
        pass

@pytest.mark.kebpf("people")
def test_gives_up():
    try:
        name_of(3)
    except psycopg.Error:
        pytest.skip("no database")

@pytest.fixture
def in_setup():
    with pytest.raises(redis.ResponseError):
        cache().get("never")
    yield
    with pytest.raises(redis.ResponseError):
        cache().get("never again")

@pytest.mark.kebpf("people")
def test_in_fixture(in_setup):
    pass

@pytest.mark.kebpf("people")
def test_before_unmarked():
    assert cache().get("greeting") == b"hi"

def test_unmarked():
    with pytest.raises(redis.ResponseError):
        cache().get("greeting")

@pytest.mark.kebpf("people", unused="error")
def test_unused():
    assert cache().get("greeting") == b"hi"

@pytest.mark.kebpf("people", misses="report")
def test_lenient():
    with pytest.raises(redis.ResponseError):
        cache().get("never")

@pytest.mark.kebpf("peeple")
def test_no_such_set():
    pass

@pytest.mark.kebpf("people", cases="get-*")
def test_no_such_case():
    pass

@pytest.mark.kebpf("people", nearly=True)
def test_no_such_option():
    pass

def test_block(kebpf):
    with kebpf.mocks("people"):
        with pytest.raises(redis.ResponseError):
            cache().get("never")

@pytest.mark.kebpf("people")
def test_after_all_this():
    assert cache().incr("visits") == 1
"""
LATE = """
@pytest.mark.kebpf("people")
def test_sends_and_goes():
    import socket
    there = socket.create_connection(("127.0.0.1", int(os.environ["CACHE"])))
    there.sendall(b"*2\\r\\n$3\\r\\nGET\\r\\n$5\\r\\nnever\\r\\n")
    there.close()

@pytest.mark.kebpf("people")
def test_next():
    pass
"""


def run(people: PeopleRecording, folder: Path, code: str, *words: str, sets: str = "") -> PytestRun:
    (folder / "test_it.py").write_text(HEAD + code)
    around = ["-o", str(people.folder), *sets.split()]
    return run_pytest(folder, *words, around=around, environment=people.environment)


@pytest.mark.parametrize("workers", [(), ("-n", "3")], ids=["alone", "xdist"])
def test_good_tests_pass(people: PeopleRecording, tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run(people, tmp_path, GOOD, *workers)
    assert done.status == 0, done.output + done.said
    assert len(done.outcomes) == 9 and list(done.outcomes.values()) == [["PASSED"]] * 9
    assert "no miss" in done.said and done.said.endswith("; 1 miss that the tests provoke\n")


@dataclass(frozen=True)
class Users:
    """A folder of an ordinary user's, with the recordings."""

    folder: Path
    environment: dict[str, str]
    user: str

    def run(self, code: str, *words: str, around: Sequence[str] | None) -> PytestRun:
        (self.folder / "test_it.py").write_text(HEAD + code)
        environment = {**self.environment, "HOME": str(self.folder)}
        return run_pytest(
            self.folder, *words, around=around, environment=environment, user=self.user
        )


@pytest.fixture
def users(people: PeopleRecording) -> Iterator[Users]:
    skip_unless_reachable()
    user = find_ordinary_user()
    with open_folder() as folder:
        shutil.copytree(people.folder, folder / "kebpf")
        install(folder / "installed")
        (folder / "pytest.ini").touch()
        give(folder, user)
        yield Users(folder, people.environment, user)


def test_an_ordinary_user_needs_no_root(users: Users) -> None:
    done = users.run(GOOD, around=["--rootless"])
    assert done.status == 0, done.output + done.said
    assert list(done.outcomes.values()) == [["PASSED"]] * 9
    assert "no miss" in done.said


def test_workers_of_an_ordinary_user(users: Users) -> None:
    """Each in a network of its own, as the documentation says; with one for all they refuse."""
    done = users.run(GOOD, "-n", "2", around=["--rootless"])
    assert done.status == 4 and "ERROR: kebpf: " in done.said, done.output + done.said
    command = f"{sys.executable} -m kebpf.cli.main mock --rootless -- {sys.executable}"
    done = users.run(GOOD, "--dist", "load", "--tx", f"2*popen//python={command}", around=None)
    assert done.status == 0, done.output + done.said
    assert list(done.outcomes.values()) == [["PASSED"]] * 9


def test_what_fails_a_test(people: PeopleRecording, tmp_path: Path) -> None:
    done = run(people, tmp_path, BAD)
    assert done.outcomes == {
        "test_swallowed": ["FAILED"],
        "test_gives_up": ["FAILED"],
        "test_in_fixture": ["ERROR", "ERROR"],
        "test_before_unmarked": ["PASSED"],
        "test_unmarked": ["FAILED"],
        "test_unused": ["PASSED", "ERROR"],
        "test_lenient": ["PASSED"],
        "test_no_such_set": ["ERROR"],
        "test_no_such_case": ["ERROR"],
        "test_no_such_option": ["ERROR"],
        "test_block": ["FAILED"],
        "test_after_all_this": ["PASSED"],
    }, done.output
    explained = done.explain("test_swallowed")
    assert "1 call found no mock in people" in explained
    assert "/parameters/0: recorded '1', now '3'" in explained
    assert "not marked with @pytest.mark.kebpf" in done.explain("test_unmarked")
    assert "6 of 7 mocks of people were not used" in done.explain("test_unused")
    assert "there is no test set 'peeple'" in done.explain("test_no_such_set")
    assert "no case is called get-*" in done.explain("test_no_such_case")
    assert "no option nearly" in done.explain("test_no_such_option")
    assert "GET never" in done.explain("test_block")
    assert done.status == 1 and "1 miss that the tests provoke" in done.said


def test_calls_nobody_waits_for_are_of_the_test_that_made_them(
    people: PeopleRecording, tmp_path: Path
) -> None:
    done = run(people, tmp_path, LATE)
    assert done.outcomes == {"test_sends_and_goes": ["FAILED"], "test_next": ["PASSED"]}


def test_calls_outside_of_tests_fail_the_run(people: PeopleRecording, tmp_path: Path) -> None:
    code = """
with pytest.raises(redis.ResponseError):
    cache().get("at import")
def test_fine():
    pass
"""
    done = run(people, tmp_path, code)
    assert done.status == 1 and done.outcomes == {"test_fine": ["PASSED"]}
    assert "calls outside of every test" in done.output


def test_sets_named_for_the_command_answer_unmarked_tests(
    people: PeopleRecording, tmp_path: Path
) -> None:
    code = """
def test_first():
    assert cache().incr("visits") == 1
def test_second():
    assert cache().incr("visits") == 2
def test_third():
    with pytest.raises(redis.ResponseError):
        cache().incr("visits")
"""
    done = run(people, tmp_path, code, sets="people")
    assert list(done.outcomes.values()) == [["PASSED"], ["PASSED"], ["FAILED"]]
    assert "no mock in people" in done.explain("test_third")


def test_a_run_of_tests_within_a_test_disturbs_nobody(
    people: PeopleRecording, tmp_path: Path
) -> None:
    code = """
@pytest.mark.kebpf("people")
def test_outer(tmp_path):
    (tmp_path / "test_inner.py").write_text('''
import os, pytest, redis
@pytest.mark.kebpf("other")
def test_inner():
    assert redis.Redis(port=int(os.environ["CACHE"])).get("farewell") == b"bye"
''')
    assert cache().incr("visits") == 1
    inner = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(inner, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cache().incr("visits") == 2
"""
    done = run(people, tmp_path, code)
    assert done.status == 0, done.output + done.said


def test_without_kebpf_a_marked_test_does_not_run(tmp_path: Path) -> None:
    code = """
import pytest
@pytest.mark.kebpf("people")
def test_marked():
    pass
def test_in_code(kebpf):
    pass
def test_neither():
    pass
"""
    (tmp_path / "test_it.py").write_text(code)
    done = run_pytest(tmp_path)
    assert done.outcomes == {
        "test_marked": ["ERROR"],
        "test_in_code": ["ERROR"],
        "test_neither": ["PASSED"],
    }
    for name in ("test_marked", "test_in_code"):
        [line] = [one for one in done.explain(name).splitlines() if one.startswith("kebpf: ")]
        assert "sudo kebpf mock -- pytest" in line and "kebpf mock --rootless -- pytest" in line
