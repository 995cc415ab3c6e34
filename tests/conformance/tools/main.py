"""``main.py ROW FORM``: runs a command-line client, prints what it printed, a JSON object a line.

A row is a function below; ``_`` stands for ``-`` in its name.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SECONDS = 40


def find(name: str) -> str:
    """A client of PostgreSQL: Debian keeps some of them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or name


def tell(what: str, words: Sequence[str], text: str | bytes = b"", drop: str = "") -> str:
    """Runs a command with ``text`` as its input; prints its output without what fits ``drop``."""
    given = text.encode() if isinstance(text, str) else text
    done = subprocess.run(words, input=given, capture_output=True, timeout=SECONDS, check=False)
    out, err = (one.decode(errors="backslashreplace") for one in (done.stdout, done.stderr))
    if drop:
        out, err = re.sub(drop, "", out), re.sub(drop, "", err)
    print(json.dumps({"what": what, "status": done.returncode, "out": out, "err": err}))
    return out + err


def tell_changed(error: str, pattern: str, code: object, usable: bool) -> None:
    """The last line of the form ``changed``: the client's own words for an error."""
    found = re.search(pattern, error)
    line = {"changed": found[0] if found else error, "code": code, "usable": usable}
    print(json.dumps(line))


def run_quietly(words: Sequence[str], text: str = "") -> str:
    done = subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.stdout + done.stderr


# --- psql ---------------------------------------------------------------------------------------

PSQL_TABLES = r"""
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', price numeric(8,2), tags text[], at timestamptz);
CREATE INDEX items_name ON items (name);
CREATE VIEW dear AS SELECT * FROM items WHERE price > 10;
COMMENT ON TABLE items IS 'things';
INSERT INTO items VALUES (1, 'ünï ☃', 1.50, '{a,"b c"}', '2024-01-02 03:04:05+00'), (2, 'two', NULL, NULL, NULL);
"""
PSQL_PARTS = {
    "describe": "\\d items\n\\d dear\n\\dt\n\\di\n\\d+ items\n\\l\n\\du\n\\dT+ mood\n\\df nothing\n\\dn\n",
    "select": "SELECT * FROM items ORDER BY id;\n\\x on\nSELECT * FROM items ORDER BY id;\n\\x off\nSELECT NULL AS n, '' AS e, true AS b, 1.50 AS d;\n\\pset null (null)\nTABLE items;\n",
    "several": "SELECT 1\\; SELECT 2 AS two\\; UPDATE items SET name = 'three' WHERE id = 3;\nSELECT 3;;\n",
    "copy": '\\copy items (id, name) FROM STDIN WITH (FORMAT csv)\n10,ten\n11,"a, b"\n\\.\n\\copy (SELECT id, name FROM items ORDER BY id) TO STDOUT\nCOPY items TO STDOUT (FORMAT csv, HEADER);\nCOPY items (id, price) FROM STDIN;\n20\t2.5\n\\.\n',
    "variables": "\\set least 1\n\\set word '\\'quoted\\''\nSELECT :least + 1 AS sum, :word AS word, :'least' AS text, :\"least\" FROM (SELECT 5 AS \"1\") AS t;\nSELECT 7 AS seven, 'e' AS eight \\gset got_\n\\echo :got_seven :got_eight :ROW_COUNT :SERVER_VERSION_NUM\nSELECT format('SELECT %s', n) FROM generate_series(1, 2) AS n \\gexec\n",
    "errors": "SELECT * FROM nowhere;\n\\echo :SQLSTATE :LAST_ERROR_MESSAGE\nSELEC;\nSELECT 1/0;\n\\errverbose\nINSERT INTO items VALUES (1);\nSELECT 'after';\n",
    "transactions": "BEGIN;\nSAVEPOINT s;\nSELECT 1/0;\nSELECT 1;\nROLLBACK TO s;\nINSERT INTO items (id) VALUES (30);\nCOMMIT;\nSELECT count(*) FROM items;\n\\set AUTOCOMMIT off\nDELETE FROM items WHERE id = 30;\nROLLBACK;\nSELECT count(*) FROM items;\n",
    "notices": "DO $$ BEGIN RAISE NOTICE 'noted %', 1; RAISE WARNING 'careful'; END $$;\nLISTEN news;\nNOTIFY news, 'told';\nSELECT 1;\n",
    "others": "SHOW server_encoding;\nSET application_name = 'mine';\nSHOW application_name;\n\\conninfo\n\\encoding\n\\timing off\nPREPARE p AS SELECT $1::int + 1;\nEXECUTE p(4);\n\\crosstabview\nSELECT 'large', length(repeat('x', 1500000)), repeat('y', 1200000) \\g /dev/null\n",
}
PSQL_DROP = r"Asynchronous notification .*PID \d+\.\n|You are connected .*\n|at address .*\n"


