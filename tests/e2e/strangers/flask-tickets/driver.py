"""Someone with a browser at the ticket desk."""

import re

from tests.e2e.strangers.driving import Client

SUBJECTS = ["Printer on fire", "No <sound>", "Password & login", "Größe falsch", "It's broken"]


def customer(client: Client) -> None:
    pick, name = client.random, f"person {client.number}"
    account = {"name": name, "password": f"pass word {client.number}"}

    def csrf_of(path: str) -> str:
        return re.search('name="csrf" value="([^"]+)"', client.get(path).text)[1]

    client.submit("/signup", {**account, "csrf": csrf_of("/signup")})
    assert f"Welcome, {name}" in client.get("/tickets").text
    references = []
    for subject in pick.sample(SUBJECTS, 3):
        token = csrf_of("/tickets/new")
        made = client.submit("/tickets/new", {"subject": subject, "csrf": token})
        references.append(made.headers["Location"])
        client.get(made.headers["Location"])
    client.submit("/tickets/new", {"subject": "forged", "csrf": "wrong"}, 403)
    for path in pick.choices(references, k=3):
        fields = {"text": f"comment {pick.randrange(1000)}", "csrf": csrf_of(path)}
        client.submit(f"{path}/comments", fields)
        assert "Comment added" in client.get(path).text
    client.get("/tickets/T-NOTTHERE", 404)
    client.submit("/logout", {"csrf": csrf_of("/tickets")})
    client.submit("/login", {**account, "password": "wrong", "csrf": csrf_of("/login")})
    client.submit("/login", {**account, "csrf": csrf_of("/login")})
    client.get("/tickets")
    del client.cookies["sid"]
    assert "Welcome back" in client.get("/tickets").text
