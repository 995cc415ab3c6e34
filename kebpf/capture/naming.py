"""The name people have for a program: its script, module or jar rather than the interpreter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

_PYTHON = re.compile(r"(python|pypy)[\d.]*t?")
_OTHERS = re.compile(r"(ruby|perl|php|bun|deno)[\d.]*")
#: Files that only say "start here": the folder's name tells more.
_ENTRIES = ("__main__", "index")
_PYTHON_TAKING = "WX"  # options of python(1) with a value
_NODE_TAKING = ("-r", "--require", "--import", "--loader", "--experimental-loader", "-C")
_NODE_CODE = ("-e", "--eval", "-p", "--print")
_JAVA_TAKING = (
    *("-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path"),
    *("--add-modules", "--add-opens", "--add-exports", "--add-reads", "--enable-native-access"),
)
_OTHERS_CODE = ("-e", "-E", "-r", "--eval", "eval", "repl")
_OTHERS_TAKING = ("-I", "-M", "-c")


def name_program(words: Sequence[str], otherwise: str) -> str:
    """What ``words`` run (``python3 -m shop.main`` → ``shop.main``), or ``otherwise``.

    That is for programs that are their own executables, and for code on the command line.
    """
    if not words:
        return otherwise
    program = PurePath(words[0]).name
    for pattern, find in _FINDERS:
        if pattern.fullmatch(program):
            return find(iter(words[1:])) or otherwise
    return otherwise


def _name_script(path: str) -> str:
    """``/srv/shop/server.js`` → ``server``; ``/srv/shop/index.js`` → ``shop``."""
    script = PurePath(path)
    name = script.stem if script.suffix else script.name
    return script.parent.name or name if name in _ENTRIES else name


def _find_python(words: Iterator[str]) -> str:
    """By the grammar of python(1): one-letter options may be joined, the last with its value."""
    for word in words:
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, "")
        elif not word.startswith("-"):
            return _name_script(word)
        else:
            for at, letter in enumerate(word[1:], 2):
                if letter == "m":
                    return _name_module(word[at:] or next(words, ""))
                if letter == "c":
                    return ""
                if letter in _PYTHON_TAKING:
                    if not word[at:]:
                        next(words, "")
                    break
    return ""


def _name_module(name: str) -> str:
    return name.removesuffix(".__main__")


def _find_node(words: Iterator[str]) -> str:
    for word in words:
        if word in _NODE_CODE:
            return ""
        if word in _NODE_TAKING:
            next(words, "")
        elif not word.startswith("-"):
            return _name_script(word)
    return ""


def _find_java(words: Iterator[str]) -> str:
    """``-jar app.jar`` → ``app``, ``com.acme.Shop`` and ``-m shop/com.acme.Shop`` → ``Shop``."""
    for word in words:
        if word == "-jar":
            return PurePath(next(words, "")).stem
        if word in ("-m", "--module"):
            return next(words, "").partition("/")[2].rpartition(".")[2]
        if word in _JAVA_TAKING:
            next(words, "")
        elif not word.startswith(("-", "@")):
            is_source = word.endswith(".java")
            return _name_script(word) if is_source else word.rpartition(".")[2]
    return ""


def _find_script(words: Iterator[str]) -> str:
    for word in words:
        if word in _OTHERS_CODE:
            return ""
        if word in _OTHERS_TAKING:
            next(words, "")
        elif word != "run" and not word.startswith("-"):  # deno run, bun run
            return _name_script(word)
    return ""


_FINDERS: tuple[tuple[re.Pattern[str], Callable[[Iterator[str]], str]], ...] = (
    (_PYTHON, _find_python),
    (re.compile(r"node(js)?"), _find_node),
    (re.compile(r"java"), _find_java),
    (_OTHERS, _find_script),
)
