"""Java's TLS, as the agent reports it, against what peers received; and that it does no harm."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import socket
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from kebpf.capture.javaattach import JAR, attach_agent
from kebpf.capture.javalaunch import add_agent
from kebpf.capture.jvm import OPTIONS_VARIABLE, Jvm, read_jvm
from kebpf.capture.probes import Door, Probes
from tests.capture.tap import Capture, tap_command
from tests.e2e.javatls import (
    IN_DEPTH,
    MACHINES,
    PASSWORD,
    WHY_NOT,
    Certificate,
    EchoPeer,
    PlainWatcher,
    compile_programs,
    echo_peer,
    name_machine,
    reassemble,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.e2e,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.timeout(180),
]
every_machine = pytest.mark.parametrize("java", MACHINES, ids=name_machine)
CROWD = 200 if IN_DEPTH else 40  # connections
KINDS = ["socket", "engine"]
any_machine = pytest.mark.parametrize("java", MACHINES[:1], ids=name_machine)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_programs(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=list(Door) if IN_DEPTH else [None])
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    with closing(Probes(request.param, ring_size=32 << 20)) as made:
        made.attach()
        yield made


def run_client(java: str, classes: Path, certificate: Certificate, *words: object) -> list[str]:
    trust = f"-Djavax.net.ssl.trustStore={certificate.trust}"
    password = f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"
    return [java, trust, password, "-cp", str(classes), "TlsClient", *map(str, words)]


def with_agent(command: Sequence[str]) -> list[str]:
    """Held until it is watched, then the command, each JVM of which loads the agent."""
    with ExitStack() as stack:
        environment = add_agent({}, 0, 0, stack)
    option = f"{OPTIONS_VARIABLE}={environment[OPTIONS_VARIABLE]}"
    return ["sh", "-c", 'read line; exec env "$@"', "sh", option, *command]


def record(probes: Probes, command: Sequence[str]) -> Capture:
    while probes.ring.drain():
        pass
    with tap_command(probes, with_agent(command)) as tap:
        tap.start()
        return tap.finish()


def check_plaintext(watcher: PlainWatcher, peer: EchoPeer) -> None:
    """Byte for byte what the peer received and sent, of every connection."""
    talks = {port: talk for port, talk in peer.talks.items() if talk.received}
    assert watcher.plain.keys() == talks.keys()
    for port, (ingress, egress) in watcher.plain.items():
        assert digest(egress) == digest(talks[port].received)
        assert digest(ingress) == digest(talks[port].sent)


def digest(data: bytes | bytearray) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


@every_machine
@pytest.mark.parametrize("kind", KINDS)
def test_a_clients_plaintext_is_what_its_peer_received(
    probes: Probes, classes: Path, certificate: Certificate, java: str, kind: str
) -> None:
    with echo_peer(certificate) as peer:
        capture = record(
            probes, run_client(java, classes, certificate, kind, peer.url, 25, 3, 50000)
        )
    watcher = reassemble(capture.events)
    check_plaintext(watcher, peer)
    whole = [one for one in watcher.exchanges if one.exchange.problem is None]
    assert len(whole) == capture.report["done"] == 75
    assert all(one.tls is not None for one in whole)
    assert not watcher.unparsed


@any_machine
@pytest.mark.parametrize("kind", KINDS if IN_DEPTH else KINDS[1:])
def test_many_connections_at_once(
    probes: Probes, classes: Path, certificate: Certificate, java: str, kind: str
) -> None:
    with echo_peer(certificate) as peer:
        command = run_client(java, classes, certificate, kind, peer.url, 3, CROWD, 3000)
        capture = record(probes, command)
    check_plaintext(reassemble(capture.events), peer)
    assert capture.report["done"] == 3 * CROWD


@any_machine
def test_a_servers_plaintext_is_what_its_clients_had(
    probes: Probes, classes: Path, certificate: Certificate, java: str
) -> None:
    command = [java, "-cp", str(classes), "TlsServer", str(certificate.store), PASSWORD]
    while probes.ring.drain():
        pass
    with tap_command(probes, with_agent(command)) as tap:
        tap.start()
        port = int(tap.read_line())
        sent = ask_server(port, certificate)
        tap.go_on()
        capture = tap.finish()
    exchanges = reassemble(capture.events).exchanges
    served = {one.exchange.request["body"] for one in exchanges}
    assert served == sent


def ask_server(port: int, certificate: Certificate) -> set[bytes]:
    """Several clients at once; gives what they sent, and got back."""
    context = ssl.create_default_context(cafile=str(certificate.file))
    sent: set[bytes] = set()

    def ask(seed: int) -> None:
        source = random.Random(seed)
        with closing(http.client.HTTPSConnection("localhost", port, context=context)) as client:
            for _ in range(20):
                body = source.randbytes(source.randint(1, 30000))
                client.request("POST", "/", body)
                assert client.getresponse().read() == body
                sent.add(body)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


@contextmanager
def busy_client(
    java: str, classes: Path, certificate: Certificate, url: str, requests: int
) -> Iterator[tuple[subprocess.Popen[str], Jvm]]:
    """A client that works until it is done, and then waits."""
    command = run_client(java, classes, certificate, "engine", url, requests, 4, 3000, "wait")
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "ready\n"
        jvm = read_jvm(program.pid)
        assert jvm is not None
        program.stdin.write("\n")
        program.stdin.flush()
        yield program, jvm
    finally:
        program.kill()
        program.communicate()


@every_machine
def test_twenty_attaches_under_load_cost_a_program_nothing(
    classes: Path, certificate: Certificate, java: str
) -> None:
    """The program checks each of its answers, and ends otherwise if one is wrong."""
    with ExitStack() as stack:
        peer = stack.enter_context(echo_peer(certificate))
        busy = busy_client(java, classes, certificate, peer.url, 1500)
        program, jvm = stack.enter_context(busy)
        for _ in range(20):
            os.close(attach_agent(jvm))
        output, errors = program.communicate(timeout=150)
    assert program.returncode == 0
    assert output.splitlines()[-1] == '{"done": 6000}'
    assert all("agent" in line or "WARNING" in line for line in errors.splitlines())
    assert not list(Path("/tmp").glob(".kebpf-*"))
    assert not list(Path("/tmp").glob(f".attach_pid{jvm.pid}"))


@any_machine
def test_an_agent_without_kebpf_restores_the_program_and_falls_silent(
    classes: Path, certificate: Certificate, java: str
) -> None:
    """It has its sockets while kebpf's descriptor is open, and none some time after."""
    with ExitStack() as stack:
        peer = stack.enter_context(echo_peer(certificate))
        busy = busy_client(java, classes, certificate, peer.url, 10**6)
        program, jvm = stack.enter_context(busy)
        with_none = count_channels(jvm.pid)
        owner = attach_agent(jvm)
        reporting = count_channels(jvm.pid)
        os.close(owner)
        await_silence(jvm.pid)
        assert program.poll() is None
        owner = attach_agent(jvm)
        again = count_channels(jvm.pid)
        os.close(owner)
    assert (with_none, reporting > 0, again > 0) == (0, True, True)


