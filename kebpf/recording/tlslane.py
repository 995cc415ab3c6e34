"""The wire lane of a connection that is encrypted: its greetings and how its records begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from kebpf.protocols.base import ProtocolError, Sender
from kebpf.protocols.tls.hello import CLIENT_HELLO, SERVER_HELLO, TLS_1_3, Hello, read_hello
from kebpf.protocols.tls.records import (
    APPLICATION_DATA,
    HANDSHAKE,
    Record,
    RecordReader,
    find_record,
)
from kebpf.reassembly.stream import Piece
from kebpf.recording.model import Tls

_MOST_TIMES = 64
MOST_TURNS = 10_000
#: A turn is over when nothing more came for so long, in event time.
TURN_IDLE_NS = 1_000_000_000
#: Of a record that holds the client's Finished, by the hash's size (RFC 8446, 4.4.4 and 5.2): what
#: a client sends so first on a connection of TLS 1.3 says nothing yet.
_FINISHED_SIZES = frozenset(4 + hash_size + 1 + 16 for hash_size in (32, 48))
_ALERT_SIZE = 2 + 1 + 16  # close_notify
#: What a record is longer than its plaintext, by what protects it: TLS 1.3; TLS 1.2 with AES-GCM,
#: with ChaCha20 (RFC 8446, 5.2; RFC 5288, 3; RFC 7905, 2).
_OVERHEADS = (17, 24, 16)


@dataclass(slots=True)
class Turn:
    """What a client sent in secret and its server's answer to that: when, and by which thread."""

    start_ns: int
    tid: int
    end_ns: int


