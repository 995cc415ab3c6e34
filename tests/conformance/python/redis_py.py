"""redis-py: all kinds of values, pipelines, transactions, pub/sub, scripts, streams, scans.

Forms: ``resp3`` speaks the newer protocol; ``pure`` parses without hiredis; ``pooled`` takes a
fresh connection for every part; ``single`` sends what is pipelined in ``plain`` one by one;
``decoded`` is not a form, since text is what it prints: both are in ``plain``.
"""

import os
import threading

import redis
from redis._parsers import _RESP2Parser
from seen import show, show_changed

HOST, PORT = os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"])
SCRIPT = "return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1])}"
BIG = b"\0\xff\r\n$-1\r\n" * 150_000


def connect(form: str, **options: object) -> redis.Redis:
    if form == "resp3":
        options["protocol"] = 3
    else:
        options["protocol"] = 2
    if form == "pure":
        pool = redis.ConnectionPool(host=HOST, port=PORT, parser_class=_RESP2Parser, **options)
        return redis.Redis(connection_pool=pool)
    return redis.Redis(host=HOST, port=PORT, **options)


def run(form: str) -> None:
    client = connect(form)
    parts = [strings, hashes, lists, sets, sorted_sets, streams, scans, expiry, others]
    parts += [transactions, blocking, scripts, errors, large]
    for part in parts:
        part(client)
        if form == "pooled":
            client.close()
            client = connect(form)
    pipelines(client, form)
    pub_sub(client, form)
    # pub_sub(client, form)
    decoded(connect(form, decode_responses=True))
    several(form)
    if form == "changed":
        changed(client)
    client.close()


def strings(client: redis.Redis) -> None:
    show("set", client.set("name", "Zoë ☃"), client.get("name"), client.get("nothing"))
    show("bytes", client.set(b"\0key\xff", bytes(range(256))), client.get(b"\0key\xff"))
    show(
        "options",
        client.set("name", "x", nx=True),
        client.set("new", "y", nx=True, get=False),
        client.set("name", "z", get=True),
    )
    show(
        "numbers",
        client.incr("n"),
        client.incrby("n", 41),
        client.decr("n"),
        client.incrbyfloat("f", 1.25),
    )
    show(
        "many", client.mset({"a": 1, "b": 2.5, "c": "three"}), client.mget("a", "b", "missing", "c")
    )
    show(
        "parts",
        client.append("a", "bc"),
        client.getrange("a", 1, 2),
        client.setrange("a", 1, "X"),
        client.strlen("a"),
    )
    show(
        "gone",
        client.getdel("b"),
        client.getex("c", persist=True),
        client.delete("a", "b", "c"),
        client.exists("a", "name"),
    )
    show(
        "bits",
        client.setbit("bits", 7, 1),
        client.getbit("bits", 7),
        client.bitcount("bits"),
        client.bitpos("bits", 1),
    )


def hashes(client: redis.Redis) -> None:
    show(
        "hset",
        client.hset("hash", mapping={"a": 1, "b": "ü", "c": b"\0"}),
        client.hset("hash", "a", 2),
    )
    show(
        "hget", client.hget("hash", "a"), client.hget("hash", "no"), client.hmget("hash", "a", "no")
    )
    show("hgetall", client.hgetall("hash"), client.hgetall("none"), client.hlen("hash"))
    show(
        "hkeys",
        client.hkeys("hash"),
        client.hvals("hash"),
        client.hexists("hash", "b"),
        client.hdel("hash", "c"),
    )
    show(
        "hincrby",
        client.hincrby("hash", "n", 5),
        client.hincrbyfloat("hash", "f", 0.5),
        client.hstrlen("hash", "b"),
    )


def lists(client: redis.Redis) -> None:
    show("push", client.rpush("list", 1, 2, 3), client.lpush("list", "zero"), client.llen("list"))
    show("range", client.lrange("list", 0, -1), client.lindex("list", 1), client.lindex("list", 99))
    show(
        "change",
        client.lset("list", 0, "0"),
        client.linsert("list", "before", "2", "1.5"),
        client.lrem("list", 1, "3"),
    )
    show(
        "pop",
        client.lpop("list"),
        client.rpop("list", 2),
        client.lpop("none"),
        client.lmove("list", "other", "LEFT", "RIGHT"),
    )
    show(
        "pos",
        client.rpush("list", "x", "y", "x"),
        client.lpos("list", "x", rank=2),
        client.lpos("list", "x", count=0),
        client.ltrim("list", 0, 0),
    )


def sets(client: redis.Redis) -> None:
    show(
        "sadd",
        client.sadd("s1", "a", "b", "c"),
        client.sadd("s2", "b", "c", "d"),
        client.scard("s1"),
    )
    show(
        "smembers",
        client.smembers("s1"),
        client.sinter("s1", "s2"),
        client.sunion("s1", "s2"),
        client.sdiff("s1", "s2"),
    )
    show(
        "sismember",
        client.sismember("s1", "a"),
        client.smismember("s1", ["a", "z"]),
        client.srem("s1", "a"),
        client.smove("s2", "s1", "d"),
    )


