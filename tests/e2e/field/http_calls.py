"""Mistakes in calls over HTTP: what is asked, of whom, with what, how often."""

from __future__ import annotations

import httpx

from tests.e2e.field.bodies import flip, make_bytes
from tests.e2e.field.lines import Answer, Backends, CallFinding, as_json, line

QUERY = "query values and destination are not compared when a mock is chosen"
REPEATED = "a repeated call replays the first answer for ever (#4570)"
LOST = "outgoing calls are not asserted"
BODY = "the body of an outgoing call"
HEADERS = "headers of an outgoing call"
SIMILAR = "similarity without threshold (#4272)"
LARGE_SIZE = 1_500_000


def give(answer: httpx.Response) -> Answer:
    """What the dependency said, as it is."""
    return as_json({"status": answer.status_code, "said": answer.json()})


@line(QUERY, CallFinding("changed", "/stock"))
def query_value(bug: bool, use: Backends) -> Answer:
    return give(use.http.get("/stock", params={"item": "cocoa" if bug else "tea"}))


@line(QUERY, CallFinding("changed", "/stock"))
def query_name(bug: bool, use: Backends) -> Answer:
    return give(use.http.get("/stock", params={"goods" if bug else "item": "mate"}))


@line(QUERY, CallFinding("changed", "/stock"))
def query_order_of_equal_names(bug: bool, use: Backends) -> Answer:
    values = ("2", "1") if bug else ("1", "2")
    return give(use.http.get("/stock", params=[("page", value) for value in values]))


@line(QUERY, CallFinding("changed", "/stock"))
def query_value_lost(bug: bool, use: Backends) -> Answer:
    return give(use.http.get("/stock", params={} if bug else {"item": "all"}))


@line(QUERY, CallFinding("extra", "/place"))
def http_port(bug: bool, use: Backends) -> Answer:
    return give((use.other_http if bug else use.http).get("/place"))


@line(QUERY, CallFinding("changed", "/host"))
def http_host(bug: bool, use: Backends) -> Answer:
    host = "b.example" if bug else "a.example"
    return give(use.http.get("/host", headers={"Host": host}))


@line(SIMILAR, CallFinding("changed", "/users/"))
def path_one_off(bug: bool, use: Backends) -> Answer:
    return give(use.http.get(f"/users/{1002 if bug else 1001}"))


@line(SIMILAR, CallFinding("changed", "/method"))
def method(bug: bool, use: Backends) -> Answer:
    return give(use.http.request("PATCH" if bug else "PUT", "/method", json={"a": 1}))


@line(BODY, CallFinding("changed", "/charges"))
def json_field(bug: bool, use: Backends) -> Answer:
    order = {"amount": "10.01" if bug else "10.00", "currency": "EUR", "card": "4111"}
    return give(use.http.post("/charges", json=order))


@line(BODY, CallFinding("changed", "/charges"))
def json_type(bug: bool, use: Backends) -> Answer:
    return give(use.http.post("/charges", json={"amount": 10.0 if bug else 10, "card": "4112"}))


@line(BODY, CallFinding("changed", "/charges"))
def json_order(bug: bool, use: Backends) -> Answer:
    steps = ["pay", "send"]
    return give(use.http.post("/charges", json={"steps": steps[::-1] if bug else steps}))


@line(BODY, CallFinding("changed", "/form"))
def form_field(bug: bool, use: Backends) -> Answer:
    return give(use.http.post("/form", data={"a": "1", "b": "3" if bug else "2"}))


@line(BODY, CallFinding("changed", "/text"))
def text_sent(bug: bool, use: Backends) -> Answer:
    return give(use.http.post("/text", content="two " if bug else "two"))


@line(BODY, CallFinding("changed", "/soap"))
def xml_sent(bug: bool, use: Backends) -> Answer:
    text = f"<pay><to>{'bob' if bug else 'alice'}</to></pay>"
    return give(use.http.post("/soap", content=text, headers={"Content-Type": "text/xml"}))


@line(BODY, CallFinding("changed", "/upload"))
def large_body_sent(bug: bool, use: Backends) -> Answer:
    data = make_bytes(LARGE_SIZE)
    return give(use.http.post("/upload", content=flip(data, LARGE_SIZE // 2) if bug else data))


@line(HEADERS, CallFinding("changed", "/private"))
def authorization_changed(bug: bool, use: Backends) -> Answer:
    token = "Bearer of-bob" if bug else "Bearer of-alice"
    return give(use.http.get("/private/changed", headers={"Authorization": token}))


@line(HEADERS, CallFinding("changed", "/private"))
def authorization_lost(bug: bool, use: Backends) -> Answer:
    headers = {} if bug else {"Authorization": "Bearer of-alice"}
    return give(use.http.get("/private/lost", headers=headers))


@line(HEADERS, CallFinding("changed", "/page"))
def language(bug: bool, use: Backends) -> Answer:
    return give(use.http.get("/page/language", headers={"Accept-Language": "nl" if bug else "de"}))


@line(HEADERS, CallFinding("changed", "/page"))
def idempotency_key_lost(bug: bool, use: Backends) -> Answer:
    headers = {} if bug else {"Idempotency-Key": "order-7"}
    return give(use.http.post("/page/key", json={}, headers=headers))


@line(HEADERS, CallFinding("changed", "/page"))
def type_of_body(bug: bool, use: Backends) -> Answer:
    kind = "text/plain" if bug else "application/json"
    return give(use.http.post("/page/type", content='{"a": 1}', headers={"Content-Type": kind}))


@line(LOST, CallFinding("missing", "/notify/lost"))
def post_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        use.http.post("/notify/lost", json={"to": "alice"}).raise_for_status()
    return as_json({"sent": True})


@line(LOST, CallFinding("repeated", "/notify/doubled"))
def post_doubled(bug: bool, use: Backends) -> Answer:
    for _ in range(2 if bug else 1):
        use.http.post("/notify/doubled", json={"to": "alice"})
    return as_json({"sent": True})


@line(LOST, CallFinding("changed", "/notify/swallowed"))
def error_swallowed(bug: bool, use: Backends) -> Answer:
    """The service does not look at what came back: only the call itself shows it."""
    use.http.post("/notify/swallowed", json={"to": "bob" if bug else "alice"})
    return as_json({"sent": True})


@line(REPEATED, CallFinding("missing", "/jobs/fewer"))
def polled_too_seldom(bug: bool, use: Backends) -> Answer:
    """Pending, pending, done: the recording's answers in its order."""
    states = [use.http.get("/jobs/fewer").json()["state"] for _ in range(2 if bug else 3)]
    return as_json({"states": states})


@line(REPEATED, CallFinding("repeated", "/jobs/more"))
def polled_too_often(bug: bool, use: Backends) -> Answer:
    answers = [use.http.get("/jobs/more") for _ in range(4 if bug else 3)]
    return as_json({"states": [answer.json()["state"] for answer in answers[:3]]})
