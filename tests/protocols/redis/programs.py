"""Client programs that print what Redis told them; each is run live and against the replay."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import redis

Program = Callable[[Any], list[Any]]


def _text(value: Any) -> Any:
    """Printable and ordered, for sets and errors do not compare across runs."""
    if isinstance(value, set):
        return sorted(map(repr, value))
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    return value


def use_strings(r: Any) -> list[Any]:
    seen = [r.set("rate:EUR", "1.2", ex=60), r.get("rate:EUR"), r.get("nothing")]
    seen += [r.set("bin", bytes(range(256))), r.get("bin"), r.append("bin", "x"), r.strlen("bin")]
    seen += [r.incr("n"), r.incr("n"), r.incrbyfloat("f", 1.5), r.mget("n", "nothing", "bin")]
    return [*seen, r.get("n"), r.set("n", 5, nx=True), r.getdel("n"), r.exists("n"), r.get("n")]


def use_containers(r: Any) -> list[Any]:
    seen = [r.hset("h", mapping={"a": "1", "b": "é"}), r.hgetall("h"), r.hgetall("none")]
    seen += [r.sadd("s", "x", "y"), _text(r.smembers("s")), r.sismember("s", "x")]
    seen += [r.zadd("z", {"a": 1, "b": 2.5}), r.zrange("z", 0, -1, withscores=True)]
    seen += [r.zscore("z", "b"), r.zscore("z", "none"), r.zpopmin("z"), r.zincrby("z", 2, "b")]
    seen += [r.rpush("l", *range(5)), r.lrange("l", 0, -1), r.lpop("l", 2), r.hscan("h")]
    seen += [r.xadd("st", {"k": "v"}, id="1-1"), r.xread({"st": "0"}), r.xrange("st")]
    seen += [r.geoadd("g", (13.36, 38.11, "P")), r.geopos("g", "P", "none")]
    return [*seen, r.type("z"), r.config_get("maxmemory-policy")]


def use_pipelines(r: Any) -> list[Any]:
    with r.pipeline(transaction=False) as pipe:
        for number in range(300):
            pipe.set(f"k{number}", "v" * number).get(f"k{number}")
        plain = pipe.execute()
    with r.pipeline() as pipe:
        pipe.incr("counter").rpush("list", "a", "b").lrange("list", 0, -1).get("none")
        unit = pipe.execute()
    with r.pipeline() as pipe:
        pipe.set("text", "abc").incr("text").get("text")
        failing = [_text(value) for value in pipe.execute(raise_on_error=False)]
    return [plain, unit, failing]


def use_watch(r: Any) -> list[Any]:
    seen: list[Any] = []
    with r.pipeline() as pipe:
        pipe.watch("stock")
        seen.append(pipe.get("stock"))
        r.set("stock", "stolen")
        pipe.multi()
        pipe.set("stock", "mine")
        try:
            seen.append(pipe.execute())
        except redis.WatchError:
            seen.append("lost the race")
        pipe.watch("stock")
        pipe.multi()
        pipe.get("stock")
        seen.append(pipe.execute())
    return seen


def use_errors(r: Any) -> list[Any]:
    seen = []
    r.set("text", "abc")
    for command in (
        ["INCR", "text"],
        ["NOSUCH", "a"],
        ["GET"],
        ["LPUSH", "text", "x"],
        ["HSET", "h", "f"],
    ):
        try:
            seen.append(r.execute_command(*command))
        except redis.ResponseError as error:
            seen.append(str(error))
    return seen


def use_scripts(r: Any) -> list[Any]:
    double = r.register_script("return {KEYS[1], ARGV[1] * 2, redis.call('INCR', KEYS[1])}")
    table = r.register_script("return {1, 'two', false, {ok='fine'}, {3, 4}}")
    failing = r.register_script("return redis.error_reply('MY own error')")
    seen = [double(keys=["c"], args=[21]), double(keys=["c"], args=[2]), table()]
    try:
        failing()
    except redis.ResponseError as error:
        seen.append(str(error))
    return [*seen, r.eval("return ARGV[1]", 0, "x"), r.script_exists("0" * 40)]


def use_blocking(r: Any) -> list[Any]:
    r.rpush("queue", "job")
    seen = [r.blpop(["other", "queue"], timeout=1), r.blpop(["queue"], timeout=0.05)]
    r.zadd("zq", {"a": 1.5})
    return [*seen, r.bzpopmin("zq", timeout=1), r.brpop("queue", timeout=0.05)]


def use_pubsub(r: Any) -> list[Any]:
    seen: list[Any] = []
    with r.pubsub() as pubsub:
        pubsub.subscribe("news", "other")
        pubsub.psubscribe("n*")
        seen += [pubsub.get_message(timeout=5) for _ in range(3)]
        r.publish("news", b"\xff\x00hello")
        seen += [pubsub.get_message(timeout=5) for _ in range(2)]
        pubsub.unsubscribe("news", "other")
        pubsub.punsubscribe("n*")
        seen += [pubsub.get_message(timeout=5) for _ in range(3)]
    return seen


def use_session(r: Any) -> list[Any]:
    seen = [r.ping(), r.echo("hi"), r.client_setname("me"), r.client_getname(), r.time() != ()]
    r.execute_command("SELECT", 3)
    seen += [r.set("where", "three"), r.get("where")]
    r.execute_command("SELECT", 0)
    return [*seen, r.get("where"), r.dbsize(), r.info("server")["redis_version"]]


PROGRAMS: dict[str, Program] = {
    name: program for name, program in globals().items() if name.startswith("use_")
}


def run_cli(port: int, script: str) -> str:
    """redis-cli with commands on its standard input."""
    command = ["redis-cli", "-p", str(port), "--no-raw"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
