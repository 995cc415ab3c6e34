"""redis-py's client of coroutines."""

import os

from redis.asyncio import Redis

client = Redis.from_url(
    os.environ["REDIS_URL"], ssl_ca_certs=os.environ["CA_FILE"], decode_responses=True
)


async def keep(number, note):
    await client.set(f"note:{number}", note)


async def recall(number):
    return await client.get(f"note:{number}")
