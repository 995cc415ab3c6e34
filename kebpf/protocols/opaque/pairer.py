"""Cuts a connection of an unknown protocol into exchanges by turns of speaking.

A turn is what the client says until the server answers, and what the server says until the
client speaks again.  That is all that can be known without the protocol: an answer that comes
before the request is whole, several requests under way at once, or messages the server sends
unasked cannot be told from an ordinary turn; such traffic is recorded as the turns it looks like.
What the server says first is a greeting: an exchange with an empty request, which belongs to the
session because nothing asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.protocols.base import Document, Exchange, Mark, Sender

NAME = "opaque"
MAX_TURN_SIZE = 1024 * 1024  # bytes kept of each side's part of a turn


@dataclass(slots=True)
class _Part:
    """What one side said in a turn."""

    name: str
    data: bytearray = field(default_factory=bytearray)
    start: Mark | None = None
    end: Mark | None = None
    lost_size: int = 0
    has_unknown_loss: bool = False
    is_oversized: bool = False

    def add(self, data: bytes, mark: Mark) -> None:
        self._note(mark)
        room = MAX_TURN_SIZE - len(self.data)
        self.is_oversized |= len(data) > room
        self.data += data[:room]

    def lose(self, size: int, mark: Mark) -> None:
        self._note(mark)
        self.lost_size += size
        self.has_unknown_loss |= size == 0

    def _note(self, mark: Mark) -> None:
        self.start = self.start or mark
        self.end = mark

    def get_problem(self) -> str | None:
        if self.has_unknown_loss:
            return f"an unknown number of bytes of the {self.name} were lost"
        if self.lost_size == 1:
            return f"1 byte of the {self.name} was lost"
        if self.lost_size:
            return f"{self.lost_size:,} bytes of the {self.name} were lost"
        if self.is_oversized:
            return f"the {self.name} is over {MAX_TURN_SIZE:,} bytes"
        return None


class _Turn:
    """Both parts of one turn, and whether the server hung up after it."""

    def __init__(self, problem: str | None = None) -> None:
        self.request = _Part("request")
        self.response = _Part("response")
        self.problem = problem
        self.closes = False

    def make_exchange(self) -> Exchange | None:
        """The exchange, or ``None`` when nobody has said anything."""
        start = self.request.start or self.response.start
        if start is None:
            return None
        return Exchange(
            protocol=NAME,
            request={"data": bytes(self.request.data)},
            response=self._make_response(),
            request_start=start,
            request_end=self.request.end or start,
            response_start=self.response.start,
            response_end=self.response.end,
            is_session=self.request.start is None,
            problem=self._get_problem(),
        )

    def _make_response(self) -> Document:
        response: Document = {"data": bytes(self.response.data)}
        return response | ({"close": True} if self.closes else {})

    def _get_problem(self) -> str | None:
        problems = (self.request.get_problem(), self.response.get_problem(), self.problem)
        return "; ".join(problem for problem in problems if problem) or None


class OpaquePairer:
    """Both directions of one connection in, turns out (see `kebpf.protocols.base.Pairer`)."""

    def __init__(self, joined: bool = False) -> None:
        self.broken: str | None = None
        self._turn = _Turn("the connection was joined during this turn" if joined else None)
        self._has_eof = False

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes the next bytes of one direction; gives the turn they ended."""
        if not data:
            return []
        done = self._turn_over(sender)
        self._get_part(sender).add(data, mark)
        return done

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Takes ``size`` bytes (0: unknown) known to be missing in one direction.

        A gap is known only when the bytes after it come, so lost bytes of the client may have
        been said in the middle of what the server said since: that turn is doubtful too.
        """
        if sender is Sender.CLIENT and self._turn.response.start is not None:
            self._turn.problem = "bytes of the client were lost during or after this turn"
        done = self._turn_over(sender)
        self._get_part(sender).lose(size, mark)
        return done

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction; the server's end is the end of the turn."""
        if sender is Sender.CLIENT:
            self._has_eof = True
            return []
        self._turn.closes = not self._has_eof
        self._has_eof = True
        return self._end_turn()

    def finish(self, mark: Mark) -> list[Exchange]:
        """The recording or the connection ended; without an end seen the turn may be half."""
        if not self._has_eof and self._turn.problem is None:
            self._turn.problem = "the recording ended during this turn"
        return self._end_turn()

    @property
    def held_since(self) -> Mark | None:
        """Where the turn under way began, once it was answered: it may be whole already."""
        has_answer = self._turn.response.start is not None
        return (self._turn.request.start or self._turn.response.start) if has_answer else None

    def release_idle(self, mark: Mark) -> list[Exchange]:
        """Silence proves nothing here: only the client's next bytes end a turn."""
        return []

    def _get_part(self, sender: Sender) -> _Part:
        return self._turn.request if sender is Sender.CLIENT else self._turn.response

    def _turn_over(self, sender: Sender) -> list[Exchange]:
        if sender is Sender.CLIENT and self._turn.response.start is not None:
            return self._end_turn()
        return []

    def _end_turn(self) -> list[Exchange]:
        exchange = self._turn.make_exchange()
        self._turn = _Turn()
        return [] if exchange is None else [exchange]
