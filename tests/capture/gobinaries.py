"""Builds Go programs, and asks Go's own tools what is in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

# further toolchains to build by, which Go gets for itself: "go1.18.10 go1.20.14"
TOOLCHAINS = ("local", *os.environ.get("KEBPF_GO_TOOLCHAINS", "").split())
MODES = {
    "fixed": ("-buildmode=exe",),
    "PIE": ("-buildmode=pie",),
}
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
_LINE = re.compile(r"^\s+\S+\s+0x([0-9a-f]+)\s+([0-9a-f]+)\s+(\S+)(.*)$")

# The shapes that functions of crypto/tls have: large frames, deferred calls, several returns,
# switches; and one so small that it does not look at its stack.
SOURCE = """
package main

import "os"

type mutex struct{ state int }

//go:noinline
func (m *mutex) lock() { m.state++ }

//go:noinline
func (m *mutex) unlock() { m.state-- }

type Conn struct {
	in  mutex
	raw []byte
}

//go:noinline
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.in.lock()
	defer c.in.unlock()
	var scratch [600]byte
	for len(c.raw) == 0 {
		if err := c.fill(scratch[:]); err != nil {
			return 0, err
		}
	}
	switch len(b) & 15 {
	case 1:
		return copy(b, c.raw[:1]), nil
	case 2:
		return copy(b, c.raw[1:]), nil
	case 3:
		return copy(b, c.raw[2:]), os.ErrClosed
	case 4:
		return copy(b, c.raw[3:]), os.ErrExist
	case 5:
		return copy(b, c.raw[4:]), os.ErrInvalid
	case 6:
		return copy(b, c.raw[5:]), os.ErrNotExist
	case 7:
		return copy(b, c.raw[6:]), os.ErrPermission
	case 8:
		return copy(b, c.raw[7:]), os.ErrProcessDone
	}
	return copy(b, c.raw), nil
}

//go:noinline
func (c *Conn) fill(b []byte) error {
	c.raw = append(c.raw, b[:10]...)
	return nil
}

//go:noinline
func (c *Conn) Write(b []byte) (int, error) {
	for i := range b {
		c.in.lock()
		c.raw = append(c.raw, b[i])
		c.in.unlock()
	}
	return len(b), nil
}

//go:noinline
func (c *Conn) Close() error { return nil }

func main() {
	c := &Conn{}
	n, err := c.Write([]byte(os.Args[0]))
	m, _ := c.Read(make([]byte, n))
	if err != nil || m == 0 || c.Close() != nil {
		os.Exit(1)
	}
}
"""
FUNCTIONS = {
    "main.(*Conn).Read": "go_read",
    "main.(*Conn).Write": "go_write",
    "main.(*Conn).Close": "go_close",
}


@dataclass(frozen=True)
class Line:
    """One instruction as ``go tool objdump`` says it."""

    address: int
    name: str
    rest: str


@dataclass(frozen=True)
class Twins:
    """A program without symbols, and what Go says of the one with them."""

    stripped: Path
    functions: dict[str, list[Line]]
    version: str


@cache
def _home() -> Path:
    """Where Go keeps what it built, which many tests use again."""
    found = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, timeout=60)
    return Path(found.stdout.strip())


def build_twins(folder: Path, mode: str, toolchain: str = "local") -> Twins:
    """Skips the test where the toolchain cannot be had."""
    (folder / "main.go").write_text(SOURCE)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
        "GOCACHE": str(_home()),
        "GOENV": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": toolchain,
    }

    def run(*command: str) -> str:
        result = subprocess.run(
            ("go", *command), env=environment, cwd=folder, capture_output=True, timeout=300
        )
        if result.returncode and b"toolchain" in result.stderr:
            pytest.skip(f"{toolchain} is not to be had")
        assert not result.returncode, result.stderr.decode()
        return result.stdout.decode()

    whole, stripped = folder / "whole", folder / "stripped"
    run("build", *MODES[mode], "-o", str(whole), "main.go")
    run("build", *MODES[mode], "-ldflags=-s -w", "-o", str(stripped), "main.go")
    functions = {
        name: _read_lines(run("tool", "objdump", "-s", f"^{re.escape(name)}$", str(whole)))
        for name in FUNCTIONS
    }
    return Twins(stripped, functions, run("env", "GOVERSION").strip())


def _read_lines(text: str) -> list[Line]:
    matches = (_LINE.match(line) for line in text.splitlines())
    return [Line(int(each[1], 16), each[3], each[4].strip()) for each in matches if each]
