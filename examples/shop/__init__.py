"""A web shop on FastAPI with PostgreSQL, Redis and another HTTP service behind it."""