def sorted_sets(client: redis.Redis) -> None:
    show(
        "zadd",
        client.zadd("z", {"one": 1, "half": 0.5, "big": 1e20, "low": float("-inf")}),
        client.zadd("z", {"one": 1.5}, ch=True),
    )
    show(
        "zrange",
        client.zrange("z", 0, -1),
        client.zrange("z", 0, -1, withscores=True),
        client.zrevrange("z", 0, 0, withscores=True),
    )
    show(
        "zscore",
        client.zscore("z", "half"),
        client.zscore("z", "no"),
        client.zmscore("z", ["one", "no"]),
        client.zrank("z", "one"),
    )
    show(
        "zincrby",
        client.zincrby("z", 2, "one"),
        client.zcount("z", "-inf", "+inf"),
        client.zrangebyscore("z", 0, 10, withscores=True),
    )
    show(
        "zpop",
        client.zpopmin("z"),
        client.zpopmax("z", 2),
        client.zrem("z", "one"),
        client.zcard("z"),
    )


def streams(client: redis.Redis) -> None:
    show(
        "xadd",
        [client.xadd("events", {"n": n, "text": "ü"}, id=f"{n}-1") for n in (1, 2, 3)],
        client.xlen("events"),
    )
    show(
        "xrange",
        client.xrange("events"),
        client.xrevrange("events", count=1),
        client.xrange("none"),
    )
    show(
        "xread",
        client.xread({"events": "1-1"}, count=1),
        client.xread({"events": "9-9"}),
        client.xread({"events": "0", "none": "0"}),
    )
    show(
        "group",
        client.xgroup_create("events", "workers", id="0"),
        client.xreadgroup("workers", "ann", {"events": ">"}, count=2),
    )
    show(
        "ack",
        client.xack("events", "workers", "1-1"),
        client.xpending("events", "workers"),
        client.xtrim("events", maxlen=1),
    )
    show(
        "info",
        client.xinfo_stream("events")["length"],
        [one["name"] for one in client.xinfo_groups("events")],
    )


def scans(client: redis.Redis) -> None:
    client.mset({f"scan:{number}": number for number in range(30)})
    show("scan", sorted(client.scan_iter("scan:*", count=10)), sorted(client.keys("scan:1*")))
    client.hset("scanned", mapping={f"field{n}": n for n in range(5)})
    show(
        "hscan",
        sorted(client.hscan_iter("scanned")),
        sorted(client.sscan_iter("s1")),
        sorted(client.zscan_iter("z")),
    )


def expiry(client: redis.Redis) -> None:
    show(
        "expire",
        client.set("soon", 1, ex=1000),
        client.ttl("soon") > 900,
        client.expire("soon", 2000, nx=True),
        client.persist("soon"),
        client.ttl("soon"),
    )
    show(
        "none",
        client.ttl("missing"),
        client.pttl("missing"),
        client.expireat("soon", 4102444800),
        client.expiretime("soon"),
    )


