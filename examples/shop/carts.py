"""The cart of the customer who is logged in: a hash in Redis."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from .accounts import CurrentCustomer
from .backends import UseBackends
from .catalogue import load_product

router = APIRouter(prefix="/cart")


class Quantity(BaseModel):
    """How many of a product."""

    quantity: int = Field(ge=1, le=99)


@router.get("")
async def get_cart(backends: UseBackends, customer: CurrentCustomer) -> dict[str, Any]:
    """What is in the cart and what it costs."""
    entries = await backends.cache.hgetall(f"cart:{customer}")
    items = []
    for product_id, quantity in sorted(entries.items(), key=lambda entry: int(entry[0])):
        product = await load_product(backends, int(product_id))
        price = Decimal(product["price"]) * int(quantity)
        items.append({"product": product["name"], "quantity": int(quantity), "price": price})
    return {"items": items, "total": sum((item["price"] for item in items), Decimal())}


@router.put("/items/{product_id}")
async def put_item(
    backends: UseBackends, customer: CurrentCustomer, product_id: int, quantity: Quantity
) -> dict[str, int]:
    """Puts a product into the cart."""
    await load_product(backends, product_id)
    await backends.cache.hset(f"cart:{customer}", str(product_id), str(quantity.quantity))
    return {"items": await backends.cache.hlen(f"cart:{customer}")}


@router.delete("/items/{product_id}", status_code=204)
async def delete_item(backends: UseBackends, customer: CurrentCustomer, product_id: int) -> None:
    """Takes a product out of the cart; 404 when it is not in it."""
    if not await backends.cache.hdel(f"cart:{customer}", str(product_id)):
        raise HTTPException(404, f"product {product_id} is not in the cart")
