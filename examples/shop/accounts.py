"""Customers, logins and preferences."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, HTTPException, Response
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, Field

from .backends import Row, UseBackends
from .bugs import has_bug

LOGIN_SECONDS = 3600
HASH_ROUNDS = 2000  # few: this shop is for showing, not for keeping secrets

router = APIRouter()


class NewCustomer(BaseModel):
    """What someone tells of themselves to become a customer."""

    name: str = Field(min_length=1)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    password: str = Field(min_length=8)
    language: str = "en"


class Login(BaseModel):
    """Who wants to come in."""

    email: str
    password: str


class Preferences(BaseModel):
    """How a customer wants to see the shop."""

    theme: str
    language: str


def hash_password(password: str, salt: str) -> str:
    """The form in which a password is kept."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), HASH_ROUNDS).hex()


async def current_customer(
    backends: UseBackends, authorization: Annotated[str | None, Header()] = None
) -> int:
    """The id of the customer whose token came with the request.  Raises 401."""
    scheme, _, token = (authorization or "").partition(" ")
    customer = await backends.cache.get(f"session:{token}") if scheme == "Bearer" else None
    if customer is None:
        raise HTTPException(401, "please log in", headers={"WWW-Authenticate": "Bearer"})
    return int(customer)


CurrentCustomer = Annotated[int, Depends(current_customer)]


@router.post("/customers", status_code=201)
async def create_customer(
    backends: UseBackends, customer: NewCustomer, response: Response
) -> dict[str, Any]:
    """A new customer; 409 when the address is taken."""
    now = datetime.now(UTC)
    salt = secrets.token_hex(16)
    try:
        async with backends.database.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO customers (name, email, password_salt, password_hash, language,"
                " created_at) VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
                (
                    customer.name,
                    customer.email,
                    salt,
                    hash_password(customer.password, salt),
                    customer.language,
                    now,
                ),
            )
            row = cast(Row, await cursor.fetchone())
    except UniqueViolation:
        raise HTTPException(409, f"{customer.email} is a customer already") from None
    if has_bug("wrong_status"):
        response.status_code = 200
    response.headers["Location"] = f"/customers/{row['id']}"
    return {"id": row["id"], "name": customer.name, "email": customer.email, "created_at": now}


async def load_customer(backends: UseBackends, customer_id: int) -> Row:
    """A customer's row.  Raises 404."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id, name, email, language, password_hash, created_at FROM customers"
            " WHERE id = %s",
            (customer_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        raise HTTPException(404, f"no customer {customer_id}")
    return row


@router.get("/customers/{customer_id}")
async def get_customer(backends: UseBackends, customer_id: int) -> dict[str, Any]:
    """What everyone may know of a customer."""
    row = await load_customer(backends, customer_id)
    if not has_bug("extra_field"):
        del row["password_hash"]
    return row


@router.get("/me")
async def get_account(
    backends: UseBackends, customer: CurrentCustomer, response: Response
) -> dict[str, Any]:
    """The account of the customer who is logged in."""
    row = await load_customer(backends, customer)
    visibility = "public" if has_bug("wrong_header") else "private"
    response.headers["Cache-Control"] = f"{visibility}, max-age=30"
    language = None if has_bug("null_field") else row["language"]
    return {"id": row["id"], "name": row["name"], "email": row["email"], "language": language}


@router.post("/login")
async def log_in(backends: UseBackends, login: Login, response: Response) -> dict[str, Any]:
    """A token for the customer, in the answer and as a cookie; 401 for a wrong password."""
    async with backends.database.connection() as connection:
        cursor = await connection.execute(
            "SELECT id, password_salt, password_hash FROM customers WHERE email = %s",
            (login.email,),
        )
        row = await cursor.fetchone()
    if row is None or not hmac.compare_digest(
        hash_password(login.password, row["password_salt"]), row["password_hash"]
    ):
        raise HTTPException(401, "wrong address or password")
    token = secrets.token_urlsafe(32)
    seconds = 24 * LOGIN_SECONDS if has_bug("wrong_ttl") else LOGIN_SECONDS
    async with backends.cache.pipeline(transaction=True) as pipeline:
        pipeline.set(f"session:{token}", row["id"], ex=seconds)
        pipeline.hincrby("logins", str(row["id"]), 1)
        _, logins = await pipeline.execute()
    response.set_cookie("session", token, max_age=LOGIN_SECONDS, httponly=True)
    response.set_cookie("csrf", secrets.token_hex(16), samesite="strict")
    expires_at = datetime.now(UTC) + timedelta(seconds=LOGIN_SECONDS)
    return {"token": token, "expires_at": expires_at, "logins": logins}


@router.post("/logout", status_code=204)
async def log_out(
    backends: UseBackends,
    customer: CurrentCustomer,
    response: Response,
    authorization: Annotated[str, Header()],
) -> None:
    """Forgets the token."""
    await backends.cache.delete(f"session:{authorization.partition(' ')[2]}")
    response.delete_cookie("session")


@router.put("/preferences", status_code=204)
async def set_preferences(preferences: Preferences, response: Response) -> None:
    """Keeps the preferences in cookies."""
    response.set_cookie("theme", preferences.theme, max_age=31536000)
    if not has_bug("lost_set_cookie"):
        response.set_cookie("language", preferences.language, max_age=31536000)
