"""A service whose answers differ from one run to the next in every way that verification knows.

``python wobbly.py PORT DEPENDENCY_PORT FLAG [BUG]``: ``/weather`` is another matter while the file
FLAG is there; BUG names a defect that a test has to find.
"""

from __future__ import annotations

import datetime
import http.client
import http.server
import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue")
STOCK = frozenset(("apple", "pear", "plum", "fig", "quince", "medlar"))
BUG = sys.argv[4] if len(sys.argv) > 4 else ""


def ask(lot: int) -> str:
    there = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]))
    tags = list(STOCK)[:3] if BUG != "tags" else list(STOCK)[:2]
    path = f"/lots/{lot}" if BUG != "path" else f"/lost/{lot}"
    there.request("GET", f"{path}?tag={len(tags)}", headers={"X-Draw": f"draw {lot}"})
    answer = there.getresponse().read().decode()
    there.close()
    return answer


def show_colour() -> Any:
    return random.choice(COLOURS) if BUG != "colour" else "Mauve 7"


def show_stock() -> Any:
    stock = sorted(STOCK, key=lambda _: random.random())
    return stock if BUG != "stock" else [*stock[1:], stock[1]]


def show_lot() -> Any:
    lot = random.randint(100, 999)
    return lot if BUG != "lot" else str(lot)


def show_job() -> Any:
    return f"job {uuid.uuid4()} of {random.randint(1, 99) if BUG != 'job' else 'many'} is ready"


def show_seen() -> Any:
    now = datetime.datetime.now(datetime.UTC)
    return now.strftime("%d.%m.%Y %H:%M:%S") if BUG != "seen" else "01.02.2003 04:05:06"


def show_coin() -> Any:
    return random.random() < 0.5 if BUG != "coin" else None


def show_share() -> Any:
    return round(random.random(), 4) if BUG != "share" else "0.5"


def show_code() -> Any:
    return "".join(random.choices("abcdefghjkmnpqrstuvwxyz23456789", k=8 if BUG != "code" else 6))


def show_asked() -> Any:
    return ask(random.randint(100, 999))


def show_weather() -> Any:
    return "fine" if Path(sys.argv[3]).exists() else None


def show_steady() -> Any:
    return "always the same" if BUG != "steady" else "not quite the same"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        found = globals()[f"show_{name}"]()
        body = json.dumps({name: found}).encode()
        self.send_response(503 if name == "weather" and found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not a word."""


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.serve_forever()
