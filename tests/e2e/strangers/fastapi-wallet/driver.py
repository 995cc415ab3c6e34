"""A customer of the wallet."""

from tests.e2e.strangers.driving import Client


def customer(client: Client) -> None:
    pick = client.random
    email = f"{pick.choice(['Ann', 'Bob', 'Eve'])}.{client.number}@example.org"
    account = {"email": email, "password": f"correct horse {client.number}"}
    client.headers["X-Client"] = f"customer-{client.number}"
    made = client.post("/register", account, 201).json
    client.post("/register", account, 409)
    client.post("/login", {**account, "password": "wrong password"}, 401)
    tokens = client.post("/login", account).json
    client.get("/me", 401)
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    assert client.get("/me").json["id"] == made["id"]
    names = pick.sample(["spending", "savings", "holidays", "car", "rent"], 3)
    opened = [
        client.post("/accounts", {"label": name, "opening_cents": pick.randrange(1, 50) * 100}, 201)
        for name in names
    ]
    ids = [one.json["id"] for one in opened]
    assert [one["id"] for one in client.get("/accounts").json] == ids
    for _ in range(2):
        source, target = pick.sample(ids, 2)
        amount = pick.randrange(1, 90)
        move = {"source_id": source, "target_id": target, "amount_cents": amount}
        client.post("/transfers", move, 201)
    client.post("/transfers", {**move, "amount_cents": 10_000_000}, 409)
    client.post("/transfers", {**move, "amount_cents": -1}, 422)
    client.get("/accounts")
    tokens = client.post("/refresh", {"refresh_token": tokens["refresh_token"]}).json
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    client.get("/me")
