"""The front page and the health check."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from .backends import UseBackends
from .bugs import has_bug

router = APIRouter()


@router.get("/health")
async def get_health() -> dict[str, str]:
    """Says that the shop serves, without asking anyone else."""
    return {"status": "ok"}


@router.get("/")
async def get_front_page(backends: UseBackends) -> HTMLResponse:
    """The categories, as a page."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT category, count(*) AS products, min(price) AS cheapest FROM products"
            " GROUP BY category ORDER BY category"
        )
        rows = await cursor.fetchall()
    word = "to" if has_bug("wrong_text") else "from"
    entries = "\n".join(
        f"<li>{escape(row['category'])}: {row['products']} products,"
        f" {word} € {row['cheapest']}</li>"
        for row in rows
    )
    return HTMLResponse(
        "<!doctype html>\n<html><head><title>Shop</title></head>\n"
        f"<body><h1>Welcome</h1>\n<ul>\n{entries}\n</ul>\n</body></html>\n"
    )
