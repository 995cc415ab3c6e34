"""Pairs requests with responses on one watched HTTP/1 connection.

While nothing is lost, the n-th final response answers the n-th request (RFC 9112 section 9.3.2),
so pipelining pairs exactly.  A gap inside a body of known framing only marks its message.  Any
other gap loses the count of messages.  Then:

* every exchange under way is given up with a problem, because its response can no longer be told
  from another's;
* pairing starts again with the next piece that begins with a request line, if the next bytes of
  the server begin with a status line: a client that does not pipeline has then had every earlier
  response;
* a client seen to pipeline has not, so such a connection is ``broken`` instead of guessed at.

What cannot be told apart: after a loss, a piece of a lost request's body that is itself a whole
request head.
"""

from __future__ import annotations

from collections import deque

from kebpf.protocols.base import Detection, Exchange, Mark, ProtocolError, Sender
from kebpf.protocols.http1.detection import METHODS, judge_response, judge_resumption
from kebpf.protocols.http1.framing import is_switch, may_switch, name_switch
from kebpf.protocols.http1.parser import HeadRead, Message, MessageParser, TruncatedError
from kebpf.protocols.http1.turns import Turn, describe_loss, make_interim, make_orphan

MAX_HELD_SIZE = 1024 * 1024  # bytes kept while it is not known how to read them
MAX_TURNS = 1000  # requests that wait for their responses

_DOUBT = "something before its response could not be read, so the pairing is doubtful"
_PIPELINED = "requests were pipelined around a loss, so responses can no longer be paired"
_CLIENT, _SERVER = Sender.CLIENT, Sender.SERVER  # an enumeration's own attributes are slow
_UNASKED = "the server sent a response without a request"


