"""Writes ``docs/reference/clients-tested.md`` from the rows that are declared.

``python -m tests.conformance.table`` writes it anew; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.conformance.declaration import Row, find_rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clients-tested.md"
SERVICES = {"postgres": "PostgreSQL", "redis": "Redis", "http": "HTTP"}
INTRODUCTION = """\
# Client libraries tested

`make conformance` runs a program for each of these clients that does what the library can do and \
prints everything it is given: values with their types, columns, row counts, status, headers, \
every field of every error. It is recorded with the real server (PostgreSQL 15, Redis 7.0, a small \
web site). Then every server is switched off, and the program runs on its mocks by \
[`kebpf mock`](../how-to/run-a-client-on-mocks.md): it must print the same to the byte, end with \
the same status, use every mock and miss none. So it must in the other *forms*, which make the \
same calls in another way than was recorded: on more connections or fewer, prepared or not, in \
binary or as text, one by one or pipelined, in the other version of Redis's protocol.

Last, one call is changed. The library must raise its own error of the server's (the class in the \
table), and the connection must answer what comes after it.

`CONFORMANCE="NAME …"` chooses rows, or whole languages by their folder in `tests/conformance/`. \
The table is written from the declarations there (`python -m tests.conformance.table`).
"""


def write_page(rows: Iterable[Row]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for service, title in SERVICES.items():
        chosen = [row for row in rows if row.service == service]
        if chosen:
            parts.append(f"\n## {title}\n\n{write_table(chosen)}")
            parts += write_limits(chosen)
    return "".join(parts)


def write_table(rows: Iterable[Row]) -> str:
    """A line a row."""
    lines = [
        "| row | client | what it does | other forms | a changed call |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        client = f"{row.client} {row.version} ({row.environment.title})"
        forms = "; ".join(f"`{name}`: {words}" for name, words in row.forms.items())
        cells = (f"`{row.name}`", client, row.exercises, forms or "none", f"`{row.raises}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_limits(rows: Iterable[Row]) -> list[str]:
    """What is not the same, by the rows that it was seen with."""
    told = [(limit, row.name) for row in rows for limit in row.limits]
    if not told:
        return []
    lines = ["\nNot the same:\n\n"]
    for limit, found in groupby(sorted(told), key=lambda one: one[0]):
        names = ", ".join(f"`{name}`" for _, name in found)
        lines.append(f"- {limit} ({names})\n")
    return lines


if __name__ == "__main__":
    PAGE.write_text(write_page(find_rows()))