def list_channels(pid: int) -> list[int]:
    """Ports of the UDP sockets of a process that speak with themselves."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = str(entry.readlink()) if entry.is_symlink() else ""
        inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    found = []
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[1] == fields[2]:
                found.append(int(fields[1].rpartition(":")[2], 16))
    return found


def count_channels(pid: int) -> int:
    return len(list_channels(pid))


def await_silence(pid: int) -> None:
    """The agent looks every second."""
    ended = threading.Event()
    for _ in range(100):
        if not list_channels(pid):
            return
        ended.wait(0.1)
    raise TimeoutError("the agent goes on reporting")


@any_machine
def test_nobody_else_gets_at_the_reports(
    classes: Path, certificate: Certificate, java: str
) -> None:
    """The port is the agent's, and what others send there does not come in."""
    with ExitStack() as stack:
        peer = stack.enter_context(echo_peer(certificate))
        busy = busy_client(java, classes, certificate, peer.url, 10**6)
        _, jvm = stack.enter_context(busy)
        owner = attach_agent(jvm)
        ports = list_channels(jvm.pid)
        for port in ports:
            for address in ("127.0.0.1", "0.0.0.0"):
                with socket.socket(type=socket.SOCK_DGRAM) as other:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    with pytest.raises(OSError, match="in use"):
                        other.bind((address, port))
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                stranger.connect(("127.0.0.1", port))
                stranger.send(b"hello")
                with pytest.raises(ConnectionRefusedError):  # no socket takes it
                    stranger.recv(1)
        os.close(owner)
    assert ports


def test_a_jar_built_now_holds_what_the_one_here_holds(tmp_path: Path) -> None:
    """The sources are those the jar was made from; with the same compiler each byte is."""
    script = Path(__file__).parents[2] / "packaging/java/build-jar"
    built = tmp_path / "built.jar"
    subprocess.run([script, built], check=True)
    manifests = []
    for jar in (JAR, built):
        with zipfile.ZipFile(jar) as archive:
            text = archive.read("META-INF/MANIFEST.MF").decode()
        manifests.append(dict(line.split(": ", 1) for line in text.splitlines() if line))
    assert manifests[0]["Kebpf-Sources"] == manifests[1]["Kebpf-Sources"]
    if manifests[0]["Kebpf-Compiler"] == manifests[1]["Kebpf-Compiler"]:
        assert digest(JAR.read_bytes()) == digest(built.read_bytes())
