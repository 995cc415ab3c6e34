"""No planted secret is left in what is written, in any spelling, and equal ones stay equal."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from kebpf.recording.model import Role
from tests.recording.redaction.builders import (
    KEY,
    bulk,
    command,
    header,
    make_redactor,
    query,
    redact,
    serve,
)

TOKEN = "Zq3-fYt8_rK2mNb5VxW1LpQ7sD4hJ6gA0cEuIoTzRyk"
PASSWORD = 'p&ss "wörd" 4711'


def test_credentials_in_headers() -> None:
    basic = base64.b64encode(b"bob:hunter2-secret").decode()
    exchange = serve(
        headers={
            "Authorization": f"Basic {basic}",
            "Proxy-Authorization": f"Bearer {TOKEN}",
            "X-Api-Key": "partner 4711 key",
            "Cookie": f'theme=dark; session={TOKEN}; language="pt"; _ga=GA1.2.3',
        },
        answered={"Set-Cookie": "sid=s%3Aab12cd34ef56ab12cd34.QmFzZTY0U2lnbmF0dXJlT2ZJdA; Path=/"},
    )
    request, response = redact(make_redactor(), exchange)
    user, _, password = base64.b64decode(header(request, "Authorization")[6:]).partition(b":")
    assert user == b"bob" and password != b"hunter2-secret" and len(password) == 14
    changed = header(request, "Proxy-Authorization").removeprefix("Bearer ")
    assert changed != TOKEN and len(changed) == len(TOKEN)
    cookies = header(request, "Cookie")
    assert cookies == f'theme=dark; session={changed}; language="pt"; _ga=GA1.2.3'
    assert header(request, "X-Api-Key") != "partner 4711 key"
    cookie = header(response, "Set-Cookie")
    assert cookie.endswith("; Path=/") and "ab12cd34ef56ab12cd34" not in cookie
    assert "QmFzZTY0U2lnbmF0dXJlT2ZJdA" not in cookie and cookie.startswith("sid=s%3A")


def test_the_parameters_of_a_target_by_their_names() -> None:
    target = f"/find?q=lamp&api_key=abcDEF123456ghij&access_token={TOKEN}&mail=jo%40acme.com#x"
    request, _ = redact(make_redactor(), serve(target))
    before, after = parse_qs(urlsplit(target).query), parse_qs(urlsplit(request["target"]).query)
    assert after["q"] == before["q"] and request["target"].endswith("#x")
    for name in ("api_key", "access_token", "mail"):
        assert after[name] != before[name] and len(after[name][0]) == len(before[name][0])


def test_a_value_is_the_same_everywhere_and_in_all_its_spellings() -> None:
    redactor = make_redactor()
    sent = json.dumps({"password": PASSWORD, "token": TOKEN}).encode()
    login = serve(body=sent, headers={"Content-Type": "application/json"})
    stored = command("SET", f"cache/{TOKEN}", json.dumps({"p": PASSWORD}, ensure_ascii=False))
    looked = query(
        "SELECT * FROM x WHERE y = $1 AND z = $2 AND d = $3",
        [PASSWORD, base64.b64encode(f"1:{TOKEN}".encode()).decode(), TOKEN.encode().hex()],
        ["page"],
        [[f"/a?p={quote(PASSWORD, safe='')}&t={TOKEN}"]],
    )
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    hashed = query("SELECT 1 FROM keys WHERE digest = $1", [digest])
    request, _ = redact(redactor, login, stored, looked, hashed)
    body = json.loads(request["body"])
    password, token = body["password"], body["token"]
    assert len(password) == len(PASSWORD) and password != PASSWORD and token != TOKEN
    assert int(header(request, "Content-Length")) == len(request["body"])
    command_, _ = redact(redactor, stored)
    assert command_["command"][1] == f"cache/{token}"
    assert json.loads(command_["command"][2]) == {"p": password}
    asked, answer = redact(redactor, looked)
    assert asked["parameters"][0] == password
    assert base64.b64decode(asked["parameters"][1]).decode() == f"1:{token}"
    assert bytes.fromhex(asked["parameters"][2]).decode() == token
    assert answer["results"][0]["rows"] == [[f"/a?p={quote(password, safe='')}&t={token}"]]
    assert redact(redactor, hashed)[0]["parameters"] == [hashlib.sha256(token.encode()).hexdigest()]


def test_what_only_a_later_message_shows_to_be_a_secret_is_replaced_in_an_earlier_one() -> None:
    redactor = make_redactor()
    made = query("INSERT INTO things (name) VALUES ($1)", [TOKEN], ["other"], [[TOKEN]])
    answered = serve(answered={"Set-Cookie": f"session={TOKEN}; HttpOnly"})
    request, response = redact(redactor, made, answered)
    changed = header(redact(redactor, answered)[1], "Set-Cookie")[8:-10]
    assert request["parameters"] == [changed] and response["results"][0]["rows"] == [[changed]]
    assert changed != TOKEN


def test_columns_parameters_and_literals_by_their_names() -> None:
    redactor = make_redactor()
    sql = "INSERT INTO people (name, password_hash, pin) VALUES ($1, $2, 'x-4711')"
    request, response = redact(
        redactor,
        query(sql, ["Bob", "a0b1c2d3e4f5"], ["api_key", "id"], [["kk-12", "7"], [None, "8"]]),
    )
    assert request["parameters"][0] == "Bob" and request["parameters"][1] != "a0b1c2d3e4f5"
    assert "x-4711" not in request["sql"] and len(request["sql"]) == len(sql)
    (first, second) = response["results"][0]["rows"]
    assert first[0] not in ("kk-12", None) and first[1] == "7" and second == [None, "8"]


def test_bytea_stays_bytea() -> None:
    stored = "$2b$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
    request, _ = redact(
        make_redactor(),
        query("INSERT INTO p (password) VALUES ($1)", ["\\x" + stored.encode().hex()]),
    )
    written = bytes.fromhex(request["parameters"][0].removeprefix("\\x")).decode()
    assert written[:29] == stored[:29] and written != stored and len(written) == len(stored)


@pytest.mark.parametrize("quote", ["'\\x{}'::bytea", "E'\\\\x{}'"])
def test_bytea_in_a_literal_stays_bytea(quote: str) -> None:
    """As a client writes it that puts the values into the statement itself."""
    stored = "$2b$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
    sql = "INSERT INTO p (name, password) VALUES ('Bob', " + quote + ")"
    request, _ = redact(make_redactor(), query(sql.format(stored.encode().hex())))
    before, _, after = sql.partition("{}")
    written = request["sql"].removeprefix(before).removesuffix(after)
    made = bytes.fromhex(written).decode()
    assert made[:29] == stored[:29] and made != stored and len(made) == len(stored)


def test_keys_and_fields_of_redis() -> None:
    redactor = make_redactor()
    number = secrets.token_hex(16)
    request, _ = redact(redactor, command("GET", f"session:{number}"))
    assert request["command"][1].startswith("session:") and number not in request["command"][1]
    request, _ = redact(redactor, command("HSET", "user:7", "name", "Bob", "api_key", "kk-4711-z"))
    assert request["command"][:5] == ["HSET", "user:7", "name", "Bob", "api_key"]
    assert request["command"][5] != "kk-4711-z"
    reply = {"type": "array", "items": [bulk("name"), bulk("Bob"), bulk("secret"), bulk("s-1234")]}
    _, response = redact(redactor, command("HGETALL", "user:7", reply=reply))
    values = [item["value"] for item in response["reply"]["items"]]
    assert values[:3] == ["name", "Bob", "secret"] and values[3] != "s-1234"
    _, response = redact(redactor, command("GET", "config.api_key", reply=bulk("k-999-k")))
    assert response["reply"]["value"] != "k-999-k"
    request, _ = redact(redactor, command("SET", "product:7", "lamp"))
    assert request["command"] == ["SET", "product:7", "lamp"]


@pytest.mark.parametrize("answered", [{}, {"Content-Type": "image/png"}])
def test_what_is_no_text_holds_no_secrets_by_chance(answered: dict[str, str]) -> None:
    """But those that are known, and those in the texts within it."""
    address = f"jane.{secrets.token_hex(6)}@acme-mail.com"
    noise = b"\xff\x00a@b.de\x01\xe9x@y.org\x02pin=77\x00"
    redactor = make_redactor()
    login = serve(headers={"Authorization": f"Bearer {TOKEN}"})
    body = noise + b"\x00" + TOKEN.encode() + b"\x80\x12" + address.encode() + b"\x1a" + noise
    _, response = redact(redactor, serve(answer=body, answered=answered), login)
    written = response["body"]
    assert written.startswith(noise + b"\x00") and written.endswith(b"\x1a" + noise)
    assert TOKEN.encode() not in written and address.encode() not in written
    assert len(written) == len(body)


def test_a_form_with_a_file_is_looked_at_whole() -> None:
    password = "wörd-" + secrets.token_hex(6)
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n'
    body = part.format("password").encode() + password.encode() + b"\r\n"
    body += part.format("file").encode() + b"\xff\x00\x01\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request, _ = redact(make_redactor(), serve(body=body, headers=headers))
    assert password.encode()[-12:] not in request["body"]
    assert request["body"].endswith(body[body.index(b"\r\n--x\r\nContent", 60) :])


@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd", "deflate"])
def test_compressed_bodies(coding: str) -> None:
    import zlib

    import brotli
    import zstandard

    pack = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress,
            "zstd": zstandard.compress}[coding]  # fmt: skip
    unpack = {"": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress,
              "br": brotli.decompress, "zstd": zstandard.decompress}[coding]  # fmt: skip
    plain = json.dumps({"token": TOKEN, "n": 1}).encode()
    headers = {"Content-Type": "application/json"} | (
        {"Content-Encoding": coding} if coding else {}
    )
    _, response = redact(make_redactor(), serve(answer=pack(plain), answered=headers))
    tree = json.loads(unpack(response["body"]))
    assert tree["n"] == 1 and tree["token"] != TOKEN and len(tree["token"]) == len(TOKEN)
    assert int(header(response, "Content-Length")) == len(response["body"])


def test_a_common_word_is_replaced_where_it_was_sent_and_where_it_comes_back_as_it_is() -> None:
    redactor = make_redactor()
    body = json.dumps({"password": "short", "note": "make it short"}).encode()
    answer = json.dumps({"input": "short", "msg": "too short"}).encode()
    kind = {"Content-Type": "application/json"}
    request, response = redact(
        redactor, serve(body=body, headers=kind, answer=answer, answered=kind)
    )
    sent, came = json.loads(request["body"]), json.loads(response["body"])
    assert sent["password"] != "short" and sent["note"] == "make it short"
    assert came == {"input": sent["password"], "msg": "too short"}
    other, _ = redact(redactor, serve(body=b'{"size": "short"}', headers=kind))
    assert json.loads(other["body"]) == {"size": "short"}


def test_what_holds_no_secret_is_the_same_object() -> None:
    redactor = make_redactor()
    plain = serve("/items/7?page=2", b'{"n": 1}', {"Accept": "*/*"}, b'{"name": "lamp"}')
    for one in (plain, query("SELECT 1", [], ["a"], [["b"]]), command("GET", "product:7")):
        redactor.learn(one)
        assert redactor.redact(one).recorded is one
    assert redactor.count_replaced() == {}


def test_another_set_has_other_stand_ins_and_the_same_set_the_same() -> None:
    exchange = serve(headers={"X-Api-Key": TOKEN})
    first, again, other = (
        header(redact(make_redactor(key), exchange)[0], "X-Api-Key") for key in (KEY, KEY, b"2")
    )
    assert first == again != other


def test_rules_of_a_project() -> None:
    redactor = make_redactor(names=["internal_ref"], patterns=[r"ACME-(\d{6})"], keep=["x-api-*"])
    body = b'{"internal_ref": "ref 1", "text": "see ACME-471100 there"}'
    headers = {"X-Api-Key": "public", "Content-Type": "application/json"}
    request, _ = redact(redactor, serve(body=body, headers=headers))
    tree = json.loads(request["body"])
    assert tree["internal_ref"] != "ref 1" and tree["text"].startswith("see ACME-")
    assert "471100" not in tree["text"] and header(request, "X-Api-Key") == "public"


def test_what_came_in_is_told_from_what_the_program_sends_of_its_own() -> None:
    redactor = make_redactor()
    redact(redactor, serve(headers={"Authorization": f"Bearer {TOKEN}"}))
    own = serve(headers={"X-Api-Key": "my own key 1"}, role=Role.CLIENT)
    redact(redactor, own)
    assert redactor.came_in(TOKEN) and not redactor.came_in("my own key 1")
    assert redactor.redact(own).sent == ("my own key 1",)


def test_a_command_line() -> None:
    words = ["app", "--password", "p-1234", "--db", "postgres://u:s3cret@h/d", "--api-key=k-123456"]
    changed = make_redactor().redact_command(words)
    assert changed[:2] == words[:2] and changed[3] == "--db"
    assert not any(secret in " ".join(changed) for secret in ("p-1234", "s3cret", "k-123456"))


def test_kinds_are_counted_once_a_value() -> None:
    redactor = make_redactor()
    for _ in range(3):
        redact(redactor, serve(headers={"Authorization": f"Bearer {TOKEN}"}, body=b"a@acme.com"))
    assert redactor.count_replaced() == {"token": 1, "e-mail address": 1}
