"""What the shop asks of the rates service: exchange rates and card charges."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import httpx
from fastapi import HTTPException

CENT = Decimal("0.01")


async def fetch_rate(client: httpx.AsyncClient, currency: str) -> Decimal:
    """How much of ``currency`` a euro buys.  Raises 422 for a currency without a rate."""
    answer = await client.get(f"/rates/{currency}", params={"base": "EUR"})
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise HTTPException(422, f"unknown currency {currency}")
    answer.raise_for_status()
    return Decimal(answer.json()["rate"])


async def charge_card(
    client: httpx.AsyncClient, reference: UUID, amount: Decimal, currency: str, card: str
) -> dict[str, Any]:
    """Charges a card.  Raises 402 when the charge is declined."""
    answer = await client.post(
        "/charges",
        json={
            "reference": str(reference),
            "amount": str(amount),
            "currency": currency,
            "card": card,
        },
        headers={"Idempotency-Key": str(reference)},
    )
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        raise HTTPException(402, answer.json()["detail"])
    answer.raise_for_status()
    return cast(dict[str, Any], answer.json())


def convert(amount: Decimal, rate: Decimal) -> Decimal:
    """An amount in euros in another currency, rounded to the cent."""
    return (amount * rate).quantize(CENT)
