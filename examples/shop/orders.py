"""Orders: create, read, list, pay, cancel."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Query, Response
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow
from pydantic import BaseModel, Field

from .accounts import CurrentCustomer
from .backends import Row, UseBackends
from .bugs import has_bug
from .catalogue import cache_key
from .rates import CENT, charge_card, convert, fetch_rate

Database = AsyncConnection[DictRow]
ITEMS_OF_ORDERS = (
    "SELECT order_id, product_id, quantity, price FROM order_items"
    " WHERE order_id = ANY(%s) ORDER BY order_id, product_id"
)
ITEMS_OF_ORDER = (
    "SELECT order_id, product_id, quantity, price FROM order_items"
    " WHERE order_id = %s ORDER BY product_id"
)

router = APIRouter(prefix="/orders")


class Item(BaseModel):
    """A product and how many of it."""

    product_id: int
    quantity: int = Field(ge=1, le=99)


class NewOrder(BaseModel):
    """What a customer orders, and the currency it is paid in."""

    items: list[Item] = Field(min_length=1)
    currency: str = Field(default="EUR", pattern="^[A-Z]{3}$")


class Payment(BaseModel):
    """The card to pay with."""

    card: str


async def reserve(database: Database, items: list[Item], now: datetime) -> dict[int, Decimal]:
    """Takes the items out of the stock; gives their prices.  Raises 404 and 409."""
    cursor = await database.execute(
        "SELECT id, price, stock FROM products WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        ([item.product_id for item in items],),
    )
    rows = {row["id"]: row for row in await cursor.fetchall()}
    for item in items:
        if item.product_id not in rows:
            raise HTTPException(404, f"no product {item.product_id}")
        if rows[item.product_id]["stock"] < item.quantity:
            raise HTTPException(409, f"product {item.product_id} is out of stock")
    for item in items:
        await database.execute(
            "UPDATE products SET stock = stock - %s, updated_at = %s WHERE id = %s",
            (item.quantity, now, item.product_id),
        )
    return {product_id: row["price"] for product_id, row in rows.items()}


async def insert_order(database: Database, order: Row, items: list[Row]) -> None:
    """Writes an order and its items."""
    await database.execute(
        "INSERT INTO orders (id, customer_id, status, currency, total, created_at) VALUES"
        " (%(id)s, %(customer_id)s, %(status)s, %(currency)s, %(total)s, %(created_at)s)",
        order,
    )
    if has_bug("lost_insert"):
        return
    async with database.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES"
            " (%(order_id)s, %(product_id)s, %(quantity)s, %(price)s)",
            items,
        )


@router.post("", status_code=201)
async def create_order(
    backends: UseBackends, customer: CurrentCustomer, new: NewOrder, response: Response
) -> dict[str, Any]:
    """Orders: the rate is asked for, stock, order and items change in one transaction."""
    rate = await fetch_rate(backends.rates, new.currency)
    if has_bug("doubled_call"):
        rate = await fetch_rate(backends.rates, new.currency)
    now = datetime.now(UTC)
    order_id = uuid4()
    async with backends.database.connection() as database:
        prices = await reserve(database, new.items, now)
        items: list[Row] = [
            {
                "order_id": order_id,
                "product_id": item.product_id,
                "quantity": item.quantity,
                "price": convert(prices[item.product_id], rate),
            }
            for item in new.items
        ]
        order = {
            "id": order_id,
            "customer_id": customer,
            "status": "pending",
            "currency": new.currency,
            "total": sum((item["price"] * item["quantity"] for item in items), Decimal()),
            "created_at": now,
        }
        await insert_order(database, order, items)
    await backends.cache.delete(*(cache_key(item.product_id) for item in new.items))
    response.headers["Location"] = f"/orders/{order_id}"
    if has_bug("wrong_id"):
        order["id"] = uuid4()
    if has_bug("wrong_time"):
        order["created_at"] = now + timedelta(hours=1)
    return {**order, "items": items}


@router.get("")
async def list_orders(
    backends: UseBackends,
    customer: CurrentCustomer,
    status: str | None = None,
    sort: Literal["created_at", "total"] = "created_at",
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> dict[str, Any]:
    """The customer's orders with their items, the last or dearest first."""
    query = sql.SQL(
        "SELECT id, status, currency, total, created_at FROM orders WHERE {owner}"
        " AND (%(status)s::text IS NULL OR status = %(status)s)"
        " ORDER BY {sort} DESC, id LIMIT %(limit)s"
    ).format(
        owner=sql.SQL("true" if has_bug("wrong_where") else "customer_id = %(customer)s"),
        sort=sql.Identifier(sort),
    )
    parameters = {"customer": customer, "status": status, "limit": limit}
    async with backends.database.connection() as database:
        cursor = await database.execute(query, parameters)
        orders = await cursor.fetchall()
        items = await load_items(database, [order["id"] for order in orders])
    for order in orders:
        order["items"] = [item for item in items if item["order_id"] == order["id"]]
    return {"orders": orders}


