"""A job runner: an API that queues in Redis, a worker thread, a timer for what is due later."""

import json
import logging
import os
import threading
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import psycopg2
import psycopg2.extras
import redis

POLL_SECONDS = 0.05
QUEUE = "jobs:queue"
log = logging.getLogger("jobs")
store = redis.Redis.from_url(os.environ["REDIS_URL"])
local = threading.local()
psycopg2.extras.register_uuid()


def execute(sql, *arguments, fetch=True):
    if not hasattr(local, "connection"):
        local.connection = psycopg2.connect(os.environ["DATABASE_URL"])
    with local.connection, local.connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if fetch else None


def now():
    return datetime.now(UTC)


TASKS = {
    "sum": lambda payload: sum(payload["numbers"]),
    "reverse": lambda payload: payload["text"][::-1],
    "count": lambda payload: dict(sorted(Counter(payload["text"].split()).items())),
}


def run_job(job_id):
    rows = execute(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1 WHERE id = %s"
        " RETURNING task, payload",
        job_id,
    )
    if not rows:
        return
    task, payload = rows[0]
    try:
        state, result = "done", TASKS[task](payload)
    except (KeyError, TypeError) as error:
        state, result = "failed", repr(error)
    execute(
        "UPDATE jobs SET state = %s, result = %s, done = %s WHERE id = %s",
        state, json.dumps(result), now(), job_id, fetch=False,
    )  # fmt: skip
    call_webhook(job_id, state)
    store.incr(f"jobs:{state}")


def call_webhook(job_id, state):
    body = json.dumps({"job": str(job_id), "state": state, "delivery": uuid.uuid4().hex})
    asked = Request(
        f"{os.environ['SUPPLIER_URL']}/hooks", body.encode(), {"Content-Type": "application/json"}
    )
    with urlopen(asked, timeout=10) as response:
        log.info("receipt %s", json.load(response)["receipt"])


def work():
    while True:
        found = store.brpop(QUEUE, timeout=5)
        if found is not None:
            run_job(uuid.UUID(found[1].decode()))


def look_for_due():
    while True:
        time.sleep(POLL_SECONDS)
        due = execute(
            "UPDATE jobs SET state = 'queued' WHERE id IN (SELECT id FROM jobs"
            " WHERE state = 'delayed' AND due <= now() ORDER BY due LIMIT 5"
            " FOR UPDATE SKIP LOCKED) RETURNING id"
        )
        for (job_id,) in due:
            store.lpush(QUEUE, str(job_id))


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            self.reply(200, {"ok": True})
        elif self.path == "/stats":
            names = [b"done", b"failed"]
            counts = store.mget([f"jobs:{name.decode()}" for name in names])
            queued = store.llen(QUEUE)
            self.reply(200, {"known": len(counts), "queue_is_short": queued < 100})
        else:
            self.show_job(self.path.removeprefix("/jobs/"))

    def show_job(self, job_id):
        rows = execute("SELECT task, payload, due FROM jobs WHERE id = %s", job_id)
        if not rows:
            self.reply(404, {"error": "no such job"})
            return
        task, payload, due = rows[0]
        self.reply(200, {"id": job_id, "task": task, "payload": payload, "due": due.isoformat()})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked.get("task") not in TASKS:
            self.reply(422, {"error": f"tasks are {', '.join(TASKS)}"})
            return
        job_id, delay = uuid.uuid4(), asked.get("delay", 0)
        due = now() + timedelta(seconds=delay)
        state = "delayed" if delay else "queued"
        execute(
            "INSERT INTO jobs (id, task, payload, state, due) VALUES (%s, %s, %s, %s, %s)",
            job_id, asked["task"], json.dumps(asked["payload"]), state, due,
            fetch=False,
        )  # fmt: skip
        if not delay:
            store.lpush(QUEUE, str(job_id))
        self.reply(202, {"id": str(job_id), "due": due.isoformat()})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    threading.Thread(target=work, daemon=True).start()
    threading.Thread(target=look_for_due, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Api).serve_forever()
