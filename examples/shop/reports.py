"""Reports and exports; the blocking ones run in threads, as FastAPI does with plain functions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from .accounts import CurrentCustomer
from .backends import UseBackends
from .bugs import has_bug

router = APIRouter()


@router.get("/reports/sales")
def get_sales_report(backends: UseBackends) -> dict[str, Any]:
    """What was sold, by category and product."""
    number = backends.sync_cache.incr("reports:sales")
    with backends.sync_database.connection() as connection:
        rows = connection.execute(
            "SELECT p.category, p.name, coalesce(sum(i.quantity), 0)::int AS units,"
            " array_agg(DISTINCT o.currency ORDER BY o.currency)"
            " FILTER (WHERE o.id IS NOT NULL) AS currencies"
            " FROM products p LEFT JOIN order_items i ON i.product_id = p.id"
            " LEFT JOIN orders o ON o.id = i.order_id AND o.status <> 'cancelled'"
            " GROUP BY p.category, p.name ORDER BY p.category, p.name"
        ).fetchall()
        states = connection.execute(
            "SELECT status, count(*) AS orders FROM orders GROUP BY status ORDER BY status"
        ).fetchall()
    categories = []
    for category, members in groupby(rows, key=itemgetter("category")):
        products = [[row["name"], row["units"], row["currencies"] or []] for row in members]
        units: int | str = sum(product[1] for product in products)
        if has_bug("wrong_type"):
            units = str(units)
        categories.append({"category": category, "units": units, "products": products})
    return {
        "id": uuid4(),
        "number": number,
        "generated_at": datetime.now(UTC),
        "states": states,
        "categories": categories,
    }


@router.get("/products.csv")
def get_price_list(backends: UseBackends) -> Response:
    """The price list as a file."""
    delimiter = ";" if has_bug("wrong_csv") else ","
    with (
        backends.sync_database.connection() as connection,
        connection.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT sku, name, price FROM products ORDER BY sku) TO STDOUT"
            f" WITH (FORMAT csv, HEADER, DELIMITER '{delimiter}')"  # one of two literals
        ) as copy,
    ):
        body = b"".join(copy)
    headers = {"Content-Disposition": 'attachment; filename="products.csv"'}
    return Response(body, media_type="text/csv", headers=headers)


@router.get("/export/orders.ndjson")
async def export_orders(backends: UseBackends, customer: CurrentCustomer) -> StreamingResponse:
    """The customer's orders, one JSON object a line, sent in chunks."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id::text, status, currency, total::text FROM orders WHERE customer_id = %s"
            " ORDER BY created_at, id",
            (customer,),
        )
        rows = await cursor.fetchall()
    if has_bug("lost_chunk"):
        rows = rows[:-1]

    async def lines() -> AsyncIterator[str]:
        for row in rows:
            yield json.dumps(row) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
