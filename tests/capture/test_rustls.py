"""rustls's functions are found by both ways in which Rust writes names, and only where known."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from kebpf.capture.elf import Elf
from kebpf.capture.events import Direction, decode_run
from kebpf.capture.points import Place, Point
from kebpf.capture.probes import Door, Probes
from kebpf.capture.rustls import find_points, find_version
from kebpf.capture.tlsevents import Plain
from kebpf.capture.tlswatch import TlsWatch
from tests.capture.binaries import build, list_symbols, needs_compiler
from tests.capture.doors import DOORS

# as rustc 1.95 wrote them, by -C symbol-mangling-version=legacy and =v0
LEGACY = (
    "_ZN6rustls12common_state11CommonState23take_received_plaintext17h2317e2f8988941baE",
    "_ZN6rustls12common_state11CommonState20send_appdata_encrypt17h89a4798a85c7d55dE"
    ".llvm.4524362571187758814",
)
NEW = (
    "_RNvMs_NtCs2kXq7J1BPpA_6rustls12common_stateNtB4_11CommonState23take_received_plaintext",
    "_RNvMs_NtCs2kXq7J1BPpA_6rustls12common_stateNtB4_11CommonState20send_appdata_encrypt",
)
# closures within them, and functions of that name of something else
OTHERS = (
    "_ZN6rustls12common_state11CommonState23take_received_plaintext28_$u7b$$u7b$closure$u7d$$u7d$"
    "17h0317e2f8988941baE",
    "_ZN5other12common_state11CommonState20send_appdata_encrypt17h89a4798a85c7d55dE",
    "_RNCNvMs_NtCs2_6rustls12common_stateNtB4_11CommonState23take_received_plaintext0B6_",
)
PATH = "/registry/src/index/rustls-%s/src/common_state.rs"


def make(folder: Path, names: tuple[str, ...], version: str = "0.23.46") -> Path:
    functions = "".join(
        f'long f{index}(long *a, long *b) __asm__("{name}");'
        f"long f{index}(long *a, long *b) {{ a[{index}] = b[1]; return b[2] + {index}; }}\n"
        for index, name in enumerate(names)
    )
    calls = " + ".join(f"f{index}(a, a)" for index in range(len(names)))
    text = f'const char *volatile path = "{PATH % version}";'
    source = f"{functions}{text}int main(void) {{ long a[9] = {{0}}; return !path + {calls}; }}"
    return build(folder, source, "-fno-inline")


def find(path: Path) -> list[Point]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(find_points(Elf(descriptor)))
    finally:
        os.close(descriptor)


# A program that does as rustls does, with functions of these names that turn bytes over: it writes
# what its input says, in slices, of which a call takes no more than a limit; and reads as much.
PROGRAM = """
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
struct slice { unsigned char *at; uint64_t size; };
struct payload { uint64_t capacity; unsigned char *at; uint64_t size; };
struct chunks { struct slice *slices; uint64_t count, start, end; };
static unsigned char wire[1 << 20], text[1 << 20], got[1 << 20];
const char *volatile path = "/registry/rustls-0.23.46/src/common_state.rs";
void take(void *state, struct payload *p) __asm__("%s");
uint64_t give(void *state, struct chunks *c, uint64_t limit) __asm__("%s");
__attribute__((noipa)) void take(void *state, struct payload *p)
{
    for (uint64_t i = 0; i < p->size; i++) got[i] = p->at[i];
    *(uint64_t *)state += p->size;
}
__attribute__((noipa)) uint64_t give(void *state, struct chunks *c, uint64_t limit)
{
    struct slice one = {(unsigned char *)c->count, c->start};
    struct slice *slices = c->slices ? c->slices : &one;
    uint64_t count = c->slices ? c->count : 1, skip = c->slices ? c->start : 0;
    uint64_t size = (c->slices ? c->end : c->start + skip) - skip, taken = 0;
    if (size > limit) size = limit;
    for (uint64_t i = 0; i < count; i++)
        for (uint64_t j = 0; j < slices[i].size && taken < size; j++)
            if (skip) skip--; else wire[taken++] = slices[i].at[j] ^ 0x55;
    *(uint64_t *)state += taken;
    return taken;
}
static void send_all(int fd, uint64_t size)
{
    for (uint64_t at = 0; at < size;) at += send(fd, wire + at, size - at, 0);
}
int main(int count, char **arguments)
{
    static uint64_t state[100];
    struct sockaddr_in peer = {AF_INET, htons(atoi(arguments[1])), {htonl(INADDR_LOOPBACK)}};
    puts("up"), fflush(stdout), getchar();
    for (int i = 0; i < (int)sizeof(text); i++) text[i] = i * 31 + i / 256;
    for (int round = 0; round < 3; round++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&peer, sizeof(peer))) return 1;
        struct slice slices[] = {{text, 100}, {text + 7000, 0}, {text + 5000, 40000}, {text, 50}};
        struct chunks single = {0, (uint64_t)(text + round), 1000, 0};
        struct chunks several = {slices, 4, 110, 40120};
        uint64_t size = give(state, &single, 1 << 20);
        send_all(fd, size);
        uint64_t part = give(state, &several, 30000);
        send_all(fd, part);
        several.start += part, size += part;
        part = give(state, &several, 30000);
        send_all(fd, part), size += part;
        for (uint64_t at = 0; at < size;) {
            long part = recv(fd, wire, sizeof(wire), 0);
            if (part <= 0) return 2;
            for (long i = 0; i < part; i++) wire[i] ^= 0x55;
            struct payload payload = {1ull << 63, wire, part};
            take(state, &payload);
            at += part;
        }
        close(fd);
    }
    return !path;
}
"""


def serve(listener: socket.socket, got: list[bytes]) -> None:
    """Gives what it gets back turned round, on three connections."""
    for _ in range(3):
        connection, _ = listener.accept()
        with connection:
            data = b""
            while len(data) < 41010:
                data += connection.recv(65536)
            got.append(data)
            connection.sendall(data[::-1])
            assert connection.recv(1) == b""


@needs_compiler
@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
def test_what_the_peer_saw(tmp_path: Path, door: Door) -> None:
    """Of three connections on end, which have their state at one address."""
    path = build(tmp_path, PROGRAM % (LEGACY[0], LEGACY[1]))
    got: list[bytes] = []
    probes = Probes(door, with_tls=True, ring_size=16 << 20)
    watch = TlsWatch(probes, lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, got))
        server.start()
        program = subprocess.Popen(
            [str(path), str(listener.getsockname()[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert program.stdout and program.stdout.readline() == "up\n"
            probes.attach()
            probes.watch([program.pid])
            watch.look()
            program.communicate("\n", timeout=60)
            assert program.returncode == 0
            server.join(60)
            data = b""
            while run := probes.ring.drain(1 << 24):
                data += run
        finally:
            program.kill()
            program.wait()
            watch.close()
            probes.close()
    plain = [event for event in decode_run(data) if isinstance(event, Plain)]
    sessions = list(dict.fromkeys(event.key for event in plain))
    assert len(sessions) == len(got) == 3
    for key, wire in zip(sessions, got, strict=True):
        sent = bytes(byte ^ 0x55 for byte in wire)
        for direction, expected in ((Direction.EGRESS, sent), (Direction.INGRESS, sent[::-1])):
            pieces = [
                event for event in plain if event.key == key and event.head.direction == direction
            ]
            assert [each.offset for each in pieces] == [
                sum(each.size for each in pieces[:index]) for index in range(len(pieces))
            ]
            own = b"".join(each.data or b"" for each in pieces)
            assert own == expected
        # on one connection, known from when something was read
        sockets = {event.head.socket for event in plain if event.key == key}
        assert len(sockets - {0}) == 1


@needs_compiler
@pytest.mark.parametrize("names", [LEGACY, NEW], ids=["legacy", "v0"])
def test_functions(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = make(tmp_path, (*names, *OTHERS))
    symbols = list_symbols(path)
    points = find(path)
    entries = {each.function: each for each in points if each.place is Place.ENTRY}
    assert list(entries) == ["rustls_read", "rustls_write"]
    for name, point in zip(names, entries.values(), strict=True):
        assert 0 <= point.offset - symbols[name] <= 8
        assert point.registers == ("di", "si")
        assert any(
            each.function == point.function and each.place is Place.RETURN for each in points
        )
    with path.open("rb") as file:
        assert find_version(Elf(file.fileno())) == "rustls 0.23.46"


@needs_compiler
def test_nothing_is_said_of_what_is_not_known(tmp_path: Path) -> None:
    assert find(make(tmp_path, LEGACY, "0.21.12")) == []
    assert find(make(tmp_path, LEGACY[:1])) == []
    assert find(make(tmp_path, OTHERS)) == []
    path = make(tmp_path, LEGACY)
    subprocess.run(["strip", str(path)], check=True, timeout=60)
    assert find(path) == []
