"""The one error a test set gives to people."""

from __future__ import annotations


class TestSetError(Exception):
    """A test set cannot be read or written; the text is one sentence with what to do about it."""

    __test__ = False
