"""The shop's configuration, from environment variables only."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Where to listen and what to call."""

    host: str
    port: int
    database_url: str
    redis_url: str
    rates_url: str

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the SHOP_… variables.  Raises ``ValueError`` for a port that is no number."""
        get = os.environ.get
        return cls(
            host=get("SHOP_HOST", "127.0.0.1"),
            port=int(get("SHOP_PORT", "8000")),
            database_url=get("SHOP_DATABASE_URL", "postgresql://shop:shop@127.0.0.1:5432/shop"),
            redis_url=get("SHOP_REDIS_URL", "redis://127.0.0.1:6379/0"),
            rates_url=get("SHOP_RATES_URL", "http://127.0.0.1:8001"),
        )
