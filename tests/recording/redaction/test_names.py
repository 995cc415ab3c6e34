"""Which names tell that a value is a secret, and which only look like it."""

from __future__ import annotations

import pytest

from kebpf.recording.redaction.names import CARD, DRAWN, KEY, OTHER, PASSWORD, TOKEN, Names

NAMES = Names()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("password", PASSWORD), ("Password", PASSWORD), ("userPassword", PASSWORD),
        ("password_hash", PASSWORD), ("password_salt", PASSWORD), ("new_password", PASSWORD),
        ("password_confirmation", PASSWORD), ("pwd", PASSWORD), ("pass", PASSWORD),
        ("pin", PASSWORD), ("otp", PASSWORD), ("db_passwd", PASSWORD), ("PGPASSWORD", PASSWORD),
        ("token", TOKEN), ("accessToken", TOKEN), ("refresh_token", TOKEN), ("id_token", TOKEN),
        ("X-Auth-Token", TOKEN), ("X-CSRF-Token", TOKEN), ("csrfmiddlewaretoken", TOKEN),
        ("sessionid", TOKEN), ("session_id", TOKEN), ("JSESSIONID", TOKEN), ("jwt", TOKEN),
        ("api_key", KEY), ("apiKey", KEY), ("X-Api-Key", KEY), ("APIKey", KEY), ("apikey", KEY),
        ("client_secret", KEY), ("aws_secret_access_key", KEY), ("privateKey", KEY),
        ("Ocp-Apim-Subscription-Key", KEY), ("x-functions-key", KEY), ("stripe_secret_key", KEY),
        ("card_number", CARD), ("cardNumber", CARD), ("cvv", CARD), ("cvc2", CARD),
        ("ssn", OTHER), ("iban", OTHER), ("key", DRAWN), ("signature", DRAWN), ("sid", DRAWN),
    ],
)  # fmt: skip
def test_names_that_tell(name: str, kind: str | None) -> None:
    assert NAMES.classify(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        "token_type", "token_count", "max_tokens", "tokens", "tokenizer", "password_changed_at",
        "has_password", "is_secret", "require_token", "next_page_token", "page_token", "pinned",
        "spin", "passenger", "compass", "passport_country", "author", "authority", "keyboard",
        "monkey", "card", "card_type", "discard", "secretary", "sessions_open", "cookie_banner",
        "idempotency_key", "public_key", "primary_key", "name", "id", "", "_", "x" * 100,
    ],
)  # fmt: skip
def test_names_that_only_look_like_it(name: str) -> None:
    kind = NAMES.classify(name)
    assert kind in (None, DRAWN)


def test_a_project_adds_its_own() -> None:
    names = Names(["internal-id", "Kundennummer"])
    assert names.classify("internalId") == names.classify("KUNDENNUMMER") == OTHER
    assert names.classify("id") is None
    assert names.may_hold('{"internal_id": 1}') and names.may_hold("kundennummer=4")


def test_each_name_that_tells_has_a_stem_by_which_a_text_is_looked_into() -> None:
    for name in ("password", "pwd", "apiKey", "jwt", "cvv", "ccnumber", "otp", "ssn", "iban"):
        assert NAMES.may_hold(f'"{name.lower()}": "x"')
    assert not NAMES.may_hold('{"items": [{"id": 7, "name": "lamp", "price": "12.50"}]}')
