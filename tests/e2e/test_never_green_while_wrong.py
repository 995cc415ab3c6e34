"""Every line of what this field gets wrong: the mistake is red, in its case, for what it is."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest

from examples.processes import find_free_port
from tests.e2e.conftest import skip_unless_root
from tests.e2e.field.lines import LINES, CallFinding, Difference, Line
from tests.e2e.field.stand import APART, COMMAND, RECORDINGS, Stand, choose_batch, preparing
from tests.e2e.field.stand import test_service as run_service
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, TestRun

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    skip_unless_root()
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with preparing(tmp_path_factory.mktemp("field")) as prepared:
        yield prepared


def name_of(case: Entry) -> str:
    """The line whose request a case is."""
    url: str = case["request"].split()[1]
    return urlsplit(url).path[1:]


def find_case(run: TestRun, line: Line) -> Entry:
    [case] = [case for case in run.cases if name_of(case) == line.name]
    return case


def has_difference(case: Entry, wanted: Difference) -> bool:
    """Whether a mismatch is at or below the path, of the kind if one is said."""
    if wanted.path == "":
        return bool(case["error"] or case["mismatches"])
    return any(
        found["path"].startswith(wanted.path) and wanted.kind in ("", found["kind"])
        for found in case["mismatches"]
    )


def has_call(case: Entry, wanted: CallFinding) -> bool:
    """Whether a call of the kind, if one is said, has the text in what is told of it."""
    return any(
        wanted.kind in ("", found["kind"]) and wanted.text in str(found) for found in case["calls"]
    )


def is_found(case: Entry, wanted: Difference | CallFinding) -> bool:
    if isinstance(wanted, Difference):
        return has_difference(case, wanted)
    return has_call(case, wanted)


def tell(case: Entry) -> str:
    """What was found, for the failure of a test."""
    return "\n".join(
        map(str, [case["verdict"], case["error"], *case["mismatches"], *case["calls"]])
    )


def list_lines() -> list[tuple[str, str]]:
    """Recordings and names."""
    names = [name for name in LINES if name not in APART]
    return [(recording, name) for recording in RECORDINGS for name in names]


@pytest.mark.parametrize("recording", RECORDINGS)
def test_unchanged_is_green(recording: str, stand: Stand) -> None:
    run = stand.run(recording)
    assert {name_of(case): tell(case) for case in run.failed} == {}
    assert len(run.cases) == len(LINES)
    assert (run.status, run.finished["findings"]) == (0, [])
    assert stand.summaries[recording]["left_out"] == {}
    assert stand.summaries[recording]["database_unknown"] == {}


@pytest.mark.parametrize(("recording", "name"), list_lines())
def test_mistake_is_red(recording: str, name: str, stand: Stand) -> None:
    line = LINES[name]
    run = stand.run(recording, choose_batch(line))
    assert run.status == 1
    case = find_case(run, line)
    assert case["verdict"] != "passed", f"green while wrong: {line.said}"
    assert case["case"] in run.finished["failed_cases"]
    assert is_found(case, line.finding), tell(case)


@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("name", list(LINES)[:2])
def test_nothing_else_is_red(recording: str, name: str, stand: Stand) -> None:
    """In each batch, the lines whose mistake is not switched on are green."""
    batch = choose_batch(LINES[name])
    red = {name_of(case): tell(case) for case in stand.run(recording, batch).failed}
    assert {name: why for name, why in red.items() if name not in batch} == {}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_bodies_are_recorded_whole(recording: str, stand: Stand) -> None:
    """As the client got them: slow ones in chunks, large ones, compressed ones."""
    entries = {
        urlsplit(entry["request"]["path"]).path[1:]: entry
        for entry in stand.entries(recording)
        if entry["kind"] == "test"
    }
    assert entries.keys() == LINES.keys()
    for name in ("slow_chunks", "cut_off_chunked", "large_binary", "large_json", "event_stream"):
        status, body = stand.answers[recording][name]
        response = entries[name]["response"]
        assert response["status"] == status
        assert read_body(response["body"], body) == body, name


def read_body(shown: object, like: bytes) -> bytes:
    """The bytes of a body as ``kebpf show`` gives it; a tree as it is written in ``like``."""
    if isinstance(shown, dict) and "base64" in shown:
        return base64.b64decode(shown["base64"])
    if isinstance(shown, str):
        return shown.encode()
    assert json.loads(like) == shown
    return like


def test_one_mistake_is_enough_for_status_1(stand: Stand) -> None:
    """A failing case whose mocks differ too is a failed case, not an obsolete one."""
    run = stand.run_alone("load", "case_and_mocks_differ")
    failed = {name_of(case) for case in run.failed}
    assert (run.status, failed) == (1, {"case_and_mocks_differ"})
    assert run.finished["skipped"] == 0


def test_an_application_that_dies_is_not_green(stand: Stand) -> None:
    run = stand.run_alone("sequence", "death")
    assert run.status == 3
    case = find_case(run, LINES["death"])
    assert case["verdict"] == "errored", tell(case)
    after = run.cases[run.cases.index(case) + 1 :]
    assert {case["verdict"] for case in after} <= {"skipped", "errored"}
    assert any(event["event"] == "run_failed" for event in run.events)


def test_another_call_at_the_start_is_not_green(stand: Stand) -> None:
    run = stand.run_alone("sequence", "startup_call")
    assert run.status in (1, 3)
    assert "version FROM places" in str(run.finished["findings"])


def test_other_settings_of_connections_are_not_green(stand: Stand) -> None:
    """No call shows them, and the answers of a server would be others."""
    own = stand.environment_of("sequence")
    changed = {
        "FIELD_PORT": str(find_free_port()),
        "FIELD_DATABASE": f"{own['FIELD_DATABASE']}?options=-c%20TimeZone%3DCET",
        "FIELD_OTHER_DATABASE": f"{own['FIELD_OTHER_DATABASE']}?application_name=other",
        "FIELD_OTHER_REDIS": f"{own['FIELD_OTHER_REDIS']}?client_name=other",
    }
    report = stand.folder / "settings.jsonl"
    run = run_service(COMMAND, stand.folder / "sequence", report, {**own, **changed})
    found = {str(one["call"]): one["fields"] for one in run.finished["findings"]}
    assert (run.status, run.failed) == (1, [])
    assert any(said.startswith("connect to field ") and "CET" in said for said in found), found
    assert any(said.startswith("connect to other ") and "other" in said for said in found), found
    assert len(found) == 2  # a name where there was none at all is no other name


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_thread_too_many_is_not_green(recording: str, stand: Stand) -> None:
    """Nobody waits for it, so its call may come in any case; the run is red."""
    name = "write_of_a_thread_doubled"
    run = stand.run_alone(recording, name)
    found = [call for case in run.failed for call in case["calls"]] + run.finished["findings"]
    assert (run.status, run.finished["errored"]) == (1, 0)
    assert [call for call in found if "INCRBY beside:doubled" in str(call)] == found != []


def test_a_case_that_never_runs_is_not_green(stand: Stand) -> None:
    run = stand.run_alone("load", "", "--case", "no-such-case")
    assert run.status == 4
    assert run.finished["passed"] == 0


class Decoy:
    """Listens where a dependency was and counts who comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.accepted += 1
                connection.recv(1)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def decoys(stand: Stand) -> Iterator[list[Decoy]]:
    """One at each address of a dependency."""
    places = [value for name, value in stand.environment.items() if not name.startswith("PORT")]
    ports = {urlsplit(place).port for place in places} - {None}
    assert len(ports) == 5  # the two databases are one server's
    with ExitStack() as stack:
        opened = [Decoy(port) for port in ports if port is not None]
        for decoy in opened:
            stack.callback(decoy.close)
        yield opened


def test_a_live_server_is_never_asked(stand: Stand) -> None:
    """mitmproxy goes to it once recordings are used up (#8363)."""
    bugs = ("polled_too_often", "incr_doubled", "insert_doubled", "table_not_recorded")
    with decoys(stand) as opened:
        socket.create_connection(("127.0.0.1", opened[0].port)).close()
        run = stand.run_alone("load", ",".join(bugs))
        counts = [decoy.accepted for decoy in opened]
    assert {name_of(case) for case in run.failed} == set(bugs)
    assert sum(counts) == 1  # our own, so one that comes is counted
