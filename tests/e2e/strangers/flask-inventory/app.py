"""An inventory, the old way: a connection for each request, a query for each row."""

import io
import os
import select
from decimal import Decimal

import psycopg2
import psycopg2.extras
from flask import Flask, Response, abort, g, jsonify, request

app = Flask(__name__)
app.json.sort_keys = False


def db():
    if "connection" not in g:
        g.connection = psycopg2.connect(
            os.environ["DATABASE_URL"],
            options="-c timezone=Asia/Kolkata -c statement_timeout=10000",
            application_name="inventory",
        )
    return g.connection


@app.teardown_appcontext
def disconnect(_error):
    connection = g.pop("connection", None)
    if connection is not None:
        connection.close()


def query(sql, *arguments):
    with db().cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else None


def as_json(item):
    return {
        "id": item["id"],
        "name": item["name"],
        "kind": item["kind"],
        "price": str(item["price"]),
        "on_hand": item["on_hand"],
        "attributes": item["attributes"],
        "counted_at": item["counted_at"].isoformat(),
    }


@app.get("/health")
def health():
    return "fine\n"


@app.get("/warehouses")
def list_warehouses():
    found = []
    for warehouse in query("SELECT * FROM warehouses ORDER BY code"):
        count = query("SELECT count(*) AS n FROM items WHERE warehouse_id = %s", warehouse["id"])
        found.append({"code": warehouse["code"], "labels": warehouse["labels"], **count[0]})
    db().rollback()
    return jsonify(found)


@app.get("/warehouses/<code>/items")
def list_items(code):
    ids = query(
        "SELECT i.id FROM items i JOIN warehouses w ON w.id = i.warehouse_id"
        " WHERE w.code = %s ORDER BY i.id",
        code,
    )
    items, value = [], Decimal()
    for row in ids:
        (item,) = query("SELECT * FROM items WHERE id = %s", row["id"])
        (sums,) = query(
            "SELECT coalesce(sum(change), 0) AS moved, max(at) AS last FROM movements"
            " WHERE item_id = %s",
            row["id"],
        )
        value += item["price"] * item["on_hand"]
        last = sums["last"] and sums["last"].isoformat()
        items.append({**as_json(item), "moved": int(sums["moved"]), "last_moved": last})
    db().commit()
    return jsonify(items=items, value=str(value.quantize(Decimal("0.01"))))


@app.get("/items/<int:number>/photo")
def photo(number):
    rows = query("SELECT photo FROM items WHERE id = %s", number)
    if not rows or rows[0]["photo"] is None:
        abort(404)
    return Response(bytes(rows[0]["photo"]), mimetype="application/octet-stream")


@app.post("/items/<int:number>/movements")
def move(number):
    changes = request.get_json()["changes"]
    connection, results = db(), []
    query("SELECT pg_advisory_xact_lock(%s, %s)", 77, number)
    for change in changes:
        query("SAVEPOINT one")
        try:
            (made,) = query(
                "INSERT INTO movements (item_id, change, reason) VALUES (%s, %s, %s)"
                " RETURNING id, batch, at",
                number, change["by"], change.get("reason"),
            )  # fmt: skip
        except psycopg2.errors.CheckViolation as error:
            query("ROLLBACK TO SAVEPOINT one")
            results.append({"error": error.diag.constraint_name})
        except psycopg2.errors.ForeignKeyViolation:
            connection.rollback()
            abort(404)
        else:
            query("RELEASE SAVEPOINT one")
            results.append({"id": made["id"], "batch": made["batch"], "at": made["at"].isoformat()})
    total = sum(change["by"] for change in changes)
    (item,) = query(
        "UPDATE items SET on_hand = on_hand + %s, counted_at = now() WHERE id = %s RETURNING *",
        total, number,
    )  # fmt: skip
    query("SELECT pg_notify('stock', %s)", f"{number}:{item['on_hand']}")
    connection.commit()
    return jsonify(results=results, item=as_json(item)), 201


@app.patch("/items/<int:number>")
def change_item(number):
    asked = request.get_json()
    rows = query(
        "UPDATE items SET attributes = attributes || %s, price = %s WHERE id = %s RETURNING *",
        psycopg2.extras.Json(asked["attributes"]), Decimal(asked["price"]), number,
    )  # fmt: skip
    db().commit()
    return as_json(rows[0]) if rows else ("", 404)


@app.get("/warehouses/<code>/export.csv")
def export(code):
    buffer = io.StringIO()
    with db().cursor() as cursor:
        sql = cursor.mogrify(
            "COPY (SELECT i.name, i.kind, i.price, i.attributes->>'weight' FROM items i"
            " JOIN warehouses w ON w.id = i.warehouse_id WHERE w.code = %s ORDER BY i.id)"
            " TO STDOUT WITH CSV HEADER",
            (code,),
        )
        cursor.copy_expert(sql.decode(), buffer)
    return Response(buffer.getvalue(), mimetype="text/csv")


@app.get("/warehouses/<code>/ledger")
def ledger(code):
    def rows():
        with db().cursor(name="ledger") as cursor:
            cursor.itersize = 4
            cursor.execute(
                "SELECT m.id, m.item_id, m.change, m.at FROM movements m JOIN items i"
                " ON i.id = m.item_id JOIN warehouses w ON w.id = i.warehouse_id"
                " WHERE w.code = %s ORDER BY m.id",
                (code,),
            )
            while batch := cursor.fetchmany(4):
                yield from batch

    lines = [
        f"{number} {item} {change:+d} {at:%d/%b/%Y:%H:%M:%S %z}"
        for number, item, change, at in rows()
    ]
    return Response("".join(f"{line}\n" for line in lines), mimetype="text/plain")


@app.get("/stock-changes")
def stock_changes():
    connection = db()
    connection.autocommit = True
    query("LISTEN stock")
    query("SELECT pg_notify('stock', %s)", f"watch {request.args['by']}")
    while not any(one.payload == f"watch {request.args['by']}" for one in connection.notifies):
        if select.select([connection], [], [], 5) == ([], [], []):
            abort(504)
        connection.poll()
    return jsonify(watching=request.args["by"])
