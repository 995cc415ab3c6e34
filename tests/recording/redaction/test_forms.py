"""What tells by its form, and what only looks like it."""

from __future__ import annotations

import pytest

from kebpf.recording.redaction.forms import find_forms, may_hold_forms

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJB\n-----END RSA PRIVATE KEY-----"


def find(text: str) -> list[str]:
    found = [span.value for span in find_forms(text)]
    assert may_hold_forms(text) or not found
    return found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("write to bob@acme.com.", ["bob@acme.com"]),
        ('{"email": "\\u00e7elik.4h@acme.org"}', ["çelik.4h@acme.org"]),
        ("line\\nbob@acme.com", ["bob@acme.com"]),
        ("/find?mail=bob%2Bx%40acme.com&x=1", ["bob+x@acme.com"]),
        ("%C3%A7elik%40acme.com", ["çelik@acme.com"]),
        ("postgres://shop:pa%20ss@db/shop", ["pa ss"]),
        ("paid with 4242 4242 4242 4242 today", ["4242 4242 4242 4242"]),
        ('{"card": 4242424242424242}', ["4242424242424242"]),
        ("AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("use sk_live_4eC39HqLyjWDarjtT1zdp7dc.", ["sk_live_4eC39HqLyjWDarjtT1zdp7dc"]),
        (f'{{"pem": "{PEM}"}}', ["\nMIIBOgIBAAJB\n"]),
        ("4242424242424241", []),  # its sum is wrong
        ("order 1790000000000000001", []),
        ("550e8400-e29b-41d4-a716-446655440000", []),
        ("1.4242424242424242", []),
        ("logo@2x.png and user@localhost and a @ b", []),
        ("SELECT '{\"a\": 1}'::jsonb @> '{}'", []),
        ("GET /items/7?page=2", []),
    ],
)
def test_forms(text: str, values: list[str]) -> None:
    assert find(text) == values


@pytest.mark.parametrize("piece", ["a.", "a@", "4242 ", "eyJ", "a@b.", "://a:b"])
def test_a_long_text_takes_no_longer_than_its_length_says(piece: str) -> None:
    assert len(find(piece * 20_000)) < 40_000  # or the test's own limit of time ends it
