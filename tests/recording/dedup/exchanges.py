"""Makes exchanges of known shapes: which shape an exchange is of is known from its making alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from kebpf.recording.model import Endpoint, Evidence, Mock, TestCase, Tier, Timing

APP = Endpoint("tcp", "127.0.0.1", 8000)
DATABASE = Endpoint("tcp", "10.0.0.5", 5432)
WORDS = tuple("amber birch cedar delta ember fjord grove heron ivory jetty".split())  # noqa: SIM905
KINDS = ("open", "paid", "sent", "gone")  # values of a field of few values
METHODS = ("GET", "PUT", "DELETE")
IDS = ("number", "uuid", "word")


@dataclass(frozen=True)
class Maker:
    """One shape: all that its exchanges have in common."""

    resource: str
    method: str
    id_kind: str
    kind: str
    lines: int  # 0, 1 or 2 (many)
    status: int
    rows: int  # likewise, of its second call; -1: it makes one call only

    def make(self, number: int, choice: random.Random) -> tuple[TestCase, list[Mock]]:
        """One more of it, with values of its own."""
        id_ = _make_id(self.id_kind, choice)
        start_ns = 1_700_000_000_000_000_000 + number * 1_000_000
        duration_ns = 1000 + choice.randrange(10**9)
        name = f"case-{number}"
        padding = "some 7 " * choice.randrange(30)
        lines = [
            {"sku": choice.randrange(10**6), "note": None if choice.random() < 0.5 else "n"}
            for _ in range(self.lines if self.lines < 2 else choice.randrange(2, 6))
        ]
        if self.lines == 1:
            lines[0]["note"] = "n"
        elif self.lines > 1:
            lines[-1]["note"] = "n"
        body = {
            "id": id_,
            "kind": self.kind,
            "total": choice.random(),
            "by": choice.randrange(10**9),
            "lines": lines,
        }
        case = TestCase(
            name=name,
            protocol="http",
            request={
                "method": self.method,
                "target": f"/api/v1/{self.resource}/{id_}?trace={choice.random()}",
                "headers": [["Host", "app"]],
                "body": b"",
                "trailers": [],
            },
            response={
                "status": self.status,
                "headers": [["Content-Type", "application/json"]],
                "body": json.dumps(body | {"padding": padding}).encode(),
                "trailers": [],
            },
            endpoint=APP,
            timing=Timing(start_ns, start_ns + duration_ns),
            order=number,
            calls=[],
        )
        return case, list(self._make_calls(case, id_, choice))

    def _make_calls(self, case: TestCase, id_: object, choice: random.Random) -> Iterator[Mock]:
        sql = f"SELECT * FROM {self.resource} WHERE id = $1"
        yield _make_mock(case, 0, sql, id_, 1)
        if self.rows < 0:
            return
        rows = self.rows if self.rows < 2 else choice.randrange(2, 5)
        for repeat in range(choice.randrange(1, 3)):
            yield _make_mock(case, repeat + 1, f"SELECT n FROM {self.resource}_lines", id_, rows)


def _make_id(kind: str, choice: random.Random) -> object:
    if kind == "number":
        return choice.randrange(1, 10**7)
    if kind == "uuid":
        digits = f"{choice.getrandbits(128):032x}"
        sizes = (0, 8, 12, 16, 20, 32)
        return "-".join(digits[a:b] for a, b in pairwise(sizes))
    return "-".join(choice.choice(WORDS) for _ in range(4))


def _make_mock(case: TestCase, place: int, sql: str, id_: object, rows: int) -> Mock:
    start_ns = case.timing.start_ns + place * 100
    name = f"mock-{case.order * 10 + place:09}"
    case.calls.append(name)
    columns = [{"name": "n", "type_oid": 23}]
    result = {"tag": f"SELECT {rows}", "columns": columns, "rows": [["1"]] * rows}
    return Mock(
        name=name,
        protocol="postgres",
        destination=DATABASE,
        request={"kind": "query", "sql": sql, "parameters": [str(id_)], "database": "shop"},
        response={"results": [result]},
        timing=Timing(start_ns, start_ns + 50),
        tier=Tier.CASE,
        connection=1 + case.order % 4,
        case=case.name,
        evidence=Evidence.THREAD,
    )


def make_shapes(number: int, choice: random.Random) -> list[Maker]:
    """So many different shapes; those with words for ids are the first, which come often."""
    found: dict[Maker, None] = {}
    while len(found) < number:
        resource = f"{choice.choice(WORDS)}_{choice.choice(WORDS)}"
        id_kind = IDS[sum(map(ord, resource)) % 2] if len(found) > number // 8 else "word"
        maker = Maker(
            f"{resource}_{id_kind}",
            choice.choice(METHODS),
            id_kind,
            choice.choice(KINDS),
            choice.randrange(3),
            choice.choice((200, 200, 200, 404, 500)),
            choice.randrange(-1, 3),
        )
        found[maker] = None
    return list(found)


def make_traffic(
    shapes: list[Maker], number: int, choice: random.Random
) -> Iterator[tuple[int, TestCase, list[Mock]]]:
    """So many exchanges, each with its shape's place: a quarter come once, at the end."""
    often = max(1, len(shapes) * 3 // 4)
    late = {number - 1 - 3 * place: often + place for place in range(len(shapes) - often)}
    early = {3 * place: place for place in range(often)}
    for at in range(number):
        place = late.get(at, early.get(at))
        if place is None:
            place = min(int(choice.expovariate(8.0 / often)), often - 1)
        case, mocks = shapes[place].make(at + 1, choice)
        yield place, case, mocks
