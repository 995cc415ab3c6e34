"""Which statements notify; what is delivered is in test_session, against a real server."""

from __future__ import annotations

import pytest

from kebpf.protocols.postgres.notifying import Notifications, read_notify
from kebpf.protocols.postgres.statements import split_sql


@pytest.mark.parametrize(
    ("sql", "parameters", "sent"),
    [
        ("NOTIFY stock", [], ("stock", "")),
        ("notify \"Big One\", 'it''s'", [], ("Big One", "it's")),
        ("SELECT pg_notify('Stock', '1:2, three')", [], ("Stock", "1:2, three")),
        ("select pg_notify($1, $2)", ["a", "b"], ("a", "b")),
        ("select pg_notify($1, $2)", ["a", None], None),
        ("select pg_notify('a', lower('B'))", [], None),
        ("select pg_notify('a', x) from t", [], None),
        ("select 1", [], None),
        ("listen stock", [], None),
    ],
)
def test_reads_what_is_sent(
    sql: str, parameters: list[str | None], sent: tuple[str, str] | None
) -> None:
    (statement,) = split_sql(sql)
    assert read_notify(statement, parameters) == sent


def test_listens_from_the_commit_on_and_not_after_a_rollback() -> None:
    notifications = Notifications()
    listen, notify = split_sql("listen a; notify a, 'x'")
    notifications.note(listen)
    notifications.roll_back()
    notifications.note(notify)
    assert notifications.commit() == []
    notifications.note(listen)
    notifications.note(notify)
    assert notifications.commit() == [("a", "x")]
    assert notifications.commit() == []
