"""The one mapping between bytes on the wire and the text of documents.

A byte string that is valid UTF-8 is written as ``str``, every other one as ``bytes``.  Nothing is
lost and nothing is ambiguous: strict UTF-8 decoding has exactly one inverse, and ``bytes`` in a
document never hold valid UTF-8.
"""

from __future__ import annotations

Text = str | bytes


def to_text(data: bytes | bytearray) -> Text:
    """``str`` where the bytes are UTF-8, else ``bytes``."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return bytes(data)


def to_bytes(text: Text) -> bytes:
    """The reverse of `to_text`."""
    return text.encode() if isinstance(text, str) else bytes(text)


def to_printable(text: Text) -> str:
    """Text for people: bytes that are not UTF-8 as ``\\xff``."""
    return text if isinstance(text, str) else text.decode(errors="backslashreplace")
