"""SQLAlchemy on psycopg 3: schema, ORM flush with RETURNING, pool with pre-ping, reflection.

Forms: ``unpooled`` connects for every checkout; ``warm`` prepares all statements.
"""

import os

from seen import show, show_changed
from sqlalchemy import create_engine, event, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.pool import NullPool
from sqlalchemy_models import Author, Base, Book, make_books


def make_url(driver: str) -> str:
    place = {name: os.environ[f"PG{name}"] for name in ("USER", "HOST", "PORT", "DATABASE")}
    return "postgresql+{driver}://{USER}@{HOST}:{PORT}/{DATABASE}".format(driver=driver, **place)


def run(form: str) -> None:
    options = (
        {"poolclass": NullPool} if form == "unpooled" else {"pool_pre_ping": True, "pool_size": 2}
    )
    engine = create_engine(make_url("psycopg"), **options)
    if form == "warm":

        @event.listens_for(engine, "connect")
        def prepare(connection, record) -> None:
            connection.prepare_threshold = 0

    Base.metadata.create_all(engine)
    show("tables", sorted(inspect(engine).get_table_names()))
    orm(engine)
    core(engine)
    errors(engine)
    reflection(engine)
    if form == "changed":
        changed(engine)
    engine.dispose()


def tell_book(book: Book) -> list[object]:
    return [
        book.id,
        book.title,
        book.price,
        book.colour.name,
        book.tags,
        book.data,
        book.plain,
        book.key,
        book.at,
    ]


def orm(engine) -> None:
    with Session(engine) as session:
        ann = Author(name="Ann", books=make_books(6))
        session.add_all([ann, Author(name="Bob")])
        session.flush()
        show("flushed", ann.id, [book.id for book in ann.books])
        session.commit()
        show("expired", ann.name, [tell_book(book) for book in ann.books])
    with Session(engine) as session:
        for author in session.scalars(
            select(Author).options(selectinload(Author.books)).order_by(Author.name)
        ):
            show("author", author.id, author.name, len(author.books))
        book = session.get(Book, 2)
        book.title = "changed"
        session.delete(session.get(Book, 3))
        session.commit()
        show(
            "after",
            session.scalar(select(func.count()).select_from(Book)),
            session.get(Book, 2).title,
            session.get(Book, 3),
        )
    with Session(engine) as session:
        session.add(Author(name="Lost"))
        session.flush()
        session.rollback()
        show("rolled back", session.scalars(select(Author.name).order_by(Author.id)).all())
        with session.begin_nested():
            session.add(Author(name="Nested"))
        try:
            with session.begin_nested():
                session.add(Author(name="Ann"))
        except IntegrityError as error:
            show("savepoint", type(error).__name__, type(error.orig).__name__)
        session.commit()
        show("nested", session.scalars(select(Author.name).order_by(Author.id)).all())


def core(engine) -> None:
    with engine.begin() as connection:
        rows = [{"name": f"many {number}"} for number in range(50)]
        show("many", len(connection.execute(insert(Author).returning(Author.id), rows).all()))
        result = connection.execute(
            update(Author).where(Author.id > 40).values(name=Author.name + "!")
        )
        show("updated", result.rowcount)
    with engine.connect() as connection:
        result = connection.execution_options(yield_per=10).execute(
            select(Author.id).order_by(Author.id)
        )
        show("streamed", [len(part) for part in result.partitions()])
        show(
            "text",
            connection.execute(text("SELECT :a || 'b', CAST(:n AS int)"), {"a": "x", "n": 5})
            .one()
            ._asdict(),
        )
        show("isolation", connection.get_isolation_level(), engine.dialect.server_version_info[0])


def errors(engine) -> None:
    for words, values in (
        ("SELECT * FROM nowhere", {}),
        ("SELECT 1/:n", {"n": 0}),
        ("INSERT INTO author (id, name) VALUES (1, :n)", {"n": "x"}),
    ):
        with engine.connect() as connection:
            try:
                connection.execute(text(words), values)
            except DBAPIError as error:
                show(
                    "error",
                    type(error).__name__,
                    type(error.orig).__name__,
                    error.connection_invalidated,
                )
            connection.rollback()
            show("after", connection.execute(text("SELECT 1")).scalar())


def reflection(engine) -> None:
    seen = inspect(engine)
    for column in seen.get_columns("book"):
        show("column", column["name"], str(column["type"]), column["nullable"], column["default"])
    show(
        "keys",
        seen.get_pk_constraint("book")["constrained_columns"],
        [one["referred_table"] for one in seen.get_foreign_keys("book")],
    )
    show(
        "unique",
        [one["column_names"] for one in seen.get_unique_constraints("author")],
        seen.get_enums()[0]["labels"],
    )


def changed(engine) -> None:
    with Session(engine) as session:
        try:
            session.add(Author(name="Carol"))
            session.flush()
        except DBAPIError as error:
            session.rollback()
            show_changed(error, session.scalar(text("SELECT 1")) == 1, error.orig.sqlstate)
