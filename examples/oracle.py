"""What the servers themselves say they were asked: the oracle for what a recording must hold."""

from __future__ import annotations

import re
import socket

import httpx
import psycopg

OWN_COMMANDS = frozenset({"info", "flushall", "monitor"})


def count_postgres_calls(connection: psycopg.Connection, role: str) -> dict[str, int]:
    """Statements a role has completed in this database, by normalised text.

    From pg_stat_statements with utility statements (BEGIN, COMMIT …); failed ones are not in it.
    """
    cursor = connection.execute(
        "SELECT query, sum(calls)::int FROM pg_stat_statements WHERE userid = %s::regrole"
        " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " GROUP BY query",
        (role,),
    )
    return dict(cursor.fetchall())


def count_redis_calls(port: int) -> dict[str, int]:
    """Commands served, by name, from INFO commandstats; those used for counting left out."""
    text = ask_redis(port, "INFO commandstats")
    found = re.findall(r"^cmdstat_(\S+?):calls=(\d+)", text, re.MULTILINE)
    return {name: int(calls) for name, calls in found if name not in OWN_COMMANDS}


def count_http_requests(base_url: str) -> dict[str, int]:
    """Requests the rates service has served, by method and path."""
    with httpx.Client(base_url=base_url) as client:
        counts: dict[str, int] = client.get("/-/statistics").json()
    return counts


def flush_redis(port: int) -> None:
    """Empties the private Redis."""
    ask_redis(port, "FLUSHALL")


def ask_redis(port: int, command: str) -> str:
    """One inline command on a connection without HELLO or CLIENT, so that it counts as one."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(f"{command}\r\n".encode())
        head = answer.readline().rstrip(b"\r\n")
        if head.startswith(b"$"):
            return answer.read(int(head[1:])).decode()
        return head.decode()
