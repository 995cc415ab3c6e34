"""The tables of the SQLAlchemy rows."""

import datetime as dt
import decimal
import enum

from sqlalchemy import JSON, ForeignKey, Numeric, String
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    red = 1
    green = 2


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    born: Mapped[dt.date | None]
    books: Mapped[list["Book"]] = relationship(
        back_populates="author", order_by="Book.id", cascade="all, delete-orphan"
    )


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    title: Mapped[str]
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(8, 2))
    colour: Mapped[Colour | None]
    tags: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    data: Mapped[dict | None] = mapped_column(JSONB)
    plain: Mapped[dict | None] = mapped_column(JSON)
    key: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    at: Mapped[dt.datetime | None]
    author: Mapped[Author] = relationship(back_populates="books")


def make_books(count: int) -> list[Book]:
    return [
        Book(
            title=f"book {number} ☃",
            price=decimal.Decimal(number) + decimal.Decimal("0.10"),
            colour=Colour.red if number % 2 else Colour.green,
            tags=["a,b", f"t{number}"] if number % 3 else None,
            data={"n": number, "l": [1, None]},
            plain={"p": number} if number else None,
            key=f"12345678-1234-5678-1234-5678123456{number:02}",
            at=dt.datetime(2024, 1, 1, 2, 3, 4, number),
        )
        for number in range(count)
    ]
