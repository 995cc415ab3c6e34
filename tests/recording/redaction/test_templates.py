"""Templates fit what is written, and leave open only what nobody can know at replay."""

from __future__ import annotations

import base64

from kebpf.recording.model import Role
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.redaction.templates import adapt_templates
from kebpf.recording.templates import match_template
from tests.recording.redaction.builders import make_redactor, redact, serve

TOKEN = "Zq3-fYt8_rK2mNb5VxW1LpQ7sD4hJ6gA0cEuIoTzRyk"


def redact_view(redactor: Redactor, view: dict[str, str], value: str) -> dict[str, str]:
    """A view with what stands for a secret that is known."""
    redacted: dict[str, str] = redactor.redact_tree(view)
    assert value not in str(redacted)
    return redacted


def learn(value: str, role: Role) -> Redactor:
    redactor = make_redactor()
    redact(redactor, serve(headers={"Authorization": f"Bearer {value}"}, role=role))
    return redactor


def test_placeholders_stay_where_they_are() -> None:
    redactor = learn(TOKEN, Role.CLIENT)
    before = {"key": f"session:{TOKEN}:x", "other": "a {b}"}
    after = redact_view(redactor, before, TOKEN)
    generated = {"/key": "session:{base64url:43}:x", "/other": "a {{b}}"}
    adapted = adapt_templates(redactor, generated, before, after, [TOKEN])
    assert adapted == generated
    found = match_template(adapted["/key"], after["key"])
    assert found is not None and found[0][1] != TOKEN


def test_a_secret_in_the_fixed_part_of_a_template_is_replaced_in_it() -> None:
    redactor = learn("my partner's key 1", Role.SERVER)
    before = {"a": "my partner's key 1 at 2026-11-23"}
    after = redact_view(redactor, before, "my partner's key 1")
    generated = {"/a": "my partner's key 1 at {time:%Y-%m-%d}"}
    adapted = adapt_templates(redactor, generated, before, after, [])
    assert adapted["/a"] == after["a"][:-10] + "{time:%Y-%m-%d}"
    assert "partner" not in adapted["/a"]


def test_what_the_program_sends_of_its_own_is_compared_by_class() -> None:
    own = "my partner's key 1"
    redactor = learn(own, Role.CLIENT)
    before = {"authorization": f"Bearer {own}", "n": "1"}
    after = redact_view(redactor, before, own)
    adapted = adapt_templates(redactor, {}, before, after, [own])
    assert adapted == {"/authorization": "Bearer {secret:18}"}
    for text in (f"Bearer {own}", after["authorization"]):
        assert match_template(adapted["/authorization"], text) is not None
    assert match_template(adapted["/authorization"], "Bearer other") is None


def test_what_came_in_stays_exact() -> None:
    redactor = learn(TOKEN, Role.SERVER)
    before = {"a": TOKEN}
    after = redact_view(redactor, before, TOKEN)
    assert adapt_templates(redactor, {}, before, after, [TOKEN]) == {}


def test_basic_credentials_of_its_own() -> None:
    redactor = make_redactor()
    sent = serve(
        headers={"Authorization": "Basic " + base64.b64encode(b"shop:pass-4711").decode()},
        role=Role.CLIENT,
    )
    request, _ = redact(redactor, sent)
    before = {"a": sent.exchange.request["headers"][0][1]}
    after = {"a": request["headers"][0][1]}
    adapted = adapt_templates(redactor, {}, before, after, ["pass-4711"])
    for text in (before["a"], after["a"]):
        assert match_template(adapted["/a"], text) is not None


def test_keys_of_maps_are_followed() -> None:
    redactor = learn(TOKEN, Role.CLIENT)
    before = {f"s/{TOKEN}": "550e8400-e29b-41d4-a716-446655440000"}
    after = redact_view(redactor, before, TOKEN)
    (key,) = after
    adapted = adapt_templates(redactor, {f"/s~1{TOKEN}": "{uuid4}"}, before, after, [])
    assert adapted == {"/" + key.replace("/", "~1"): "{uuid4}"}
