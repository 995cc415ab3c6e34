"""psycopg 3 with the libssl of its wheel; the server is verified by its address."""

import os

from psycopg_pool import ConnectionPool

pool = ConnectionPool(
    "",
    min_size=2,
    max_size=16,
    open=True,
    kwargs={
        "host": os.environ["PGHOSTADDRESS"],
        "sslmode": "verify-full",
        "sslrootcert": os.environ["CA_FILE"],
        "channel_binding": "require",
        "autocommit": True,
        "prepare_threshold": None,  # as behind a pooler
    },
)


def keep(number, note):
    with pool.connection() as connection:
        connection.execute("INSERT INTO notes (number, text) VALUES (%s, %s)", (number, note))


def recall(number):
    with pool.connection() as connection:
        return connection.execute("SELECT recall(%s)", (number,)).fetchone()[0]