def others(client: redis.Redis) -> None:
    show(
        "ping",
        client.ping(),
        client.echo("hé"),
        client.type("list"),
        client.type("missing"),
        client.dbsize(),
    )
    show(
        "geo",
        client.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")),
        client.geodist("geo", "Palermo", "Catania", "km"),
    )
    show(
        "geopos",
        client.geopos("geo", "Palermo", "none"),
        client.geosearch("geo", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"),
    )
    show(
        "hll",
        client.pfadd("hll", "a", "b"),
        client.pfcount("hll"),
        client.object("encoding", "n"),
        client.rename("n", "m"),
        client.copy("m", "m2"),
    )
    show(
        "config",
        sorted(client.config_get("maxmemory*").items()),
        client.command_count() > 100,
        client.client_setname("me"),
        client.client_getname(),
    )
    show(
        "time",
        len(client.time()),
        client.info("server")["redis_mode"],
        client.lastsave() is not None,
        client.debug_object("m")["encoding"] if False else None,
    )
    show(
        "memory",
        client.memory_usage("m") > 0,
        client.randomkey() is not None,
        client.touch("m", "none"),
        client.unlink("m2"),
    )


def transactions(client: redis.Redis) -> None:
    with client.pipeline() as pipe:
        pipe.watch("watched")
        before = pipe.get("watched")
        pipe.multi()
        pipe.set("watched", "1").incr("watched").hset("t", "a", 1).hgetall("t").zadd(
            "tz", {"a": 1.5}
        ).zrange("tz", 0, -1, withscores=True)
        show("exec", before, pipe.execute())
    with client.pipeline() as pipe:
        pipe.watch("watched")
        client.set("watched", "changed meanwhile")
        pipe.multi()
        pipe.set("watched", "lost")
        try:
            pipe.execute()
        except redis.WatchError as error:
            show("watch", type(error).__name__, str(error))
    with client.pipeline() as pipe:
        pipe.set("fine", 1).lpush("fine", 2).get("fine")
        show(
            "errors", [type(one).__name__ + str(one) for one in pipe.execute(raise_on_error=False)]
        )
    show(
        "transaction",
        client.transaction(lambda pipe: (pipe.multi(), pipe.incr("counted")), "counted"),
    )
    with client.pipeline() as pipe:
        pipe.set("discarded", 1)
        pipe.reset()
    show("discarded", client.get("discarded"))


def blocking(client: redis.Redis) -> None:
    client.rpush("queue", "first", "second")
    show(
        "blpop",
        client.blpop("queue", timeout=5),
        client.brpop(["none", "queue"], timeout=5),
        client.blpop("queue", timeout=0.05),
    )
    other = redis.Redis(connection_pool=client.connection_pool)
    timer = threading.Timer(0.05, lambda: other.rpush("late", "came"))
    timer.start()
    show("waited", client.blpop("late", timeout=10))
    timer.join()
    show(
        "bz",
        client.zadd("bz", {"a": 1}),
        client.bzpopmin("bz", timeout=1),
        client.blmove("none", "other", 0.05),
    )


def scripts(client: redis.Redis) -> None:
    show(
        "eval",
        client.eval(SCRIPT, 1, "count", 5),
        client.eval("return {1, 'two', false, {3.9}}", 0),
        client.eval("return redis.status_reply('GOOD')", 0),
    )
    script = client.register_script(SCRIPT)
    show(
        "evalsha",
        script(keys=["count"], args=[2]),
        script(keys=["count"], args=[3]),
        client.script_exists(script.sha, "0" * 40),
    )
    digest = client.script_load("return ARGV[1]")
    show("load", digest, client.evalsha(digest, 0, "argument"))
    for text in ("return redis.error_reply('OWN my error')", "return redis.call('NOPE')"):
        try:
            client.eval(text, 0)
        except redis.ResponseError as error:
            show("script error", type(error).__name__, str(error))


def errors(client: redis.Redis) -> None:
    client.set("text", "x")
    for words in (
        ["LPUSH", "text", 1],
        ["INCR", "text"],
        ["NOSUCH", "a"],
        ["GET"],
        ["SET", "a", "b", "EX", "x"],
        ["EVALSHA", "f" * 40, 0],
        ["XADD", "text", "*", "a", "b"],
        ["SELECT", "99"],
    ):
        try:
            show("answer", client.execute_command(*words))
        except redis.RedisError as error:
            show("error", type(error).__name__, str(error))
        show("after", client.get("text"))


def large(client: redis.Redis) -> None:
    show("large", client.set("big", BIG), client.get("big") == BIG, client.strlen("big"))
    client.rpush("long", *range(5_000))
    show("long", len(client.lrange("long", 0, -1)), client.lrange("long", -2, -1))


def pipelines(client: redis.Redis, form: str) -> None:
    commands = [("SET", f"p:{n}", n) for n in range(20)] + [("GET", f"p:{n}") for n in range(20)]
    if form == "single":
        show("pipeline", [client.execute_command(*one) for one in commands])
    else:
        with client.pipeline(transaction=False) as pipe:
            for one in commands:
                pipe.execute_command(*one)
            show("pipeline", pipe.execute())
    with client.pipeline(transaction=False) as pipe:
        pipe.get("p:1").lpush("p:1", "x").get("p:2")
        show(
            "with error",
            [
                tell if isinstance(tell, bytes) else str(tell)
                for tell in pipe.execute(raise_on_error=False)
            ],
        )


def pub_sub(client: redis.Redis, form: str) -> None:
    with client.pubsub() as watcher:
        watcher.subscribe("news", "sport")
        watcher.psubscribe("n*")
        for _ in range(3):
            show("subscribed", sort(watcher.get_message(timeout=5)))
        watcher.ping()
        show("pong", sort(watcher.get_message(timeout=5)))
        show(
            "published",
            client.publish("news", "hello ☃"),
            client.publish("nobody", "x"),
            client.publish("other", "x"),
        )
        for _ in range(3):
            show("message", sort(watcher.get_message(timeout=5)))
        watcher.unsubscribe()
        ended = [watcher.get_message(timeout=5) for _ in range(2)]  # in an order of the server's
        show("unsubscribed", {one["channel"] for one in ended}, [one["data"] for one in ended])
        show("numsub", client.pubsub_channels(), client.pubsub_numpat())


def sort(message: dict | None) -> list | None:
    return (
        None
        if message is None
        else [message["type"], message["pattern"], message["channel"], message["data"]]
    )


def decoded(client: redis.Redis) -> None:
    show(
        "decoded",
        client.set("decoded", "ü"),
        client.get("decoded"),
        client.hgetall("hash"),
        client.lrange("list", 0, -1),
    )
    client.close()


def several(form: str) -> None:
    clients = [connect(form) for _ in range(3)]
    for number, client in enumerate(clients):
        client.select(1) if number == 2 else None
        show("several", client.set("where", number), client.get("where"))
    for client in clients:
        client.close()
    with connect(form, db=3, client_name="third") as client:
        show(
            "database", client.set("only here", 1), client.get("only here"), client.client_getname()
        )


def changed(client: redis.Redis) -> None:
    try:
        client.set("name", "other value")
    except redis.RedisError as error:
        show_changed(error, client.ping() and client.get("text") == b"x", str(error).split()[0])
