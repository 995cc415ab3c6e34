"""Mistakes in the response alone: bodies of every kind, statuses, headers."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence

from tests.e2e.field.lines import Answer, Backends, Difference, as_json, as_text, line

COMPARED = "non-JSON and large bodies not compared"
HEADERS = "Headers as a map lose Set-Cookie (#2640)"
TYPES = "types and presence of values"
LARGE_SIZE = 5_000_000
COLD = "max-age=60"


def make_bytes(size: int) -> bytes:
    """The same bytes each time, with no pattern in them."""
    return hashlib.shake_256(b"field").digest(size)


def flip(data: bytes, place: int) -> bytes:
    """The same with one bit of one byte changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@line(COMPARED, Difference("/body"))
def text(bug: bool, _: Backends) -> Answer:
    return as_text("three of five" if bug else "two of five")


@line(COMPARED, Difference("/body"))
def html(bug: bool, _: Backends) -> Answer:
    price = "9.98" if bug else "9.99"
    return as_text(f"<html><body>\n<p>€ {price}</p>\n</body></html>\n", "text/html")


@line(COMPARED, Difference("/body"))
def xml(bug: bool, _: Backends) -> Answer:
    return as_text(f'<order paid="{"no" if bug else "yes"}"><id>7</id></order>', "application/xml")


@line(COMPARED, Difference("/body"))
def form(bug: bool, _: Backends) -> Answer:
    return as_text(f"a=1&b={3 if bug else 2}", "application/x-www-form-urlencoded")


@line(COMPARED, Difference("/body"))
def binary(bug: bool, _: Backends) -> Answer:
    data = make_bytes(4000)
    return as_text(flip(data, 2000) if bug else data, "application/octet-stream")


