"""An owner of short links, and those who follow them."""

from tests.e2e.strangers.driving import Client

SITES = ["https://example.org/a?x=1", "https://example.net/long/way", "http://example.com/"]


def customer(client: Client) -> None:
    pick = client.random
    client.post("/links", {"url": SITES[0]}, 401)
    key = client.post("/keys", {"owner": f"owner-{client.number}"}, 201).json["key"]
    bearer = {"Authorization": f"Bearer {key}"}
    slugs = []
    for count, url in enumerate(pick.sample(SITES, 3), 1):
        asked = {"url": url, "tags": pick.sample(["red", "green", "a b", "c,d"], 2)}
        made = client.post("/links", asked, 201, **bearer).json
        assert made["count"] == count
        slugs.append(made["slug"])
    for _ in range(6):
        slug = pick.choice(slugs)
        if pick.random() < 0.3:
            client.cookies.clear()
        client.get(
            f"/{slug}", 302, **({"Referer": "https://r.example"} if pick.random() < 0.5 else {})
        )
    for slug in slugs:
        client.get(f"/links/{slug}/stats", **bearer)
    assert [one["slug"] for one in client.get("/links", **bearer).json["links"]] == slugs
    client.send("DELETE", f"/links/{slugs[0]}", expect=204, headers=bearer)
    client.get(f"/links/{slugs[0]}/stats", 404, **bearer)
    client.get(f"/{slugs[0]}", 404)
    client.get("/links", **bearer)
