"""A wallet: log in, open accounts, move money between them."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import jwt
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, Field
from redis.asyncio import Redis
from sqlalchemy import DateTime, ForeignKey, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SECRET = os.environ.get("JWT_SECRET", "change-me-please-this-is-not-a-secret-0123456789")
ACCESS_LIFETIME = timedelta(hours=2)
REFRESH_LIFETIME = timedelta(days=30)
REQUESTS_PER_MINUTE = 500

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://"),
    pool_size=5,
    max_overflow=10,
)
Session = async_sessionmaker(engine, expire_on_commit=False)
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


def utcnow() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class User(Base):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str]
    password_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"
    token: Mapped[str] = mapped_column(primary_key=True, default=lambda: secrets.token_urlsafe(32))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime]


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    label: Mapped[str]
    balance_cents: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Transfer(Base):
    __tablename__ = "transfers"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    source_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    target_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount_cents: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Audit(Base):
    __tablename__ = "audit"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID | None]
    action: Mapped[str]
    details: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=utcnow)


class Credentials(BaseModel):
    email: str = Field(pattern=r".+@.+")
    password: str = Field(min_length=8)


class NewAccount(BaseModel):
    label: str
    opening_cents: int = Field(0, ge=0)


class NewTransfer(BaseModel):
    source_id: UUID
    target_id: UUID
    amount_cents: int = Field(gt=0)


class Refresh(BaseModel):
    refresh_token: str


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def check_password(password: str, stored: str) -> bool:
    _, salt, digest = stored.split("$")
    again = hashlib.scrypt(password.encode(), salt=base64.b64decode(salt), n=2**10, r=8, p=1)
    return hmac.compare_digest(again, base64.b64decode(digest))


def make_access_token(user: User) -> str:
    now = utcnow()
    claims = {"sub": str(user.id), "iat": now, "exp": now + ACCESS_LIFETIME, "jti": uuid4().hex}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def get_session() -> AsyncIterator[AsyncSession]:
    async with Session() as session:
        yield session


Db = Annotated[AsyncSession, Depends(get_session)]


async def get_user(
    token: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="login"))], session: Db
) -> User:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        raise HTTPException(401, "invalid token") from None
    user = await session.get(User, UUID(claims["sub"]))
    if user is None:
        raise HTTPException(401, "unknown user")
    return user


Me = Annotated[User, Depends(get_user)]


async def write_audit(user_id: UUID | None, action: str, **details: Any) -> None:
    async with Session() as session, session.begin():
        session.add(Audit(user_id=user_id, action=action, details=details))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await redis.aclose()
    await engine.dispose()


app = FastAPI(title="wallet", lifespan=lifespan)


@app.middleware("http")
async def limit_rate(request: Request, call_next: Any) -> Any:
    if request.url.path == "/health":
        return await call_next(request)
    client = request.headers.get("X-Client", "anonymous")
    key = f"rate:{client}"
    count = await redis.incr(key)
    if count == 1:
        await redis.expire(key, 60)
    if count > REQUESTS_PER_MINUTE:
        return JSONResponse({"detail": "slow down"}, 429)
    response = await call_next(request)
    response.headers["X-RateLimit-Remaining"] = str(REQUESTS_PER_MINUTE - count)
    return response


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/register", status_code=201)
async def register(new: Credentials, session: Db, tasks: BackgroundTasks) -> Any:
    user = User(email=new.email.lower(), password_hash=hash_password(new.password))
    session.add(user)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(409, "that address is taken") from None
    tasks.add_task(write_audit, user.id, "registered", email=user.email)
    return {"id": user.id, "email": user.email, "created_at": user.created_at}


@app.post("/login")
async def login(given: Credentials, session: Db, tasks: BackgroundTasks) -> Any:
    user = await session.scalar(select(User).where(User.email == given.email.lower()))
    if user is None or not check_password(given.password, user.password_hash):
        tasks.add_task(write_audit, user and user.id, "login_failed", email=given.email)
        return JSONResponse({"detail": "wrong address or password"}, 401, background=tasks)
    refresh = RefreshToken(user_id=user.id, expires_at=utcnow() + REFRESH_LIFETIME)
    session.add(refresh)
    await session.commit()
    tasks.add_task(write_audit, user.id, "login")
    return {
        "access_token": make_access_token(user),
        "refresh_token": refresh.token,
        "token_type": "bearer",
        "expires_in": int(ACCESS_LIFETIME.total_seconds()),
    }


@app.post("/refresh")
async def refresh(given: Refresh, session: Db) -> Any:
    old = await session.get(RefreshToken, given.refresh_token)
    if old is None or old.expires_at < utcnow():
        raise HTTPException(401, "log in again")
    user = await session.get_one(User, old.user_id)
    new = RefreshToken(user_id=user.id, expires_at=utcnow() + REFRESH_LIFETIME)
    await session.delete(old)
    session.add(new)
    await session.commit()
    return {"access_token": make_access_token(user), "refresh_token": new.token}


@app.get("/me")
async def me(user: Me, session: Db) -> Any:
    total = await session.scalar(
        select(func.coalesce(func.sum(Account.balance_cents), 0)).where(Account.user_id == user.id)
    )
    return {"id": user.id, "email": user.email, "since": user.created_at, "total_cents": int(total)}


@app.post("/accounts", status_code=201)
async def open_account(new: NewAccount, user: Me, session: Db) -> Any:
    account = Account(user_id=user.id, label=new.label, balance_cents=new.opening_cents)
    session.add(account)
    await session.commit()
    return show(account)


@app.get("/accounts")
async def list_accounts(user: Me, session: Db) -> Any:
    found = await session.scalars(
        select(Account).where(Account.user_id == user.id).order_by(Account.created_at)
    )
    return [show(account) for account in found]


@app.post("/transfers", status_code=201)
async def transfer(new: NewTransfer, user: Me, session: Db, tasks: BackgroundTasks) -> Any:
    wanted = [new.source_id, new.target_id]
    found = await session.scalars(
        select(Account).where(Account.id.in_(wanted)).order_by(Account.id).with_for_update()
    )
    accounts = {account.id: account for account in found}
    source, target = (accounts.get(one) for one in wanted)
    if source is None or target is None or source.user_id != user.id:
        raise HTTPException(404, "no such account")
    if source.balance_cents < new.amount_cents:
        raise HTTPException(409, "not enough money")
    source.balance_cents -= new.amount_cents
    target.balance_cents += new.amount_cents
    made = Transfer(source_id=source.id, target_id=target.id, amount_cents=new.amount_cents)
    session.add(made)
    await session.commit()
    tasks.add_task(write_audit, user.id, "transfer", id=str(made.id), cents=made.amount_cents)
    return {"id": made.id, "balance_cents": source.balance_cents, "created_at": made.created_at}


def show(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "label": account.label,
        "balance_cents": account.balance_cents,
        "created_at": account.created_at,
    }
