"""The application: all routers, opened with their backends."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from . import accounts, carts, catalogue, orders, pages, reports
from .backends import open_backends

app = FastAPI(title="shop", lifespan=open_backends)
app.add_middleware(GZipMiddleware, minimum_size=500)
for module in (pages, catalogue, accounts, carts, orders, reports):
    app.include_router(module.router)
