"""A clerk of one warehouse."""

import json

from tests.e2e.strangers.driving import Client


def customer(client: Client) -> None:
    pick, code = client.random, f"W{client.number % 8 + 1}"
    client.get("/warehouses")
    items = client.get(f"/warehouses/{code}/items").json["items"]
    for item in pick.sample(items, 3):
        changes = [
            {"by": pick.choice([-3, -2, -1, 1, 2, 5]), "reason": f"count {client.number}"},
            {"by": 0},
            {"by": pick.randrange(1, 9)},
        ]
        moved = client.post(f"/items/{item['id']}/movements", {"changes": changes}, 201).json
        assert moved["results"][1] == {"error": "movements_change_check"}
    client.post("/items/99999/movements", {"changes": [{"by": 1}]}, 404)
    change = {"attributes": {"color": pick.choice(["red", "blue"])}, "price": "7.500"}
    body, kind = json.dumps(change).encode(), {"Content-Type": "application/json"}
    client.send("PATCH", f"/items/{items[0]['id']}", body, 200, kind)
    assert len(client.get(f"/items/{items[1]['id']}/photo").body) == 16
    client.get(f"/warehouses/{code}/export.csv")
    assert client.get(f"/warehouses/{code}/ledger").text.count("\n") == 6
    client.get(f"/stock-changes?by=clerk-{client.number}")
    client.get(f"/warehouses/{code}/items")
