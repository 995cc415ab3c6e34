"""A shopper with a basket."""

from tests.e2e.strangers.driving import Client

GOODS = ["tea", "rice", "salt", "oil", "soap", "jam", "nuts"]


def customer(client: Client) -> None:
    pick = client.random
    wanted = pick.sample(GOODS, 4)
    for sku in wanted:
        client.get(f"/catalogue/{sku}")
    client.get("/catalogue/gold", 404)
    for basket_number in range(2):
        client.headers["X-Correlation-Id"] = f"{client.number}-{basket_number}"
        basket = client.post("/baskets", expect=201).json["basket"]
        client.get(f"/baskets/{basket}/price", 404)
        for place, sku in enumerate(wanted[: 2 + basket_number * 2], 1):
            put = client.put(f"/baskets/{basket}/{sku}?count={pick.randrange(1, 9)}")
            assert put.json["items"] == place
        client.get(f"/baskets/{basket}/price")
        client.post(f"/baskets/{basket}/checkout", expect=201)
        client.post(f"/baskets/{basket}/checkout", expect=409)
        client.put(f"/baskets/{basket}/tea", expect=404)
        client.headers.clear()