class HttpPairer:
    """Both directions of one connection in, exchanges out (see `kebpf.protocols.base.Pairer`)."""

    def __init__(self, joined: bool = False) -> None:
        self.broken: str | None = None
        self.is_tunnel = False
        self._parsers = {sender: MessageParser(sender) for sender in Sender}
        self._client = self._parsers[Sender.CLIENT]
        self._server = self._parsers[Sender.SERVER]
        self._is_lost = dict.fromkeys(Sender, joined)
        self._is_tentative = False  # the client's bytes only look like the start of a request
        self._has_loss = joined
        self._is_pipelined = False
        self._turns: deque[Turn] = deque()
        self._sending: Turn | None = None  # whose request is under way
        self._last_request: Message | None = None
        self._reading = Sender.CLIENT
        self._done: list[Exchange] = []
        self._has_left = False

    @property
    def open_since(self) -> Mark | None:
        """Where the oldest request began whose exchange is not complete."""
        return self._turns[0].request.start if self._turns else None

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes the next bytes of one direction; gives what they completed."""
        if self.broken is None and data:
            if sender is _CLIENT:
                if self._take_whole_request(data, mark):
                    return []
            elif exchange := self._take_whole_response(data, mark):
                return [exchange]
        if self.broken is None and data and self._accept(sender, data):
            self._parsers[sender].receive_data(data, mark)
            self._advance(data, mark)
            self._check_held(mark)
        return self._drain()

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Takes ``size`` bytes (0: unknown) known to be missing in one direction."""
        if self.broken is not None:
            return []
        if self._is_lost[sender] or not self._parsers[sender].skip(size, mark):
            what = "a request" if sender is Sender.CLIENT else "the response"
            self._lose(sender, describe_loss(size, what), mark)
        else:
            self._advance(b"", mark)
        return self._drain()

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction."""
        if self.broken is not None:
            return []
        self._parsers[sender].receive_eof()
        self._advance(b"", mark)
        if sender is Sender.SERVER:
            self._give_up("the server closed the connection before", mark)
        return self._drain()

    def leave(self) -> None:
        """The connection is no more: if the client closed it, it had read all it wanted."""
        self._has_left = self._client.has_eof and not self._server.has_eof

    def finish(self, mark: Mark) -> list[Exchange]:
        """The recording or the connection ended: gives what is unfinished, with its problem."""
        if self.broken is None:
            if self._has_left:
                self._cut_response()
            self._give_up("the recording ended before", mark)
        return self._drain()

    def _take_whole_request(self, data: bytes, mark: Mark) -> bool:
        """Takes a request that is all of a piece, with nothing else under way: the usual case."""
        server = self._server
        if self._turns or self._is_tentative or server.message or server.buffer.data:
            return False
        if self._is_lost[_CLIENT]:
            return False
        message = self._client.read_whole(data, mark)
        if message is None:
            return False
        self._open_turn(message, mark)
        self._sending = None
        self._last_request = message
        return True

    def _take_whole_response(self, data: bytes, mark: Mark) -> Exchange | None:
        """Takes the answer to the only request, if it is all of a piece: the usual case."""
        client, server, turns = self._client, self._server, self._turns
        if len(turns) != 1 or self._is_pipelined or client.message or client.buffer.data:
            return None
        turn = turns[0]
        is_begun = not turn.request.is_complete or turn.response_start is not None
        if is_begun or self._is_lost[_SERVER] or turn.may_switch:
            return None
        server.method = turn.request.head["method"]
        message = server.read_whole(data, mark)
        if message is None or message.head["status"] < 200:
            return None
        turn.response, turn.response_start = message, message.start
        turns.clear()
        return turn.make_exchange()

    def _accept(self, sender: Sender, data: bytes) -> bool:
        """Whether bytes are in step with the parser, or bring it in step again."""
        if not self._is_lost[sender]:
            return True
        if sender is Sender.CLIENT:
            if judge_resumption(data) is Detection.NO:
                return False
            self._is_tentative = True
        elif not self._turns:
            return False
        elif judge_response(data) is Detection.NO:
            self._drop_turns(_DOUBT)
            return False
        self._parsers[sender].reset()
        self._is_lost[sender] = False
        return True

    def _advance(self, data: bytes, mark: Mark) -> None:
        """Reads on in both directions as far as it goes; ``data`` is the piece just received."""
        try:
            while self.broken is None and (self._read_requests(mark) or self._read_responses()):
                pass
        except ProtocolError as error:
            self._refuse(error, data, mark)

    def _refuse(self, error: ProtocolError, data: bytes, mark: Mark) -> None:
        """Gives up on a direction whose bytes are not HTTP/1 (or end inside a message)."""
        if self._reading is Sender.CLIENT and self._is_tentative:
            self._is_lost[Sender.CLIENT] = True
            if data and judge_resumption(data) is not Detection.NO and self._client.buffer.data:
                self._retry(data, mark)
            return
        what = "a request" if self._reading is Sender.CLIENT else "the response"
        if isinstance(error, TruncatedError):
            self._lose(self._reading, f"{what} was cut off", mark)
        else:
            self._lose(self._reading, f"{what} is malformed: {error}", mark)

    def _retry(self, data: bytes, mark: Mark) -> None:
        """Takes the last piece alone for the start of a request."""
        is_alone = len(self._client.buffer.data) == len(data)
        self._client.reset()
        if not is_alone:
            self._is_lost[Sender.CLIENT] = False
            self._client.receive_data(data, mark)
            self._advance(b"", mark)

    def _read_requests(self, mark: Mark) -> bool:
        """Reads one event of the client; false when there is none to be had."""
        self._reading = Sender.CLIENT
        if self._is_lost[Sender.CLIENT] or self._must_wait():
            return False
        event = self._client.next_event()
        if event is None:
            return False
        if isinstance(event, HeadRead):
            self._open_turn(event.message, mark)
        else:
            self._sending = None
            self._last_request = event.message
        return True

    def _must_wait(self) -> bool:
        """After CONNECT or Upgrade the next bytes may not be HTTP: only the response tells."""
        if not self._turns or self._client.message is not None:
            return False
        last = self._turns[-1]
        return last.may_switch and not last.is_answered()

    def _open_turn(self, message: Message, mark: Mark) -> None:
        if self._is_tentative and message.head["method"] not in METHODS:
            raise ProtocolError("the rest of a request line")
        self._is_tentative = False
        self._judge_unasked(message)
        if self._last_request and self._last_request.end is message.piece:
            self._is_pipelined = True
        turn = Turn(message, may_switch=may_switch(message.head))
        self._turns.append(turn)
        self._sending = turn
        if len(self._turns) > MAX_TURNS:
            self._lose(Sender.CLIENT, f"over {MAX_TURNS:,} requests wait for a response", mark)

    def _judge_unasked(self, message: Message) -> None:
        """Drops bytes the server sent, without being asked, before this request began.

        Bytes with a later time were only handed over early: they are its response.
        """
        held = self._server.buffer
        if self._turns or not held.data or message.start.time_ns < held.get_mark().time_ns:
            return
        self._done.append(make_orphan(_UNASKED, held.get_mark()))
        self._server.reset()
        self._is_lost[Sender.SERVER] = self._has_loss = True

    def _read_responses(self) -> bool:
        """Reads one event of the server for the first request not yet answered."""
        self._reading = Sender.SERVER
        turn = next((turn for turn in self._turns if not turn.is_answered()), None)
        if turn is None or self._is_lost[Sender.SERVER]:
            return False
        self._server.method = turn.request.head["method"]
        event = self._server.next_event()
        if event is None:
            return False
        if isinstance(event, HeadRead):
            self._note_response(turn, event.message)
        elif turn.response is None:
            turn.interim.append(make_interim(event.message))
        elif is_switch(turn.request.head["method"], event.message.head["status"]):
            self._switch(turn)
        else:
            self._collect()
        return True

    def _note_response(self, turn: Turn, message: Message) -> None:
        turn.response_start = turn.response_start or message.start
        status = message.head["status"]
        if status >= 200 or status == 101:
            turn.response = message
        if self._turns[-1] is not turn:
            self._is_pipelined = True
        if self._is_pipelined and self._has_loss:
            self._break(_PIPELINED)

    def _switch(self, turn: Turn) -> None:
        request = turn.request.head
        response = turn.response.head if turn.response else {}
        has_more = self._client.buffer.data or self._server.buffer.data
        self.is_tunnel = request["method"] == "CONNECT" and not has_more
        self._collect()
        self._break(name_switch(request, response))

    def _break(self, reason: str) -> None:
        self._drop_turns(reason)
        self._client.reset()
        self._server.reset()
        self.broken = reason

    def _lose(self, sender: Sender, problem: str, mark: Mark) -> None:
        """Gives up on all that is under way after bytes that break the count of messages."""
        self._collect()
        self._blame(sender, problem, mark)
        self._has_loss = True
        self._server.reset()
        self._is_lost[Sender.SERVER] = True
        if sender is Sender.CLIENT:
            self._client.reset()
            self._is_lost[Sender.CLIENT] = True
            self._sending = None
        if self._is_pipelined:
            self._break(_PIPELINED)

    def _blame(self, sender: Sender, problem: str, mark: Mark) -> None:
        """Puts the loss to the exchange it touches, and doubt to the others."""
        turn: Turn | None = None
        if sender is Sender.CLIENT:
            turn = self._sending
        elif self._turns:
            turn = next((turn for turn in self._turns if not turn.is_answered()), None)
        if turn is None or turn.is_dropped:
            if not self._is_lost[sender]:
                self._done.append(make_orphan(problem, mark))
        else:
            turn.problem = problem
        self._drop_turns(_DOUBT)

    def _drop_turns(self, problem: str) -> None:
        for turn in self._turns:
            turn.problem = turn.problem or problem
            turn.is_dropped = True
            self._done.append(turn.make_exchange())
        self._turns.clear()

    def _give_up(self, prefix: str, mark: Mark) -> None:
        self._collect()
        if self._server.buffer.data and not self._turns:
            self._done.append(make_orphan(_UNASKED, self._server.buffer.get_mark()))
        elif self._client.message is None and self._client.buffer.data and not self._is_tentative:
            self._done.append(make_orphan("a request was cut off", mark))
        for turn in self._turns:
            what = "response" if turn.request.is_complete else "request"
            turn.problem = turn.problem or f"{prefix} the {what} was complete"
        self._drop_turns(prefix)
        self._server.reset()

    def _cut_response(self) -> None:
        """Makes an exchange of a response whose client closed before it had read the rest."""
        self._collect()
        if len(self._turns) != 1 or self._is_lost[_SERVER]:
            return
        turn = self._turns[0]
        if turn.request.is_complete and turn.response and not turn.response.is_complete:
            turn.response.is_cut = turn.response.is_complete = True
            self._server.reset()

    def _check_held(self, mark: Mark) -> None:
        """Keeps what waits for the other direction under its cap."""
        for sender, parser in self._parsers.items():
            if len(parser.buffer.data) > MAX_HELD_SIZE and self.broken is None:
                self._lose(sender, f"over {MAX_HELD_SIZE:,} bytes wait for their turn", mark)

    def _collect(self) -> None:
        while self._turns and self._turns[0].is_complete():
            self._done.append(self._turns.popleft().make_exchange())

    def _drain(self) -> list[Exchange]:
        self._collect()
        done, self._done = self._done, []
        return done
