"""Shopping baskets: kept in Redis, priced by a supplier that is asked for all items at once."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid

import redis.asyncio as aioredis
from aiohttp import ClientSession, ClientTimeout, web

SUPPLIER = os.environ["SUPPLIER_URL"]
BASKET_SECONDS = 1800
ATTEMPTS = 3

routes = web.RouteTableDef()
http_key = web.AppKey("http", ClientSession)
redis_key = web.AppKey("redis", aioredis.Redis)
seen_key: web.AppKey[dict] = web.AppKey("seen", dict)  # sku -> (etag, item)


class SupplierError(Exception):
    pass


@web.middleware
async def envelope(request: web.Request, handler) -> web.StreamResponse:
    request["id"] = request.headers.get("X-Correlation-Id") or uuid.uuid4().hex
    began = time.perf_counter()
    try:
        response = await handler(request)
    except SupplierError as error:
        response = web.json_response({"error": str(error)}, status=502)
    response.headers["X-Correlation-Id"] = request["id"]
    response.headers["Server-Timing"] = f"app;dur={(time.perf_counter() - began) * 1000:.1f}"
    return response


async def fetch_item(app: web.Application, sku: str) -> dict | None:
    etag, item = app[seen_key].get(sku, (None, None))
    headers = {"If-None-Match": etag} if etag else {}
    async with app[http_key].get(f"{SUPPLIER}/catalogue/{sku}", headers=headers) as response:
        if response.status == 304:
            return item
        if response.status == 404:
            return None
        item = await response.json()
        app[seen_key][sku] = (response.headers["ETag"], item)
        return item


async def fetch_quote(app: web.Application, basket: str, sku: str, count: int) -> dict:
    for attempt in range(ATTEMPTS):
        body = {"basket": basket, "sku": sku, "count": count, "at": time.time()}
        async with app[http_key].post(f"{SUPPLIER}/quotes", json=body) as response:
            if response.status == 200:
                return await response.json()
            if response.status != 503:
                raise SupplierError(f"supplier said {response.status}")
        await asyncio.sleep(0.01 * 2**attempt)
    raise SupplierError("supplier is busy")


@routes.get("/health")
async def health(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


@routes.post("/baskets")
async def create(request: web.Request) -> web.Response:
    basket = str(uuid.uuid4())
    created = time.time_ns() // 1_000_000
    async with request.app[redis_key].pipeline(transaction=True) as pipe:
        pipe.hset(f"basket:{basket}", mapping={"created": created, "by": request["id"]})
        pipe.expire(f"basket:{basket}", BASKET_SECONDS)
        pipe.zadd("baskets", {basket: created})
        await pipe.execute()
    return web.json_response({"basket": basket, "created": created}, status=201)


@routes.get("/catalogue/{sku}")
async def show_item(request: web.Request) -> web.Response:
    item = await fetch_item(request.app, request.match_info["sku"])
    if item is None:
        return web.json_response({"error": "no such item"}, status=404)
    return web.json_response(item)


@routes.put("/baskets/{basket}/{sku}")
async def put_item(request: web.Request) -> web.Response:
    basket, sku = request.match_info["basket"], request.match_info["sku"]
    count = int(request.query.get("count", "1"))
    store = request.app[redis_key]
    if not await store.exists(f"basket:{basket}"):
        return web.json_response({"error": "no such basket"}, status=404)
    async with store.pipeline(transaction=False) as pipe:
        pipe.hset(f"items:{basket}", sku, count)
        pipe.expire(f"items:{basket}", BASKET_SECONDS)
        pipe.hlen(f"items:{basket}")
        *_, size = await pipe.execute()
    event = {"basket": basket, "sku": sku, "at": time.time()}
    await store.publish("basket-events", json.dumps(event))
    return web.json_response({"sku": sku, "count": count, "items": size})


async def price(app: web.Application, basket: str) -> dict | None:
    items = await app[redis_key].hgetall(f"items:{basket}")
    if not items:
        return None
    wanted = sorted((sku.decode(), int(count)) for sku, count in items.items())
    quotes = await asyncio.gather(*(fetch_quote(app, basket, *one) for one in wanted))
    return {
        "basket": basket,
        "lines": [
            {"sku": one["sku"], "cents": one["cents"], "quote": one["quote"]} for one in quotes
        ],
        "total": round(sum(one["cents"] * (1 - one["discount"]) for one in quotes), 2),
        "valid_until": min(one["valid_until"] for one in quotes),
    }


@routes.get("/baskets/{basket}/price")
async def show_price(request: web.Request) -> web.Response:
    priced = await price(request.app, request.match_info["basket"])
    if priced is None:
        return web.json_response({"error": "empty"}, status=404)
    return web.json_response(priced)


@routes.post("/baskets/{basket}/checkout")
async def checkout(request: web.Request) -> web.Response:
    basket, app = request.match_info["basket"], request.app
    if not await app[redis_key].set(f"lock:{basket}", request["id"], nx=True, ex=30):
        return web.json_response({"error": "already ordered"}, status=409)
    priced = await price(app, basket)
    if priced is None:
        return web.json_response({"error": "empty"}, status=404)
    body = {"reference": uuid.uuid4().hex, "quotes": [one["quote"] for one in priced["lines"]]}
    async with app[http_key].post(f"{SUPPLIER}/orders", json=body) as response:
        ordered = await response.json()
    await app[redis_key].delete(f"items:{basket}", f"basket:{basket}")
    await app[redis_key].lpush("orders", json.dumps({**ordered, "total": priced["total"]}))
    return web.json_response({"order": ordered["number"], "total": priced["total"]}, status=201)


async def connect(app: web.Application):
    app[redis_key] = aioredis.from_url(os.environ["REDIS_URL"])
    app[http_key] = ClientSession(timeout=ClientTimeout(total=10))
    app[seen_key] = {}
    yield
    await app[http_key].close()
    await app[redis_key].aclose()


app = web.Application(middlewares=[envelope])
app.add_routes(routes)
app.cleanup_ctx.append(connect)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
