"""Mistakes in commands to Redis: arguments, times to live, transactions, lost and doubled ones."""

from __future__ import annotations

from typing import Any

from tests.e2e.field.lines import Answer, Backends, CallFinding, as_json, line

LOST = "outgoing calls are not asserted"
DESTINATION = "destination not compared when a mock is chosen"
SIMILAR = "similarity without threshold (#4272)"
SCRIPT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@line(LOST, CallFinding("missing", "SET lost"))
def set_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        use.redis.set("lost", "1")
    return as_json({"kept": True})


@line(LOST, CallFinding("missing", "DEL cart"))
def del_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        use.redis.delete("cart")
    return as_json({"emptied": True})


@line(LOST, CallFinding("missing", "PUBLISH news"))
def publish_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        use.redis.publish("news", "hello")
    return as_json({"told": True})


@line(LOST, CallFinding("repeated", "INCRBY doubled"))
def incr_doubled(bug: bool, use: Backends) -> Answer:
    for _ in range(2 if bug else 1):
        use.redis.incr("doubled")
    return as_json({"counted": True})


@line("redis key TTL changed", CallFinding("changed", "SET ttl"))
def time_to_live_changed(bug: bool, use: Backends) -> Answer:
    use.redis.set("ttl", "1", ex=600 if bug else 60)
    return as_json({"kept": True})


@line("redis key TTL changed", CallFinding("changed", "SET forever"))
def time_to_live_lost(bug: bool, use: Backends) -> Answer:
    use.redis.set("forever", "1", ex=None if bug else 60)
    return as_json({"kept": True})


@line("redis key TTL changed", CallFinding("missing", "EXPIRE counter"))
def expire_lost(bug: bool, use: Backends) -> Answer:
    use.redis.incr("counter")
    if not bug:
        use.redis.expire("counter", 60)
    return as_json({"counted": True})


@line(SIMILAR, CallFinding("changed", "SET lock"))
def condition_lost(bug: bool, use: Backends) -> Answer:
    return as_json({"locked": bool(use.redis.set("lock", "me", nx=not bug))})


@line(SIMILAR, CallFinding("changed", "HSET user:1"))
def field_value(bug: bool, use: Backends) -> Answer:
    use.redis.hset("user:1", "name", "Alicia" if bug else "Alice")
    return as_json({"kept": True})


@line(SIMILAR, CallFinding("changed", "GET stock:1"))
def key_one_off(bug: bool, use: Backends) -> Answer:
    return as_json({"stock": read(use.redis.get("stock:12" if bug else "stock:11"))})


def read(value: Any) -> str | None:
    return None if value is None else value.decode()


@line("a call made by another case", CallFinding("changed", "GET balance:bob"))
def key_of_another_case(bug: bool, use: Backends) -> Answer:
    return as_json({"balance": read(use.redis.get("balance:bob" if bug else "balance:alice"))})


@line("a call made by another case", CallFinding("missing", "GET balance:bob"))
def key_read_by_another_case(bug: bool, use: Backends) -> Answer:
    return as_json({"balance": "22" if bug else read(use.redis.get("balance:bob"))})


@line(DESTINATION, CallFinding("", "place:number"))
def redis_database_number(bug: bool, use: Backends) -> Answer:
    """Both databases have the key; number 1 is asked for it by another case, for another one."""
    client = use.redis_number_1 if bug else use.redis
    return as_json({"place": read(client.get("place:number"))})


@line(DESTINATION, CallFinding("", "place:one"))
def redis_database_number_1(bug: bool, use: Backends) -> Answer:
    client = use.redis if bug else use.redis_number_1
    return as_json({"place": read(client.get("place:one"))})


@line(DESTINATION, CallFinding("", "place:port"))
def redis_port(bug: bool, use: Backends) -> Answer:
    client = use.other_redis if bug else use.redis
    return as_json({"place": read(client.get("place:port"))})


def run_pipeline(use: Backends, is_transaction: bool, *commands: tuple[str, ...]) -> Answer:
    with use.redis.pipeline(transaction=is_transaction) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        pipeline.execute()
    return as_json({"kept": True})


@line("redis pipeline content", CallFinding("changed", "SET piped:2"))
def pipeline_content(bug: bool, use: Backends) -> Answer:
    second = ("SET", "piped:2", "c" if bug else "b")
    return run_pipeline(use, False, ("SET", "piped:1", "a"), second)


@line("redis pipeline content", CallFinding("missing", "SADD piped:4"))
def pipeline_shorter(bug: bool, use: Backends) -> Answer:
    commands = [("SADD", "piped:3", "a"), ("SADD", "piped:4", "b")]
    return run_pipeline(use, False, *commands[: 1 if bug else 2])


@line("a call in another order", CallFinding("reordered", "list"))
def pipeline_order(bug: bool, use: Backends) -> Answer:
    commands = [("RPUSH", "list", "a"), ("LTRIM", "list", "0", "0")]
    return run_pipeline(use, False, *(commands[::-1] if bug else commands))


@line("MULTI/EXEC as a unit", CallFinding("changed", "multi:1"))
def transaction_content(bug: bool, use: Backends) -> Answer:
    amounts = ("5", "-6") if bug else ("5", "-5")
    commands = [("INCRBY", f"multi:{place}", amount) for place, amount in enumerate(amounts)]
    return run_pipeline(use, True, *commands)


@line("MULTI/EXEC as a unit", CallFinding("", "apart:1"))
def transaction_lost(bug: bool, use: Backends) -> Answer:
    return run_pipeline(use, not bug, ("INCR", "apart:1"), ("INCR", "apart:2"))


@line("scripts by hash", CallFinding("changed", "EVAL"))
def script_argument(bug: bool, use: Backends) -> Answer:
    call: Any = use.redis.execute_command
    call("EVAL", SCRIPT, 1, "scripted", "2" if bug else "1")
    return as_json({"run": True})