def psql(form: str) -> None:
    """``files`` reads the parts from files."""
    words = [find("psql"), "-X"]
    tell("tables", words, PSQL_TABLES)
    for name, text in PSQL_PARTS.items():
        if form == "files":
            with tempfile.NamedTemporaryFile("w") as source:
                source.write(text)
                source.flush()
                tell(
                    name,
                    [*words, "-f", source.name],
                    drop=rf"{PSQL_DROP}|psql:{source.name}:\d+: (error: )?",
                )
        else:
            tell(name, words, text, PSQL_DROP)
    tell("one command", [*words, "-At", "-c", "SELECT 1, 'two'", "-c", "SELECT 3"])
    tell("stops", [*words, "-v", "ON_ERROR_STOP=1", "-1", "-c", "SELECT 4", "-c", "SELECT 1/0"])
    tell("html", [*words, "-H", "-c", "SELECT id, name FROM items ORDER BY id LIMIT 2"])
    tell("csv", [*words, "--csv", "-c", "SELECT id, name FROM items ORDER BY id LIMIT 2"])
    if form == "changed":
        said = run_quietly(words, "SELECT * FROM items WHERE id = 77;\nSELECT 1 AS one;\n")
        tell_changed(said, r"ERROR(?=: )", "KB001", "one" in said)


# --- pgbench ------------------------------------------------------------------------------------

PGBENCH_SCRIPT = """
BEGIN;
UPDATE bench SET balance = balance + {delta} WHERE id = 1;
SELECT balance >= 0 FROM bench WHERE id = 2;
END;
"""
PGBENCH_DROP = r"(latency|initial connection|tps|pgbench \(|statement latencies|\s+\d+\.\d+ ).*\n"


