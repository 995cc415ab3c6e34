"""Programs loaded without a compiler: the kernel says that they are those that were compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kebpf.capture.filters import Filters
from kebpf.capture.probes import Door, Probes
from kebpf.kernel import programs
from kebpf.kernel.bpf import MapShape
from kebpf.kernel.compiled import Compiled, CompiledProgram
from kebpf.kernel.kept import ProgramCache
from tests.capture.doors import DOORS

FIELDS = ("map_type", "key_size", "value_size", "max_entries", "map_flags", "prog_type", "prog_tag")
LOAD_MAP = bytes.fromhex("1811000000000000") + bytes(8)  # r1 = map 0
RETURN_0 = bytes.fromhex("b700000000000000 9500000000000000")
SHAPE = MapShape(kind=2, key_size=4, value_size=8, entries=1, flags=0)


def make_compiled(code: bytes = LOAD_MAP + RETURN_0, **changes: object) -> Compiled:
    status = Path(__file__).stat()
    compiler = [(__file__, status.st_size, status.st_mtime_ns)]
    made = Compiled({"one": CompiledProgram(17, -1, code)}, {"numbers": SHAPE}, "GPL", compiler)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_it_reads_what_it_writes() -> None:
    assert Compiled.decode(make_compiled().encode()) == make_compiled()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"programs": 1}'])
def test_anything_else_is_no_programs(content: bytes) -> None:
    with pytest.raises(ValueError):
        Compiled.decode(content)


@pytest.mark.parametrize(
    "compiler",
    [[], [(__file__, 1, 1)], [("/nonexistent/libbcc.so.0", 1, 1)]],
    ids=["unknown", "newer", "gone"],
)
def test_another_compiler(compiler: list[tuple[str, int, int]]) -> None:
    assert make_compiled().is_of_this_compiler()
    assert not make_compiled(compiler=compiler).is_of_this_compiler()


@pytest.mark.kernel
def test_what_the_kernel_takes() -> None:
    loaded, maps = make_compiled().load({})
    descriptors = [*loaded.values(), *maps.values()]
    assert read_facts(maps["numbers"])["value_size"] == "8"
    assert not any(map(os.get_inheritable, descriptors))
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "compiled",
    [
        make_compiled(RETURN_0[8:]),  # r0 was never set
        make_compiled(RETURN_0[:-3]),
        make_compiled(bytes.fromhex("1811000009000000") + bytes(8) + RETURN_0),
        make_compiled(bytes.fromhex("1831000000000000") + bytes(8) + RETURN_0),
        make_compiled(maps={"numbers": replace(SHAPE, kind=9999)}),
    ],
    ids=["refused", "cut", "no such map", "no map", "no such kind"],
)
def test_what_cannot_be_loaded_leaves_nothing(compiled: Compiled) -> None:
    before = list_descriptors()
    with pytest.raises((OSError, ValueError)):
        compiled.load({})
    assert list_descriptors() == before


def list_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def read_facts(descriptor: int) -> dict[str, str]:
    """What the kernel says of a program or map; a tag is a sum of the program's instructions."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    facts = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return {name: facts[name] for name in FIELDS if name in facts}


def describe(probes: Probes) -> dict[str, dict[str, str]]:
    loaded = probes._loaded
    return {name: read_facts(fd) for name, fd in {**loaded.programs, **loaded.maps}.items()}


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One entry each time the compiler is started."""
    runs: list[str] = []
    run_loader: Callable[..., object] = programs._run_loader

    def run(interpreter: str, request: dict[str, object]) -> object:
        runs.append(interpreter)
        return run_loader(interpreter, request)

    monkeypatch.setattr(programs, "_run_loader", run)
    yield runs


KINDS = {
    "plain": {},
    "filters": {"filters": Filters(ports=(80,))},
    "groups": {"with_groups": True},
}


@pytest.mark.kernel
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_kept_and_compiled_are_the_same(
    tmp_path: Path, compilations: list[str], door: Door, kind: str
) -> None:
    cache, options = ProgramCache(tmp_path / "kept"), KINDS[kind]
    found = []
    for number in range(3):
        use = cache if number else None  # compiled as without a cache, to be kept, and kept
        with closing(Probes(door, cache=use, **options)) as probes:  # type: ignore[arg-type]
            found.append(describe(probes))
            probes.attach()
    assert len(compilations) == 2
    assert found[0] == found[1] == found[2]
    assert all(facts["prog_tag"] for facts in found[2].values() if "prog_type" in facts)


@pytest.mark.kernel
def test_other_settings_and_damage_are_compiled(tmp_path: Path, compilations: list[str]) -> None:
    cache = ProgramCache(tmp_path / "kept")
    for ring_size, number in ((1 << 20, 1), (2 << 20, 2), (1 << 20, 2), (2 << 20, 2)):
        Probes(ring_size=ring_size, cache=cache).close()
        assert len(compilations) == number
    for path in cache.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    Probes(ring_size=1 << 20, cache=cache).close()
    assert len(compilations) == 3
    Probes(ring_size=1 << 20, cache=cache).close()
    assert len(compilations) == 3


@pytest.mark.kernel
def test_what_the_kernel_refuses_is_compiled_anew(tmp_path: Path, compilations: list[str]) -> None:
    cache = ProgramCache(tmp_path / "kept")
    Probes(ring_size=1 << 20, cache=cache).close()
    (path,) = cache.folder.iterdir()
    key = path.name.partition(".")[0]
    kept = Compiled.decode(cache.find(key) or b"")
    name = "on_sock_send_length"
    wrong = replace(kept.programs[name], code=RETURN_0[8:])
    cache.keep(key, replace(kept, programs={**kept.programs, name: wrong}).encode())
    with closing(Probes(ring_size=1 << 20, cache=cache)) as probes:
        probes.attach()
    assert len(compilations) == 2
    assert Compiled.decode(cache.find(key) or b"") == kept