@line(COMPARED, Difference("/body"))
def large_binary(bug: bool, _: Backends) -> Answer:
    data = make_bytes(LARGE_SIZE)
    return as_text(flip(data, LARGE_SIZE // 2) if bug else data, "application/octet-stream")


@line(COMPARED, Difference("/body"))
def large_json(bug: bool, _: Backends) -> Answer:
    rows = [{"row": number, "text": "some text " * 9} for number in range(20_000)]
    if bug:
        rows[10_000]["row"] = 1
    return as_json(rows)


@line(COMPARED, Difference("/body"))
def compressed(bug: bool, _: Backends) -> Answer:
    data = gzip.compress(b'{"left": %d}' % (3 if bug else 4), mtime=0)
    return Answer(data, headers=[("Content-Encoding", "gzip")])


@line(COMPARED, Difference("/body"))
def event_stream(bug: bool, _: Backends) -> Answer:
    events = [f"data: {number}\n\n".encode() for number in range(4)]
    return Answer(kind="text/event-stream", chunks=events[:-1] if bug else events)


@line(COMPARED, Difference("/body"))
def json_lines(bug: bool, _: Backends) -> Answer:
    rows = [{"row": number} for number in range(5)]
    if bug:
        rows[2], rows[3] = rows[3], rows[2]
    return as_text("".join(json.dumps(row) + "\n" for row in rows), "application/x-ndjson")


@line("chunked handling with idle timeouts cuts bodies (#3387)", Difference("/body"))
def last_chunk_lost(bug: bool, _: Backends) -> Answer:
    chunks = [b"first ", b"second ", b"third"]
    return Answer(kind="text/plain", chunks=chunks[:-1] if bug else chunks)


@line("trailing newline", Difference("/body"))
def trailing_newline(bug: bool, _: Backends) -> Answer:
    return as_text("a\nb" if bug else "a\nb\n")


@line("trailing white space", Difference("/body"))
def trailing_space(bug: bool, _: Backends) -> Answer:
    return as_text("total: 5 " if bug else "total: 5")


@line("array order ignored", Difference("/body/sizes", "order"))
def array_order(bug: bool, _: Backends) -> Answer:
    return as_json({"sizes": ["L", "M", "S"] if bug else ["S", "M", "L"]})


@line("array order ignored", Difference("/body"))
def array_of_objects_order(bug: bool, _: Backends) -> Answer:
    rows = [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}]
    return as_json(rows[::-1] if bug else rows)


@line("extra fields pass", Difference("/body/secret", "extra"))
def extra_field(bug: bool, _: Backends) -> Answer:
    return as_json({"name": "a", **({"secret": "b"} if bug else {})})


@line("extra fields pass", Difference("/body/1", "extra"))
def extra_element(bug: bool, _: Backends) -> Answer:
    return as_json([{"name": "a"}, *([{"name": "b"}] if bug else [])])


@line(TYPES, Difference("/body/name", "missing"))
def missing_field(bug: bool, _: Backends) -> Answer:
    return as_json({} if bug else {"name": "a"})


@line(TYPES, Difference("/body/name"))
def null_or_missing(bug: bool, _: Backends) -> Answer:
    return as_json({"id": 1} if bug else {"id": 1, "name": None})


@line(TYPES, Difference("/body/name"))
def empty_or_null(bug: bool, _: Backends) -> Answer:
    return as_json({"name": "" if bug else None})


@line(TYPES, Difference("/body/items"))
def empty_list_or_null(bug: bool, _: Backends) -> Answer:
    return as_json({"items": None if bug else []})


@line(TYPES, Difference("/body/items"))
def empty_list_or_object(bug: bool, _: Backends) -> Answer:
    return as_json({"items": {} if bug else []})


@line(TYPES, Difference("/body/price"))
def integer_or_float(bug: bool, _: Backends) -> Answer:
    return as_json({"price": 1.0 if bug else 1})


@line(TYPES, Difference("/body/price"))
def integer_or_string(bug: bool, _: Backends) -> Answer:
    return as_json({"price": "1" if bug else 1})


@line(TYPES, Difference("/body/paid"))
def boolean_or_integer(bug: bool, _: Backends) -> Answer:
    return as_json({"paid": 1 if bug else True})


@line(TYPES, Difference("/body/id"))
def large_integer_off_by_one(bug: bool, _: Backends) -> Answer:
    return as_json({"id": 2**53 + (1 if bug else 0)})


@line(TYPES, Difference("/body/rate"))
def last_decimal_place(bug: bool, _: Backends) -> Answer:
    return as_text(f'{{"rate": 0.1234567890123456{8 if bug else 7}89}}', "application/json")


@line("duplicate JSON keys", Difference("/body"))
def duplicate_keys(bug: bool, _: Backends) -> Answer:
    return as_text('{"a": 1, "a": 2}' if bug else '{"a": 2}', "application/json")


@line("unicode normal forms", Difference("/body/name"))
def unicode_form(bug: bool, _: Backends) -> Answer:
    return as_json({"name": "Zoe\u0308" if bug else "Zo\u00eb"})


@line("white space and case in values", Difference("/body/name"))
def letter_case(bug: bool, _: Backends) -> Answer:
    return as_json({"name": "alice" if bug else "Alice"})


@line("status", Difference("/status"))
def status(bug: bool, _: Backends) -> Answer:
    return as_json({"id": 1}, 201 if bug else 200)


@line("status", Difference("/status"))
def not_found_or_empty(bug: bool, _: Backends) -> Answer:
    return Answer(status=404 if bug else 204)


def set_cookies(*cookies: str) -> Answer:
    return as_json({}, 200, *(("Set-Cookie", cookie) for cookie in cookies))


COOKIES: Sequence[str] = ("a=1; Path=/", "b=2; Path=/; HttpOnly")


@line(HEADERS, Difference("/headers/set-cookie"))
def cookie_lost(bug: bool, _: Backends) -> Answer:
    return set_cookies(*COOKIES[1:] if bug else COOKIES)


@line(HEADERS, Difference("/headers/set-cookie"))
def cookie_order(bug: bool, _: Backends) -> Answer:
    return set_cookies(*COOKIES[::-1] if bug else COOKIES)


@line(HEADERS, Difference("/headers/set-cookie"))
def cookie_attribute(bug: bool, _: Backends) -> Answer:
    return set_cookies("session=1; Path=/" if bug else "session=1; Path=/; HttpOnly")


@line("Tusk never compares headers", Difference("/headers/cache-control", "missing"))
def header_lost(bug: bool, _: Backends) -> Answer:
    return as_json({}, 200, *([] if bug else [("Cache-Control", COLD)]))


@line("Tusk never compares headers", Difference("/headers/cache-control", "changed"))
def header_changed(bug: bool, _: Backends) -> Answer:
    return as_json({}, 200, ("Cache-Control", "max-age=600" if bug else COLD))


@line("Tusk never compares headers", Difference("/headers/x-internal", "extra"))
def header_extra(bug: bool, _: Backends) -> Answer:
    return as_json({}, 200, *([("X-Internal", "1")] if bug else []))


@line("Tusk never compares headers", Difference("/headers/location"))
def location(bug: bool, _: Backends) -> Answer:
    return as_json({}, 303, ("Location", "/users/2" if bug else "/users/1"))


@line("Tusk never compares headers", Difference("/headers/content-type"))
def charset(bug: bool, _: Backends) -> Answer:
    return as_text("ok", f"text/plain; charset={'latin-1' if bug else 'utf-8'}")


@line("Tusk never compares headers", Difference("/headers/content-type"))
def content_type(bug: bool, _: Backends) -> Answer:
    return as_text('{"a": 1}', "text/plain" if bug else "application/json")


@line("Tusk never compares headers", Difference("/headers/etag"))
def entity_tag(bug: bool, _: Backends) -> Answer:
    return as_json({}, 200, ("ETag", 'W/"7"' if bug else '"7"'))


@line("Tusk never compares headers", Difference("/headers/www-authenticate"))
def challenge(bug: bool, _: Backends) -> Answer:
    return as_json({}, 401, ("WWW-Authenticate", "Basic" if bug else 'Bearer realm="a"'))
