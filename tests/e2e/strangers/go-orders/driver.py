"""A customer who orders."""

from tests.e2e.strangers.driving import Client


def customer(client: Client) -> None:
    pick, name = client.random, f"customer-{client.number}"
    client.get(f"/customers/{name}")
    client.post("/orders", {"customer": name, "items": {}}, 400)
    client.post("/orders", {"customer": name, "items": {"sku-1": 10_000_000}}, 409)
    placed = []
    for _ in range(3):
        items = {f"sku-{n}": pick.randrange(1, 5) for n in pick.sample(range(1, 21), 3)}
        made = client.post("/orders", {"customer": name, "items": items}, 201)
        placed.append(made.json["id"])
        assert {one["sku"]: one["quantity"] for one in made.json["lines"]} == items
    for one in placed:
        assert len(client.get(f"/orders/{one}").json["lines"]) == 3
    client.get("/orders/00000000-0000-4000-8000-000000000000", 404)
    client.get("/orders/nonsense", 400)
    assert client.get(f"/customers/{name}").json["orders"] == placed
    client.get("/products?sku=sku-1&sku=sku-2&sku=sku-7")