async def load_items(database: Database, order_ids: list[UUID]) -> list[Row]:
    """The items of some orders."""
    if has_bug("n_plus_one"):
        cursors = [await database.execute(ITEMS_OF_ORDER, (each,)) for each in order_ids]
        return [row for cursor in cursors for row in await cursor.fetchall()]
    return await (await database.execute(ITEMS_OF_ORDERS, (order_ids,))).fetchall()


@router.get("/{order_id}")
async def get_order(
    backends: UseBackends, customer: CurrentCustomer, order_id: UUID
) -> dict[str, Any]:
    """An order of the customer with its items."""
    async with backends.database.connection() as database:
        order = await find_order(database, customer, order_id)
        items = await (await database.execute(ITEMS_OF_ORDER, (order_id,))).fetchall()
    return {**order, "items": items}


async def find_order(database: Database, customer: int, order_id: UUID) -> Row:
    """An order, if it is the customer's.  Raises 404."""
    cursor = await database.execute(
        "SELECT id, status, currency, total, created_at FROM orders"
        " WHERE id = %s AND customer_id = %s",
        (order_id, customer),
    )
    order = await cursor.fetchone()
    if order is None:
        raise HTTPException(404, f"no order {order_id}")
    return order


@router.post("/{order_id}/payment", status_code=201)
async def pay_order(
    backends: UseBackends, customer: CurrentCustomer, order_id: UUID, payment: Payment
) -> dict[str, Any]:
    """Charges the card; 409 when there is nothing to pay, 402 when it is declined."""
    async with backends.database.connection() as database:
        order = await find_order(database, customer, order_id)
        if order["status"] != "pending":
            raise HTTPException(409, f"the order is {order['status']}")
        payment_id = uuid4()
        amount = order["total"] + (CENT if has_bug("wrong_amount") else 0)
        charge = await charge_card(
            backends.rates, payment_id, amount, order["currency"], payment.card
        )
        paid_at = datetime.now(UTC)
        await database.execute(
            "INSERT INTO payments (id, order_id, charge_id, amount, paid_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (payment_id, order_id, UUID(charge["charge_id"]), order["total"], paid_at),
        )
        await database.execute("UPDATE orders SET status = 'paid' WHERE id = %s", (order_id,))
    return {
        "id": payment_id,
        "order_id": order_id,
        "charge_id": charge["charge_id"],
        "amount": charge["amount"],
        "paid_at": paid_at,
    }


@router.post("/{order_id}/cancel")
async def cancel_order(
    backends: UseBackends, customer: CurrentCustomer, order_id: UUID
) -> dict[str, Any]:
    """Cancels a pending order, puts its items back and announces it; 409 when it is too late."""
    now = datetime.now(UTC)
    async with backends.database.connection() as database:
        cursor = await database.execute(
            "UPDATE orders SET status = 'cancelled' WHERE id = %s AND customer_id = %s"
            " AND status = 'pending' RETURNING total",
            (order_id, customer),
        )
        if await cursor.fetchone() is None:
            raise HTTPException(409, f"order {order_id} cannot be cancelled")
        await database.execute(
            "UPDATE products SET stock = stock + i.quantity, updated_at = %s FROM order_items i"
            " WHERE i.order_id = %s AND products.id = i.product_id",
            (now, order_id),
        )
        if has_bug("lost_commit"):
            await database.rollback()
    if not has_bug("lost_event"):
        event = {"event": "cancelled", "order": str(order_id), "at": now.isoformat()}
        await backends.cache.rpush("order-events", json.dumps(event))
    return {"id": order_id, "status": "cancelled", "cancelled_at": now}