class TlsLane:
    """``hello_ns`` is when the client's greeting came; 0 if the lane was joined behind it.

    ``note_mark`` is given what tells each record from all others.
    """

    def __init__(self, note_mark: Callable[[bytes], None], hello_ns: int = 0) -> None:
        self._note_mark = note_mark
        self._readers = {sender: RecordReader() for sender in Sender}
        self._is_lost = dict.fromkeys(Sender, not hello_ns)
        self._hello = Hello()
        self._answer = Hello()
        self._since_ns = 0
        # of a side that was not read yet: when its last records came, and their sizes
        self._unread = {sender: deque[tuple[int, int]](maxlen=_MOST_TIMES) for sender in Sender}
        self.turns = deque[Turn](maxlen=MOST_TURNS)
        self._has_answered = True
        self._is_greeting = bool(hello_ns)
        self.was_used = not hello_ns  # whether more than greetings went over it
        self.hello_ns = hello_ns
        self.has_plaintext = False
        self.is_understood = False

    @property
    def facts(self) -> Tls:
        """What the greetings say; ``alpn`` only as far as it was said openly (up to TLS 1.2)."""
        return Tls(self._hello.server_name, "".join(self._answer.alpn[:1]), self._answer.version)

    @property
    def offers(self) -> tuple[str, ...]:
        """The protocols that the client offered (ALPN)."""
        return self._hello.alpn

    def begin_plaintext(self, time_ns: int, is_whole: bool) -> None:
        """Its plaintext is known from then on; if not ``is_whole`` there was some before."""
        self.has_plaintext = True
        self._since_ns = time_ns
        if is_whole:
            self._unread.clear()

    def understand(self) -> None:
        """Its plaintext is one of a protocol that is known."""
        self.is_understood = True
        self.turns.clear()

    def find_missed(self, sender: Sender, time_ns: int, size: int) -> list[Sender]:
        """To be asked when ``size`` bytes of ``sender``'s plaintext came: whose did not before.

        A call that was under way when the probes were put there is not seen to end.  Of an answer
        that takes several, what is seen of it first is not its beginning; where the greetings were
        seen there may be tickets among its records, of any size, so nothing is told by that.
        """
        missed: list[Sender] = []
        before = self._unread.pop(sender, None)
        if sender is Sender.SERVER and before is not None and not self.hello_ns:
            sizes = [one for record_ns, one in before if self._since_ns < record_ns < time_ns]
            missed += [sender] if sizes and not _may_hold(sizes, size) else []
        for other, records in self._unread.items():
            times = [record_ns for record_ns, _ in records]
            is_full = len(times) == _MOST_TIMES and times[0] > self._since_ns
            if is_full or any(self._since_ns < record_ns < time_ns for record_ns in times):
                missed.append(other)
                while records and records[0][0] < time_ns:
                    records.popleft()
        return missed

    def take_turns(self, until_ns: int | None) -> list[Turn]:
        """Those that are over by then, all without one; for a connection that is not read."""
        found = []
        while self.turns:
            is_last = len(self.turns) == 1 and until_ns is not None
            if is_last and self.turns[0].end_ns > (until_ns or 0) - TURN_IDLE_NS:
                break
            found.append(self.turns.popleft())
        return found

    def _note_turn(self, sender: Sender, piece: Piece) -> None:
        # of TLS 1.3 a server's first records are greetings and tickets
        self.was_used = self.was_used or self._answer.version != TLS_1_3
        if sender is Sender.CLIENT and self._has_answered:
            self.turns.append(Turn(piece.time_ns, piece.tid, piece.time_ns))
            self._has_answered, self.was_used = False, True
        elif self.turns:
            self.turns[-1].end_ns = piece.time_ns
            self._has_answered = self._has_answered or sender is Sender.SERVER

    def take_piece(self, sender: Sender, piece: Piece) -> bool:
        """The next bytes of one direction, or a gap: it is read on from the next record.

        Whether something may have begun there that is said in secret.
        """
        reader = self._readers[sender]
        if piece.data is None:
            self._is_lost[sender] = True
            return True
        if self._is_lost[sender]:
            if not find_record(piece.data):
                return True
            self._is_lost[sender] = False
            reader = self._readers[sender] = RecordReader()
        try:
            records = reader.receive_data(piece.data)
        except ProtocolError:
            self._is_lost[sender] = True
            return True
        for record in records:
            self._take_record(sender, record, piece.time_ns)
        if not self.is_understood and self._holds_data(sender, records):
            self._note_turn(sender, piece)
        return any(record.kind == APPLICATION_DATA for record in records)

    def _holds_data(self, sender: Sender, records: list[Record]) -> bool:
        found = [one for one in records if one.kind == APPLICATION_DATA]
        if found and sender is Sender.CLIENT and self._is_greeting:
            self._is_greeting = False
            if self._answer.version == TLS_1_3 and found[0].size in _FINISHED_SIZES:
                found = found[1:]
        if not self.was_used and self._answer.version == TLS_1_3:
            found = [one for one in found if one.size != _ALERT_SIZE]
        return bool(found)

    def _take_record(self, sender: Sender, record: Record, time_ns: int) -> None:
        if record.kind == APPLICATION_DATA and sender in self._unread:
            self._unread[sender].append((time_ns, record.size))
        if record.kind == HANDSHAKE:
            self._read_greeting(sender, record.body)
        if record.mark is not None:
            self._note_mark(record.mark)

    def _read_greeting(self, sender: Sender, body: bytes) -> None:
        try:
            if sender is Sender.CLIENT and not self._hello.version:
                self._hello = read_hello(body, CLIENT_HELLO) or self._hello
            elif sender is Sender.SERVER and not self._answer.version:
                self._answer = read_hello(body, SERVER_HELLO) or self._answer
        except ProtocolError:
            return  # it goes on in another record, or is encrypted


def _may_hold(sizes: list[int], plain_size: int) -> bool:
    """Whether records of these sizes may hold just so much plaintext, by whatever cipher.

    Which it is was said in a greeting that came before.
    """
    return any(sum(sizes) - overhead * len(sizes) == plain_size for overhead in _OVERHEADS)
