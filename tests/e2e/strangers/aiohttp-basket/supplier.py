"""The supplier whom the basket service asks: prices with ids and times, at times out of order."""

import hashlib
import os
import random
import sys
from datetime import UTC, datetime
from uuid import uuid4

from aiohttp import web

routes = web.RouteTableDef()
attempts: dict[str, int] = {}
STOCK = {"tea": 340, "rice": 120, "salt": 55, "oil": 899, "soap": 210, "jam": 410, "nuts": 799}


def stamp() -> dict[str, str]:
    return {"X-Supplier-Request": str(uuid4()), "X-Served-At": datetime.now(UTC).isoformat()}


@routes.get("/health")
async def health(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


@routes.get("/catalogue/{sku}")
async def catalogue(request: web.Request) -> web.Response:
    sku = request.match_info["sku"]
    if sku not in STOCK:
        return web.json_response({"error": "unknown"}, status=404, headers=stamp())
    tag = '"' + hashlib.sha1(sku.encode()).hexdigest()[:12] + '"'
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={**stamp(), "ETag": tag})
    item = {"sku": sku, "title": sku.capitalize(), "cents": STOCK[sku]}
    return web.json_response(item, headers={**stamp(), "ETag": tag})


@routes.post("/quotes")
async def quote(request: web.Request) -> web.Response:
    asked = await request.json()
    key = asked["basket"] + asked["sku"]
    attempts[key] = attempts.get(key, 0) + 1
    if attempts[key] == 1 and asked["sku"] == "oil":
        return web.json_response({"error": "busy"}, status=503, headers={"Retry-After": "0"})
    return web.json_response(
        {
            "quote": uuid4().hex,
            "sku": asked["sku"],
            "cents": STOCK[asked["sku"]] * asked["count"],
            "discount": round(random.random() / 10, 4),
            "valid_until": int(datetime.now(UTC).timestamp()) + 600,
        },
        headers=stamp(),
    )


@routes.post("/orders")
async def order(request: web.Request) -> web.Response:
    asked = await request.json()
    number = f"{datetime.now(UTC):%Y%m%d}-{os.urandom(4).hex()}"
    return web.json_response({"number": number, "quotes": asked["quotes"]}, status=201)


app = web.Application()
app.add_routes(routes)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
