"""The regressions SHOP_BUG switches on, and where each must be noticed."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass


class Difference(enum.Enum):
    """In what a regression first shows."""

    STATUS = "response status"
    HEADER = "response header"
    BODY = "response body"
    MISSING_CALL = "missing outgoing call"
    EXTRA_CALL = "extra outgoing call"
    CHANGED_CALL = "changed outgoing call"


@dataclass(frozen=True)
class Bug:
    """What it does, the request in which it must be noticed, and by what."""

    what: str
    method: str
    route: str
    difference: Difference


BUGS: dict[str, Bug] = {
    "lost_insert": Bug(
        "an order's items are not inserted", "POST", "/orders", Difference.MISSING_CALL
    ),
    "wrong_where": Bug(
        "the list of orders is not limited to the customer",
        "GET",
        "/orders",
        Difference.CHANGED_CALL,
    ),
    "wrong_status": Bug(
        "a created customer is answered with 200 instead of 201",
        "POST",
        "/customers",
        Difference.STATUS,
    ),
    "missing_field": Bug(
        "a product comes without its tags", "GET", "/products/{product_id}", Difference.BODY
    ),
    "extra_field": Bug(
        "a customer comes with the hash of the password",
        "GET",
        "/customers/{customer_id}",
        Difference.BODY,
    ),
    "array_order": Bug(
        "found products come in reverse", "GET", "/products/search", Difference.BODY
    ),
    "doubled_call": Bug("the rate is asked for twice", "POST", "/orders", Difference.EXTRA_CALL),
    "stale_cache": Bug(
        "a changed stock leaves the old product in the cache (no DEL)",
        "PUT",
        "/products/{product_id}/stock",
        Difference.MISSING_CALL,
    ),
    "wrong_header": Bug(
        "an account may be cached by everyone (Cache-Control: public)",
        "GET",
        "/me",
        Difference.HEADER,
    ),
    "wrong_id": Bug(
        "the order id answered is not the one inserted", "POST", "/orders", Difference.BODY
    ),
    "wrong_time": Bug(
        "created_at in the answer is an hour after the one inserted",
        "POST",
        "/orders",
        Difference.BODY,
    ),
    "wrong_amount": Bug(
        "the card is charged a cent more than the order's total",
        "POST",
        "/orders/{order_id}/payment",
        Difference.CHANGED_CALL,
    ),
    "lost_commit": Bug(
        "cancelling an order ends in ROLLBACK instead of COMMIT",
        "POST",
        "/orders/{order_id}/cancel",
        Difference.CHANGED_CALL,
    ),
    "lost_event": Bug(
        "cancelling an order is not announced (no RPUSH)",
        "POST",
        "/orders/{order_id}/cancel",
        Difference.MISSING_CALL,
    ),
    "changed_sql": Bug(
        "products are ordered by another column", "GET", "/products", Difference.CHANGED_CALL
    ),
    "n_plus_one": Bug(
        "one query for the items of each order", "GET", "/orders", Difference.CHANGED_CALL
    ),
    "wrong_text": Bug("a word on the front page changed", "GET", "/", Difference.BODY),
    "wrong_binary": Bug(
        "one colour of a picture changed", "GET", "/products/{product_id}/image", Difference.BODY
    ),
    "wrong_csv": Bug(
        "the price list has semicolons", "GET", "/products.csv", Difference.CHANGED_CALL
    ),
    "lost_chunk": Bug(
        "the last order is left out of the export", "GET", "/export/orders.ndjson", Difference.BODY
    ),
    "wrong_type": Bug(
        "the number of units sold is a string", "GET", "/reports/sales", Difference.BODY
    ),
    "null_field": Bug("the customer's language is null", "GET", "/me", Difference.BODY),
    "wrong_cache_key": Bug(
        "products are cached under another key",
        "GET",
        "/products/{product_id}",
        Difference.CHANGED_CALL,
    ),
    "wrong_ttl": Bug(
        "a login lasts a day instead of an hour", "POST", "/login", Difference.CHANGED_CALL
    ),
    "lost_set_cookie": Bug(
        "one of two cookies is not set", "PUT", "/preferences", Difference.HEADER
    ),
    "ignored_etag": Bug(
        "a product not changed is sent again (200 instead of 304)",
        "GET",
        "/products/{product_id}",
        Difference.STATUS,
    ),
}

ACTIVE = os.environ.get("SHOP_BUG", "")
if ACTIVE and ACTIVE not in BUGS:
    raise SystemExit(f"SHOP_BUG={ACTIVE} is none of: {', '.join(BUGS)}")


def has_bug(name: str) -> bool:
    """Whether this run of the shop has the regression ``name``."""
    return name == ACTIVE
