"""Builds the curl command that sends a recorded request again, for a POSIX shell."""

from __future__ import annotations

import base64
import re
import shlex

from kebpf.protocols.base import Document
from kebpf.protocols.http1.framing import CHUNKED, LENGTH
from kebpf.protocols.http1.grammar import get_values, unfold

MAX_ARGUMENT_SIZE = 64 * 1024  # Linux refuses one argument over 128 KiB
MAX_PRINTF_SIZE = 256  # binary bodies above this are written as base64

_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?\[\]{}|]*")
_ADDED_BY_CURL = ("User-Agent", "Accept")
_MADE_BY_CURL = frozenset({"content-length"})


def curl_line(request: Document, base_url: str, path: str = "") -> str:
    """A shell line that sends ``request`` to ``base_url`` (``http://host:port``) with curl.

    Over TLS (``https://…``) any certificate is accepted.  With ``path`` it goes to that Unix socket
    (abstract if it begins with ``@``).
    Method, target, headers and body are those of the request; headers of curl's own are
    suppressed.  Only trailers are left out, which curl cannot send; the line ends with a comment
    that says so.
    """
    feed, data = _make_data(request)
    words = [
        "curl",
        "-i",
        *(["-k"] if base_url.startswith("https:") else []),
        *_make_socket(path),
        *_make_method(request, bool(data)),
        *_make_url(request, base_url),
    ]
    words += _make_headers(request, base_url, bool(data)) + data
    note = "  # without its trailers" if request["trailers"] else ""
    return f"{feed}{' '.join(words)}{note}"


def _make_socket(path: str) -> list[str]:
    if not path:
        return []
    option = "--abstract-unix-socket" if path.startswith("@") else "--unix-socket"
    return [option, shlex.quote(path.removeprefix("@"))]


def _make_method(request: Document, has_data: bool) -> list[str]:
    method = request["method"]
    words = ["--http1.0"] if request["version"] == "1.0" else []
    if method == "HEAD" and not has_data:
        return [*words, "--head"]
    if method == ("POST" if has_data else "GET"):
        return words
    return [*words, "-X", shlex.quote(method)]


def _make_url(request: Document, base_url: str) -> list[str]:
    target, base = request["target"], base_url.rstrip("/")
    if _PLAIN_TARGET.fullmatch(target) is None:
        return ["--request-target", _quote(target.encode("latin-1")), shlex.quote(f"{base}/")]
    words = ["--globoff"] if re.search(r"[\[\]{}]", target) else []
    words += ["--path-as-is"] if "/." in target else []
    return [*words, shlex.quote(base + target)]


def _make_headers(request: Document, base_url: str, has_data: bool) -> list[str]:
    headers = request["headers"]
    wanted = [pair for pair in headers if not _is_implied(pair, base_url)]
    missing = [name for name in _ADDED_BY_CURL if not get_values(headers, name.lower())]
    if not get_values(headers, "host"):
        missing.append("Host")
    if has_data:
        missing += [
            name for name in ("Content-Type", "Expect") if not get_values(headers, name.lower())
        ]
    lines = [_make_header(name, unfold(value)) for name, value in wanted]
    lines += [f"{name}:".encode() for name in missing]
    return [word for line in lines for word in ("-H", _quote(line))]


def _make_header(name: str, value: str) -> bytes:
    """curl takes ``Name;`` for an empty value, since ``Name:`` removes the header."""
    return (f"{name}: {value}" if value else f"{name};").encode("latin-1")


def _is_implied(pair: list[str], base_url: str) -> bool:
    name = pair[0].lower()
    if name == "host":
        authority = base_url.partition("://")[2].rstrip("/")
        return pair == ["Host", authority]
    return name in _MADE_BY_CURL


def _make_data(request: Document) -> tuple[str, list[str]]:
    """``(command that feeds curl, words)`` for the body."""
    body: bytes = request["body"]
    if not body and request["framing"] not in (LENGTH, CHUNKED):
        return "", []
    if len(body) <= MAX_ARGUMENT_SIZE and _is_printable(body):
        return "", ["--data-raw", shlex.quote(body.decode())]
    if len(body) <= MAX_PRINTF_SIZE:
        feed = f"printf {_quote_format(body)} | "
    else:
        feed = f"printf %s {base64.b64encode(body).decode()} | base64 -d | "
    return feed, ["--data-binary", "@-"]


def _quote(data: bytes) -> str:
    """One shell word for any bytes but NUL (and without a newline at the end)."""
    if _is_printable(data):
        return shlex.quote(data.decode())
    return f'"$(printf {_quote_format(data)})"'


def _is_printable(data: bytes) -> bool:
    """Whether a person sees every character: what is copied must be what is shown."""
    try:
        return data.decode().replace("\n", "").isprintable()
    except UnicodeDecodeError:
        return False


def _quote_format(data: bytes) -> str:
    """A printf format: letters and digits as they are, every other byte in octal."""
    text = "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\{byte:03o}"
        for byte in data
    )
    return f"'{text}'"
