"""Currency rates and card charges over HTTP, with a list of what was asked."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from starlette.middleware.base import RequestResponseEndpoint

RATES = {
    "EUR": Decimal("1"),
    "USD": Decimal("1.0842"),
    "GBP": Decimal("0.8513"),
    "CHF": Decimal("0.9467"),
    "JPY": Decimal("162.35"),
}
REQUESTS_PATH = "/-/requests"
REQUESTS_KEPT = 10_000

app = FastAPI(title="rates")
requests_seen: deque[list[str]] = deque(maxlen=REQUESTS_KEPT)


class Charge(BaseModel):
    """A card to be charged; ``reference`` is the caller's own id of the payment."""

    reference: UUID
    amount: Decimal
    currency: str
    card: str


@app.middleware("http")
async def note_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Notes method, target and body of all requests but those for the notes."""
    if request.url.path != REQUESTS_PATH:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = (await request.body()).decode(errors="replace")
        requests_seen.append([request.method, target, body])
    return await call_next(request)


@app.get("/rates/{currency}")
async def get_rate(currency: str, base: str = "EUR") -> dict[str, Any]:
    """How much of ``currency`` one unit of ``base`` buys."""
    if currency not in RATES or base not in RATES:
        raise HTTPException(404, f"no rate from {base} to {currency}")
    rate = (RATES[currency] / RATES[base]).quantize(Decimal("0.000001"))
    return {"base": base, "currency": currency, "rate": str(rate), "as_of": datetime.now(UTC)}


@app.post("/charges", status_code=201)
async def create_charge(charge: Charge) -> dict[str, Any]:
    """Charges a card; the card ``tok_declined`` has no money."""
    if charge.card == "tok_declined":
        raise HTTPException(402, "card declined")
    return {
        "charge_id": uuid4(),
        "reference": charge.reference,
        "amount": str(charge.amount),
        "currency": charge.currency,
        "status": "captured",
        "captured_at": datetime.now(UTC),
    }


@app.get(REQUESTS_PATH)
async def list_requests() -> list[list[str]]:
    """The last requests served: method, target, body."""
    return list(requests_seen)
