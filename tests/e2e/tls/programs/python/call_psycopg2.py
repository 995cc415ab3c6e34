"""psycopg2 with the libssl of its wheel; the server is verified by its name."""

import os

from psycopg2.pool import ThreadedConnectionPool

pool = ThreadedConnectionPool(2, 16, os.environ["DATABASE_URL"])


def run(sql, values):
    connection = pool.getconn()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        pool.putconn(connection)


def keep(number, note):
    run("INSERT INTO notes (number, text) VALUES (%s, %s)", (number, note))


def recall(number):
    return run("SELECT recall(%s)", (number,))
