"""SQLAlchemy on asyncpg: ORM flush with RETURNING, pool with pre-ping, streaming, rollback.

Forms: ``uncached`` has no cache of prepared statements; ``unpooled`` connects for every checkout.
"""

import asyncio

from seen import show, show_changed
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload
from sqlalchemy.pool import NullPool
from sqlalchemy_models import Author, Base, make_books
from sqlalchemy_psycopg import make_url, tell_book


def run(form: str) -> None:
    asyncio.run(run_all(form))


async def run_all(form: str) -> None:
    options = {"poolclass": NullPool} if form == "unpooled" else {"pool_pre_ping": True}
    arguments = {"prepared_statement_cache_size": 0} if form == "uncached" else {}
    engine = create_async_engine(make_url("asyncpg"), connect_args=arguments, **options)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        ann = Author(name="Ann", books=make_books(5))
        session.add(ann)
        await session.flush()
        show("flushed", ann.id, [book.id for book in ann.books])
        await session.commit()
    async with AsyncSession(engine) as session:
        query = select(Author).options(selectinload(Author.books))
        for author in await session.scalars(query):
            show("author", author.id, author.name, [tell_book(book) for book in author.books])
        session.add(Author(name="Lost"))
        await session.flush()
        await session.rollback()
        show("count", await session.scalar(select(func.count()).select_from(Author)))
        try:
            session.add(Author(name="Ann"))
            await session.commit()
        except IntegrityError as error:
            show("unique", type(error).__name__, error.orig.sqlstate)
            await session.rollback()
    async with engine.connect() as connection:
        result = await connection.stream(text("SELECT n FROM generate_series(1, 120) AS n"))
        show("streamed", sum([row.n async for row in result]))
        for words in ("SELECT * FROM nowhere", "SELECT 1/0"):
            try:
                await connection.execute(text(words))
            except DBAPIError as error:
                show("error", type(error).__name__, error.orig.sqlstate)
            await connection.rollback()
        show("after", (await connection.execute(text("SELECT 1"))).scalar())
    if form == "changed":
        await changed(engine)
    await engine.dispose()


async def changed(engine) -> None:
    async with AsyncSession(engine) as session:
        try:
            session.add(Author(name="Carol"))
            await session.flush()
        except DBAPIError as error:
            await session.rollback()
            show_changed(error, await session.scalar(text("SELECT 1")) == 1, error.orig.sqlstate)
