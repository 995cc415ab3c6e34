"""`python -m shop`: serves on SHOP_HOST:SHOP_PORT (127.0.0.1:8000)."""

from __future__ import annotations

import uvicorn

from .app import app
from .settings import Settings

settings = Settings.from_environment()
uvicorn.run(app, host=settings.host, port=settings.port, access_log=False)
