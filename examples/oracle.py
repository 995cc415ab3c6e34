"""What the servers themselves say they were asked: the oracle for what a recording must hold."""

from __future__ import annotations

import re
import socket

import httpx
import psycopg

OWN_COMMANDS = frozenset({"info", "flushall", "monitor", "echo"})


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


def list_http_requests(base_url: str) -> list[tuple[str, str, str]]:
    """What the rates service was asked: method, target and body (the last 10,000)."""
    with httpx.Client(base_url=base_url) as client:
        return [(method, target, body) for method, target, body in client.get("/-/requests").json()]


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
