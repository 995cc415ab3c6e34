"""redis-py, with its pool."""

import os

import redis

client = redis.Redis.from_url(
    os.environ["REDIS_URL"], ssl_ca_certs=os.environ["CA_FILE"], decode_responses=True
)


def keep(number, note):
    client.set(f"note:{number}", note)


def recall(number):
    return client.get(f"note:{number}")
