"""Says whether bytes are DNS, over UDP (messages) or TCP (messages after their 2-byte length).

Which of the two is read off the content: a TCP connection begins with a length, so the bytes that
would be the id, flags and counts of a UDP message are not those of a sane query, and the other way
round.  Strict, as every protocol on every port is asked: one question with a sane name, known
class and type, no answers in a query, nothing after the message, and a server's messages must
carry the ids and questions of the client's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from kebpf.protocols.base import Detection, Document, ProtocolError
from kebpf.protocols.dns import numbers
from kebpf.protocols.dns.messages import HEADER_SIZE, Message, read_message
from kebpf.protocols.dns.names import MAX_LABEL_SIZE, split_name

_SANE_LABEL = re.compile(rb"[A-Za-z0-9_*/\x80-\xff-]+\Z")
_SANE_OPCODES = frozenset({0, 2, 4, 5})
_MAX_ADDITIONAL = 3  # OPT, TSIG or SIG(0), and one to spare

Key = tuple[int, tuple[tuple[str, str, str], ...]]


def is_tcp_start(data: bytes) -> bool:
    """Whether the first bytes of a connection are a TCP stream's rather than a datagram."""
    if len(data) < HEADER_SIZE:
        return True
    if _is_datagram(data):
        return False
    size = int.from_bytes(data[:2], "big")
    return _is_datagram(data[2 : 2 + size]) or _judge_prefix(data[2:]) is not Detection.NO


def _is_datagram(data: bytes) -> bool:
    try:
        return read_message(data).size == len(data)
    except ProtocolError:
        return False


def question_key(message: Message) -> Key:
    """What a response must have in common with its query: id and question, case aside."""
    questions = message.document["questions"]
    rows = tuple((q["name"].lower(), q["type"], q["class"]) for q in questions)
    return message.identifier, rows


def detect(client: bytes, server: bytes) -> Detection:
    """Judges both heads of a connection."""
    if not client:
        return Detection.NO if server else Detection.NEED_MORE
    verdicts = [_judge(client, server, is_tcp) for is_tcp in (False, True)]
    for verdict in (Detection.YES, Detection.NEED_MORE):
        if verdict in verdicts:
            return verdict
    return Detection.NO


def resynchronise(client: bytes, server: bytes) -> Detection:
    """Judges bytes from the middle: also a response alone shows what it is."""
    if client or not server:
        return detect(client, server)
    for is_tcp in (False, True):
        try:
            messages = list(_split(server, is_tcp))
        except ProtocolError:
            continue
        if messages and all(map(is_sane_response, messages)):
            return Detection.YES
    return Detection.NO


def _judge(client: bytes, server: bytes, is_tcp: bool) -> Detection:
    try:
        queries = list(_split(client, is_tcp))
        responses = list(_split(server, is_tcp))
    except ProtocolError:
        return Detection.NO
    if not all(map(is_sane_query, queries)) or not all(map(is_sane_response, responses)):
        return Detection.NO
    if not queries:
        return _judge_prefix(client[2:]) if is_tcp and not server else Detection.NO
    keys = {question_key(query) for query in queries}
    is_paired = all(question_key(response) in keys for response in responses)
    return Detection.YES if is_paired else Detection.NO


def _split(data: bytes, is_tcp: bool) -> Iterator[Message]:
    """The whole messages; a TCP stream may end inside one.  Raises `ProtocolError`."""
    offset = 0
    while offset < len(data):
        if is_tcp:
            size = int.from_bytes(data[offset : offset + 2], "big")
            if len(data) < offset + 2 + size or len(data) < offset + 2:
                return
            message = read_message(data[offset + 2 : offset + 2 + size])
            if message.size != size:
                raise ProtocolError("bytes follow a message inside its length")
            offset += 2 + size
        else:
            message = read_message(data[offset:])
            offset += message.size
        yield message


def is_sane_query(message: Message) -> bool:
    """Whether it is a query such as resolvers send."""
    document = message.document
    if message.is_response or "rcode" in document or "z" in document["flags"]:
        return False
    if "opcode" in document:
        return document["opcode"] in ("NOTIFY", "UPDATE") and _has_sane_question(document)
    has_records = "answers" in document or "authority" in document
    is_small = len(document.get("additional", ())) < _MAX_ADDITIONAL
    return not has_records and is_small and _has_sane_question(document)


def is_sane_response(message: Message) -> bool:
    """Whether it is a response with one sane question."""
    return message.is_response and _has_sane_question(message.document)


def _has_sane_question(document: Document) -> bool:
    if len(document["questions"]) != 1:
        return False
    (question,) = document["questions"]
    is_known = question["type"] in numbers.TYPES.values()
    is_known = is_known and question["class"] in numbers.CLASSES.values()
    return is_known and all(map(_SANE_LABEL.match, split_name(question["name"])))


def _judge_prefix(message: bytes) -> Detection:
    """Whether the first bytes of a message may be a query's: flags, counts, first label."""
    if len(message) < HEADER_SIZE:
        message = message + b"\0\0\x01\0\0\1\0\0\0\0\0\0"[len(message) :]
    word, questions, answers, _, additional = struct.unpack_from("!5H", message, 2)
    if word & 0x8000 or word & 0x4F or word >> 11 & 15 not in _SANE_OPCODES:
        return Detection.NO
    if questions != 1 or answers > 255 or additional > 255:
        return Detection.NO
    label = message[HEADER_SIZE : HEADER_SIZE + 1]
    return Detection.NO if label and label[0] > MAX_LABEL_SIZE else Detection.NEED_MORE