def pgbench(form: str) -> None:
    """All protocols: simple, extended, prepared, with as many clients as the form says."""
    tell(
        "table",
        [find("psql"), "-X"],
        "CREATE TABLE bench (id int PRIMARY KEY, balance int);\nINSERT INTO bench VALUES (1, 0), (2, 5);\n",
    )
    path = Path(f"/tmp/kebpf-bench-{os.getpid()}.sql")
    for mode in ("simple", "extended", "prepared"):
        clients = {"one": 1, "many": 8}.get(form, 4)
        asked = {"warm": {"simple": "prepared", "prepared": "simple"}.get(mode, mode)}.get(
            form, mode
        )
        path.write_text(PGBENCH_SCRIPT.format(delta=1))
        words = [
            find("pgbench"),
            "-n",
            "-M",
            asked,
            "-c",
            str(clients),
            "-j",
            "2",
            "-t",
            str(80 // clients),
            "-f",
            str(path),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        [made] = re.findall(r"number of transactions actually processed: (\d+)", done.stdout)
        failed = re.findall(r"number of failed transactions: (\d+)", done.stdout)
        print(
            json.dumps(
                {
                    "what": mode,
                    "status": done.returncode,
                    "made": made,
                    "failed": failed,
                    "err": done.stderr,
                }
            )
        )
    if form == "changed":
        path.write_text("SELECT balance >= 0 FROM bench WHERE id = 3;\n")
        said = run_quietly([find("pgbench"), "-n", "-t", "1", "-f", str(path)])
        usable = "(1 row)" in run_quietly([find("psql"), "-X"], "SELECT 1;\n")
        tell_changed(said, r"ERROR(?=: )", "KB001", usable)
    path.unlink()


# --- Redis --------------------------------------------------------------------------------------

REDIS_COMMANDS = """PING
SET name "Zo\\xc3\\xab"
GET name
GET missing
INCR counter
INCRBYFLOAT f 1.5
HSET hash a 1 b two
HGETALL hash
RPUSH list a b c
LRANGE list 0 -1
SADD set one
SMEMBERS set
ZADD z 1 a 2.5 b
ZRANGE z 0 -1 WITHSCORES
ZSCORE z b
XADD stream 1-1 field value
XRANGE stream - +
MULTI
INCR counter
GET counter
EXEC
LPUSH name x
NOSUCH
EVAL "return {1,'two',redis.call('GET',KEYS[1])}" 1 counter
TYPE list
EXISTS name missing
SELECT 2
SET other 1
GET other
SELECT 0
DEL name
"""


def redis_cli(form: str) -> None:
    """``resp3`` speaks the newer protocol; ``apart`` makes a connection a command."""
    words = ["redis-cli", "-h", os.environ["REDIS_HOST"], "-p", os.environ["REDIS_PORT"]]
    three = ["-3"] if form == "resp3" else []
    if form == "apart":
        for name, value in (("plain", "1"), ("ü", "2")):
            tell("set", [*words, "SET", name, value])
            tell("get", [*words, "GET", name])
    else:
        for name, value in (("plain", "1"), ("ü", "2")):
            out = run_quietly([*words, *three], f"SET {name} {value}\nGET {name}\n").splitlines()
            for what, line in zip(("set", "get"), out, strict=True):
                print(json.dumps({"what": what, "status": 0, "out": line + "\n", "err": ""}))
    for options in ([], ["--no-raw"], ["--raw"], ["--csv"], ["--json"]):
        tell("commands", [*words, *three, *options], REDIS_COMMANDS)
    payload = b"".join(
        b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\n1\r\n" % (len(key), key)
        for key in (b"k%d" % n for n in range(500))
    )
    tell("pipe", [*words, "--pipe"], payload)
    tell("stdin", [*words, "-x", "SET", "big"], b"\0\xff" * 600_000)
    tell("length", [*words, "STRLEN", "big"])
    tell("eval", [*words, "--eval", "script.lua", "key1", ",", "arg1"])
    for pattern in ("k49?", "none*"):
        found = run_quietly([*words, "--scan", "--pattern", pattern]).splitlines()
        print(json.dumps({"what": "scan", "found": sorted(found)}))
    tell("repeat", [*words, "-r", "3", "INCR", "repeated"])
    tell("database", [*words, "-n", "3", "SET", "there", "1"])
    tell("error", [*words, "-e", "LPUSH", "plain", "1"])
    if form == "changed":
        said = run_quietly(words, "GET others\nPING\n")
        tell_changed(said, r"\bERR\b|KEBPF", "KEBPF", "PONG" in said)


def redis_benchmark(form: str) -> None:
    """The requests of some tests, by as many connections as the form says, pipelined or not."""
    connections = {"one": "1", "many": "20"}.get(form, "5")
    pipelined = ["-P", "10"] if form == "pipelined" else []
    place = ["-h", os.environ["REDIS_HOST"], "-p", os.environ["REDIS_PORT"]]
    words = ["redis-benchmark", *place, "-c", connections, "-n", "400", *pipelined, "-t"]
    for test in (
        "ping_mbulk,set,get,incr",
        "lpush,lpop,sadd,hset,spop",
        "zadd,zpopmin,lrange_100,mset",
    ):
        out = run_quietly([*words, test])
        print(
            json.dumps(
                {
                    "what": test,
                    "completed": re.findall(r"====== (.*) ======|(\d+) requests completed", out),
                }
            )
        )
    if form == "changed":
        said = run_quietly([*words, "set", "-d", "9", "-n", "1", "-c", "1"])
        usable = "PONG" in run_quietly(["redis-cli", *place, "PING"])
        tell_changed(said, r"Error(?= from server)", "KEBPF", usable)


# --- HTTP ---------------------------------------------------------------------------------------

CURL_CALLS = {
    "get": ["/json"],
    "headers": ["-i", "/text?q=%C3%BC"],
    "head": ["-I", "/big"],
    "post": ["-d", "a=1&b=%C3%BC", "/echo"],
    "json": ["-H", "Content-Type: application/json", "-d", '{"a": [1, null]}', "/echo"],
    "put": ["-T", "seed.bin", "/echo"],
    "expect": ["-H", "Expect: 100-continue", "--data-binary", "@seed.bin", "/echo"],
    "chunked up": ["-H", "Transfer-Encoding: chunked", "-d", "chunked body", "/echo"],
    "chunked": ["-i", "/chunked"],
    "gzip": ["--compressed", "/gzip"],
    "range": ["-r", "100-149", "-i", "/big"],
    "last": ["-r", "-20", "/big"],
    "redirects": ["-L", "-i", "/redirect/3"],
    "no redirect": ["-i", "/redirect/1"],
    "empty": ["-i", "/empty"],
    "missing": ["-i", "-f", "/status/404"],
    "error": ["-i", "/status/500"],
    "auth": ["-u", "user:pass", "-H", "X-Custom: x", "/echo"],
    "delete": ["-X", "DELETE", "/echo/1"],
    "cookies": ["-b", "a=1", "-i", "/cookies"],
    "close": ["-i", "/close"],
    "not modified": ["-i", "-H", 'If-None-Match: "big-1"', "/big"],
    "big": ["/big"],
}


def run_curl(words: Sequence[str]) -> None:
    subprocess.run(["curl", *words], stderr=subprocess.DEVNULL, timeout=SECONDS, check=False)


def curl(form: str) -> None:
    """``kept`` makes all requests on one connection."""
    base = "http://{HTTP_HOST}:{HTTP_PORT}".format(**os.environ)
    quiet = ["-sS", "--max-time", "20", "-A", "curl"]
    outs = {
        name: Path(f"/tmp/kebpf-{os.getpid()}-{number}") for number, name in enumerate(CURL_CALLS)
    }
    calls = [
        [*quiet, *options, "-o", str(outs[name]), base + path]
        for name, (*options, path) in CURL_CALLS.items()
    ]
    if form == "kept":
        words = [word for call in calls for word in ("--next", *call)]
        run_curl(words[1:])
    else:
        for call in calls:
            run_curl(call)
    for name, out in outs.items():
        data = out.read_bytes() if out.exists() else b""
        text = data.decode(errors="backslashreplace") if len(data) < 3000 else f"{len(data)} bytes"
        print(json.dumps({"what": name, "out": text, "sum": sum(data)}))
        out.unlink(missing_ok=True)
    quiet = ["curl", *quiet]
    boundary = [
        "-H",
        "Content-Type: multipart/form-data; boundary=frontier",
        "--data-binary",
        "@form.bin",
    ]
    tell("multipart", [*quiet, *boundary, base + "/echo"])
    if form == "changed":
        said = run_quietly(
            [*quiet, "-i", "-d", "a=2", base + "/echo", "--next", *quiet[1:], base + "/json"]
        )
        tell_changed(said, r"502 Bad Gateway", 502, "Zo" in said)


if __name__ == "__main__":
    row, form = sys.argv[1:3]
    globals()[row.replace("-", "_")](form)
