"""Someone who has jobs done."""

from tests.e2e.strangers.driving import Client


def customer(client: Client) -> None:
    pick = client.random
    made = []
    for number in range(5):
        job = pick.choice(
            [
                {"task": "sum", "payload": {"numbers": [pick.randrange(100) for _ in range(3)]}},
                {"task": "reverse", "payload": {"text": f"text of {client.number}/{number}"}},
                {"task": "count", "payload": {"text": "the cat and the dog"}},
                {"task": "sum", "payload": {"wrong": client.number}},
            ]
        )
        delay = {"delay": 0.3} if pick.random() < 0.3 else {}
        made.append(client.post("/jobs", {**job, **delay}, 202).json["id"])
    client.post("/jobs", {"task": "explode", "payload": {}}, 422)
    for one in made:
        assert client.get(f"/jobs/{one}").json["id"] == one
    client.get("/jobs/00000000-0000-4000-8000-000000000000", 404)
    client.get("/stats")
