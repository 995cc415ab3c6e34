"""`python -m rates`: serves on RATES_HOST:RATES_PORT (127.0.0.1:8001)."""

from __future__ import annotations

import os

import uvicorn

from .app import app

uvicorn.run(
    app,
    host=os.environ.get("RATES_HOST", "127.0.0.1"),
    port=int(os.environ.get("RATES_PORT", "8001")),
    access_log=False,
)
