"""Which request a call belongs to by the asyncio task that sent it.

In a Python service all requests may share a thread; the task that runs when a request is sent
says whose it is.  A request's *head* is the task that wrote its response or, where that one was
made on the request's account by another, the topmost task made after the request began.  A call
belongs to a request if the head sent it, or a task made below it meanwhile (`gather`, task groups,
middleware).  A task of which nothing of this is known says nothing.
"""

from __future__ import annotations

from kebpf.recording.activity import Inbound, Memory, Outbound

MEMORY_CAP = 20_000  # tasks made by others, and tasks that wrote responses, each
MOST_ANCESTORS = 64
MOST_IN_LINE = 8  # tasks, one made by the other, that are kept of a call


class Tasks:
    """What is known of tasks: who made them, and who wrote which request's response.

    A task is known by its process and when it was made (`kebpf.protocols.base.Mark.task`), so
    that one made later at the same address is another.
    """

    def __init__(self, cap: int = MEMORY_CAP) -> None:
        self._parents: Memory[tuple[int, int], int] = Memory(cap)
        self._served: Memory[tuple[int, int], Inbound] = Memory(cap)

    def link(self, pid: int, task: int, parent: int) -> None:
        """One task of a process made another."""
        self._parents.put((pid, task), parent)

    def learn_request(self, request: Inbound) -> None:
        """Takes a request that was answered."""
        if request.task:
            self._served.put((request.pid, request.task), request)
            self._served.put((request.pid, self._find_head(request)), request)

    def narrow(self, call: Outbound) -> list[Inbound]:
        """The candidates; of a task that served a request now over, that one or, too late, none.

        What runs behind the response (a background task) is the request's all the same.
        """
        served = self._find_served(call) if call.task else None
        if served is None or self.find_owner(call) is not None or served in call.candidates:
            return call.candidates
        is_behind = served.end_ns <= call.start_ns and not served.is_resolved
        return [served] if is_behind else []

    def _find_served(self, call: Outbound) -> Inbound | None:
        """The request that the call's task, or one above it, answered."""
        task = call.task
        for _ in range(MOST_ANCESTORS):
            served = self._served.get((call.recorded.pid, task)) if task else None
            if served is not None or not task:
                return served if served is None or self._is_for(call, served) else None
            task = self._parents.get((call.recorded.pid, task)) or 0
        return None

    def find_owner(self, call: Outbound) -> Inbound | None:
        """The one request among the candidates that the call's task worked for."""
        if not call.task:
            return None
        found = [request for request in call.candidates if self._is_for(call, request)]
        return found[0] if len(found) == 1 else None

    def find_line(self, call: Outbound) -> list[int]:
        """The call's task as the last, and each above it down from the head of its request.

        Nothing where that is not known.
        """
        if call.case is None or not call.task or call.case.pid != call.recorded.pid:
            return []
        head, line = self._find_head(call.case), [call.task]
        while line[-1] != head and len(line) < MOST_IN_LINE:
            line.append(self._parents.get((call.case.pid, line[-1])) or 0)
        return line[::-1] if line[-1] == head else []

    def _is_for(self, call: Outbound, request: Inbound) -> bool:
        if not request.task or request.pid != call.recorded.pid:
            return False
        head, task = self._find_head(request), call.task
        for _ in range(MOST_ANCESTORS):
            if task == head:
                return True
            if task < request.start_ns:
                return False  # it was there before: whoever made it, not for this request
            task = self._parents.get((request.pid, task)) or 0
        return False

    def _find_head(self, request: Inbound) -> int:
        task = request.task
        for _ in range(MOST_ANCESTORS):
            parent = self._parents.get((request.pid, task)) or 0
            if parent < request.start_ns:
                break
            task = parent
        return task
