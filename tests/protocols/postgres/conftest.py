"""Makes the private PostgreSQL known to the tests of this folder."""

from tests.fix_postgres import postgres

__all__ = ["postgres"]
