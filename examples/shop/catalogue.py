"""Products: list, search, detail (cached), stock, pictures and labels."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, HTTPException, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field

from .accounts import CurrentCustomer
from .backends import Backends, Row, UseBackends
from .bugs import has_bug
from .rates import convert, fetch_rate

CACHE_SECONDS = 300

router = APIRouter()


class Stock(BaseModel):
    """A new number of units."""

    stock: int = Field(ge=0)


def cache_key(product_id: int) -> str:
    """Where a product is cached."""
    return f"products/{product_id}" if has_bug("wrong_cache_key") else f"product:{product_id}"


async def load_product(backends: Backends, product_id: int) -> Row:
    """A product from the cache, else from the database.  Raises 404."""
    cached = await backends.cache.get(cache_key(product_id))
    if cached is not None:
        return cast(Row, json.loads(cached))
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id, sku, name, description, category, price, stock, tags, attributes,"
            " updated_at FROM products WHERE id = %s",
            (product_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        raise HTTPException(404, f"no product {product_id}")
    product = {**row, "price": str(row["price"]), "updated_at": row["updated_at"].isoformat()}
    await backends.cache.set(cache_key(product_id), json.dumps(product), ex=CACHE_SECONDS)
    return product


@router.get("/products")
async def list_products(
    backends: UseBackends,
    category: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """One page of the catalogue, and how many products there are."""
    order = "name, id" if has_bug("changed_sql") else "id"
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id, sku, name, category, price, tags FROM products"
            " WHERE %(category)s::text IS NULL OR category = %(category)s"
            f" ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s",  # one of two literals
            {"category": category, "limit": limit, "offset": offset},
        )
        products = await cursor.fetchall()
        cursor = await connection.execute(
            "SELECT count(*) AS total FROM products"
            " WHERE %(category)s::text IS NULL OR category = %(category)s",
            {"category": category},
        )
        counted = await cursor.fetchone()
    return {"products": products, "total": counted["total"] if counted else 0, "offset": offset}


@router.get("/products/search")
async def search_products(
    backends: UseBackends, q: Annotated[str, Query(min_length=2)]
) -> dict[str, Any]:
    """Products whose name or description holds the words, the cheapest first."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id, name, price, ts_rank(to_tsvector('simple', name || ' ' || description),"
            " plainto_tsquery('simple', %(q)s)) AS rank FROM products"
            " WHERE name ILIKE %(pattern)s OR description ILIKE %(pattern)s"
            " ORDER BY price, id LIMIT 20",
            {"q": q, "pattern": f"%{q}%"},
        )
        found = await cursor.fetchall()
    if has_bug("array_order"):
        found.reverse()
    return {"query": q, "found": found}


@router.head("/products/{product_id}")
@router.get("/products/{product_id}")
async def get_product(
    backends: UseBackends,
    product_id: int,
    currency: str | None = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A product, its price in another currency when asked; 304 when it is as the client has it."""
    product = await load_product(backends, product_id)
    if currency is not None:
        rate = await fetch_rate(backends.rates, currency)
        price = convert(Decimal(product["price"]), rate)
        product["converted"] = {"currency": currency, "price": str(price), "rate": str(rate)}
    if has_bug("missing_field"):
        del product["tags"]
    answer = JSONResponse(product)
    etag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:20]}"'
    headers = {"ETag": etag, "Cache-Control": "max-age=60"}
    if if_none_match == etag and not has_bug("ignored_etag"):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


@router.put("/products/{product_id}/stock", status_code=204)
async def set_stock(
    backends: UseBackends, customer: CurrentCustomer, product_id: int, stock: Stock
) -> None:
    """Changes the number of units and forgets the cached product."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "UPDATE products SET stock = %s, updated_at = %s WHERE id = %s",
            (stock.stock, datetime.now(UTC), product_id),
        )
    if cursor.rowcount == 0:
        raise HTTPException(404, f"no product {product_id}")
    if not has_bug("stale_cache"):
        await backends.cache.delete(cache_key(product_id))


@router.get("/products/{product_id}/label")
async def get_label(backends: UseBackends, product_id: int) -> PlainTextResponse:
    """What is printed on the product's box."""
    product = await load_product(backends, product_id)
    tags = ", ".join(product["tags"])
    return PlainTextResponse(
        f"{product['name']}\nSKU {product['sku']}\n€ {product['price']}\n{tags}\n"
    )


@router.get("/products/{product_id}/image")
async def get_image(backends: UseBackends, product_id: int) -> Response:
    """The product's picture, a PNG in the colours its SKU gives."""
    product = await load_product(backends, product_id)
    return Response(draw_png(product["sku"].encode()), media_type="image/png")


def draw_png(seed: bytes, size: int = 16) -> bytes:
    """A square of ``size`` rows whose colours follow from ``seed`` (PNG, RGB, 8 bits)."""
    colours = hashlib.sha256(seed).digest()[: 3 * 8]
    if has_bug("wrong_binary"):
        colours = bytes([colours[0] ^ 0x80]) + colours[1:]
    row = b"\0" + (colours * size)[: 3 * size]

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    pixels = zlib.compress(row * size)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
