"""The one error a test set gives to people."""

from __future__ import annotations

import errno


class TestSetError(Exception):
    """A test set cannot be read or written; the text is one sentence with what to do about it."""

    __test__ = False


def explain_writing(error: OSError, doing: str) -> TestSetError:
    """A sentence on what stands in the way, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TestSetError(f"{doing}: the disk is full; free some space or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TestSetError(
            f"{doing}: {error.strerror}; choose a folder you may write to or run as its owner"
        )
    return TestSetError(f"{doing}: {error.strerror or error}; see to that and try again")
