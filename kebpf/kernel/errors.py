"""What can go wrong between kebpf and the kernel, each said in one sentence with its remedy."""

from __future__ import annotations


class KernelError(Exception):
    """The kernel side cannot work; ``str()`` says what is wrong, ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
