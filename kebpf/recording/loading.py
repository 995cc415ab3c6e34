"""Loads all code the assembler may ever use, while it can: confined it may reach none of it."""

from __future__ import annotations

import codecs
import encodings
import importlib
import pkgutil
from contextlib import suppress

import kebpf
from kebpf.protocols.registry import load_protocols

#: What the standard library imports only when it needs it.
_LATER = ("_strptime", "unicodedata", "stringprep", "decimal", "linecache", "tokenize")


def load_everything() -> None:
    """The protocols, every encoding a text may be in, what is imported in passing, the version."""
    load_protocols()
    _ = kebpf.__version__  # it is read from a file
    for module in pkgutil.iter_modules(encodings.__path__):
        with suppress(ImportError, LookupError):  # those of other systems
            codecs.lookup(module.name)
    for name in _LATER:
        importlib.import_module(name)
