"""A ticket desk of HTML pages, with sessions kept in Redis."""

import hmac
import json
import logging
import os
import random
import string
import uuid
from contextlib import contextmanager
from datetime import datetime

import bcrypt
from flask import Flask, abort, g, make_response, redirect, render_template, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from psycopg2.errors import UniqueViolation
from psycopg2.extras import NamedTupleCursor
from psycopg2.pool import ThreadedConnectionPool
from redis import StrictRedis
from waitress import serve

SESSION_SECONDS = 3600
REMEMBER_SECONDS = 14 * 24 * 3600

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "dev")
log = logging.getLogger("tickets")
pool = ThreadedConnectionPool(1, 10, os.environ["DATABASE_URL"])
redis = StrictRedis.from_url(os.environ["REDIS_URL"])
signer = URLSafeTimedSerializer(app.secret_key, salt="remember")


@contextmanager
def db():
    connection = pool.getconn()
    try:
        with connection, connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            yield cursor
    finally:
        pool.putconn(connection)


def fetch_all(sql, *arguments):
    with db() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()


def fetch_one(sql, *arguments):
    rows = fetch_all(sql, *arguments)
    return rows[0] if rows else None


class Session(dict):
    def __init__(self, sid, values):
        super().__init__(values)
        self.sid = sid

    @classmethod
    def load(cls, sid):
        stored = redis.get(f"session:{sid}") if sid else None
        if stored is None:
            return cls(os.urandom(24).hex(), {"csrf": os.urandom(16).hex()})
        return cls(sid, json.loads(stored))

    def save(self):
        redis.setex(f"session:{self.sid}", SESSION_SECONDS, json.dumps(self))


@app.before_request
def open_session():
    g.request_id = uuid.uuid4()
    g.session = g.person = None
    if request.path == "/health":
        return
    g.session = Session.load(request.cookies.get("sid"))
    if "person_id" in g.session:
        g.person = fetch_one("SELECT id, name FROM people WHERE id = %s", g.session["person_id"])
    elif "remember" in request.cookies:
        recall(request.cookies["remember"])
    if request.method == "POST":
        given = request.form.get("csrf", "")
        if not hmac.compare_digest(given, g.session["csrf"]):
            abort(403)


def recall(cookie):
    try:
        person_id = signer.loads(cookie, max_age=REMEMBER_SECONDS)["p"]
    except BadSignature:
        return
    g.person = fetch_one("SELECT id, name FROM people WHERE id = %s", person_id)
    if g.person:
        g.session["person_id"] = g.person.id
        flash("Welcome back")


@app.after_request
def close_session(response):
    if g.session is not None:
        g.session["seen"] = datetime.now().timestamp()
        g.session.save()
        response.set_cookie("sid", g.session.sid, httponly=True, samesite="Lax")
    response.headers["X-Request-Id"] = str(g.request_id)
    return response


def flash(text):
    g.session.setdefault("messages", []).append(text)


@app.context_processor
def helpers():
    return {
        "csrf_token": lambda: g.session["csrf"],
        "messages": lambda: g.session.pop("messages", []),
        "person": g.person,
        "now": datetime.now,
    }


def require_person():
    if g.person is None:
        abort(redirect("/login", 303))
    return g.person


@app.get("/health")
def health():
    return "ok"


@app.route("/signup", methods=["GET", "POST"])
def signup():
    if request.method == "GET":
        return render_template("form.html", heading="Sign up", fields=["name", "password"])
    hashed = bcrypt.hashpw(request.form["password"].encode(), bcrypt.gensalt(4))
    try:
        row = fetch_one(
            "INSERT INTO people (name, password, joined) VALUES (%s, %s, %s) RETURNING id",
            request.form["name"], hashed, datetime.now(),
        )  # fmt: skip
    except UniqueViolation:
        flash("That name is taken")
        return redirect("/signup", 303)
    g.session["person_id"] = row.id
    flash(f"Welcome, {request.form['name']}")
    return redirect("/tickets", 303)


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return render_template("form.html", heading="Sign in", fields=["name", "password"])
    row = fetch_one("SELECT id, password FROM people WHERE name = %s", request.form["name"])
    if row is None or not bcrypt.checkpw(request.form["password"].encode(), bytes(row.password)):
        flash("Wrong name or password")
        return redirect("/login", 303)
    g.session["person_id"] = row.id
    response = make_response(redirect("/tickets", 303))
    response.set_cookie("remember", signer.dumps({"p": row.id}), max_age=REMEMBER_SECONDS)
    return response


@app.post("/logout")
def logout():
    redis.delete(f"session:{g.session.sid}")
    g.session = Session.load(None)
    flash("Signed out")
    return redirect("/login", 303)


@app.get("/tickets")
def tickets():
    person = require_person()
    found = fetch_all(
        "SELECT t.reference, t.subject, t.state, t.opened, count(c.id) AS comments"
        " FROM tickets t LEFT JOIN comments c ON c.ticket_id = t.id"
        " WHERE t.author_id = %s GROUP BY t.id ORDER BY t.opened DESC LIMIT 20",
        person.id,
    )
    hits = redis.hincrby("hits", f"person:{person.id}")
    return render_template("list.html", tickets=found, hits=hits)


@app.route("/tickets/new", methods=["GET", "POST"])
def new_ticket():
    person = require_person()
    if request.method == "GET":
        return render_template("form.html", heading="New ticket", fields=["subject"])
    subject = request.form["subject"].strip()
    if not subject:
        abort(400)
    reference = "T-" + "".join(random.choices(string.ascii_uppercase + string.digits, k=10))
    fetch_one(
        "INSERT INTO tickets (reference, author_id, subject, opened) VALUES (%s, %s, %s, %s)"
        " RETURNING id",
        reference, person.id, subject, datetime.now(),
    )  # fmt: skip
    log.info("%s opened %s", person.name, reference)
    return redirect(f"/tickets/{reference}", 303)


def find_ticket(reference):
    ticket = fetch_one(
        "SELECT t.*, p.name FROM tickets t JOIN people p ON p.id = t.author_id"
        " WHERE reference = %s",
        reference,
    )
    return ticket or abort(404)


@app.get("/tickets/<reference>")
def show_ticket(reference):
    require_person()
    ticket = find_ticket(reference)
    comments = fetch_all(
        "SELECT c.id, c.text, c.written, p.name FROM comments c"
        " JOIN people p ON p.id = c.author_id WHERE ticket_id = %s ORDER BY c.id",
        ticket.id,
    )
    return render_template("ticket.html", ticket=ticket, comments=comments)


@app.post("/tickets/<reference>/comments")
def comment(reference):
    person, ticket = require_person(), find_ticket(reference)
    now = datetime.now()
    with db() as cursor:
        cursor.execute(
            "INSERT INTO comments (ticket_id, author_id, text, written) VALUES (%s, %s, %s, %s)",
            (ticket.id, person.id, request.form["text"], now),
        )
        cursor.execute(
            "UPDATE tickets SET state = 'waiting', changed = %s WHERE id = %s", (now, ticket.id)
        )
    redis.publish("tickets", json.dumps({"reference": reference, "by": person.name}))
    flash("Comment added")
    return redirect(f"/tickets/{reference}", 303)


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(os.environ["PORT"]), threads=8)
