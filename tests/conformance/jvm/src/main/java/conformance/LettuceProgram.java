package conformance;

import static conformance.Say.outcome;
import static conformance.Say.say;

import io.lettuce.core.ClientOptions;
import io.lettuce.core.KeyValue;
import io.lettuce.core.Range;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScriptOutputType;
import io.lettuce.core.SetArgs;
import io.lettuce.core.StreamMessage;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.XReadArgs;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.protocol.ProtocolVersion;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Lettuce. */
final class LettuceProgram {
    private static final String SCRIPT = "redis.call('INCRBY', KEYS[1], ARGV[1]); "
            + "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1]), 7}";

    private final String form;
    private final RedisClient client;
    private StatefulRedisConnection<String, String> connection;
    private RedisCommands<String, String> r;

    LettuceProgram(String form) {
        this.form = form;
        this.client = RedisClient.create(
                RedisURI.create(System.getenv("REDIS_HOST"), Integer.parseInt(System.getenv("REDIS_PORT"))));
        ProtocolVersion version = form.equals("resp2") ? ProtocolVersion.RESP2 : ProtocolVersion.RESP3;
        client.setOptions(ClientOptions.builder().protocolVersion(version).autoReconnect(false).build());
    }

    void run() throws Exception {
        connection = client.connect();
        r = connection.sync();
        strings();
        structures();
        streams();
        pipelines();
        transactions();
        scripts();
        errors();
        large();
        blocking();
        pubSub();
        if (form.equals("changed")) {
            Exception error = (Exception) outcome(() -> r.set("a", "never recorded"));
            Say.sayChanged(error, error.getMessage().split(" ")[0], r.ping().equals("PONG"));
        }
        connection.close();
        client.shutdown(0, 5, TimeUnit.SECONDS);
    }

    private void strings() {
        say("ping", r.ping(), r.echo("grüße"));
        say("set", r.set("a", "1"), r.get("a"), r.get("nothing"), r.set("a", "2", SetArgs.Builder.nx()), r.setnx("b", "x"));
        say("numbers", r.incr("n"), r.incrby("n", 41), r.incrbyfloat("f", 1.25));
        say("many", r.mset(new TreeMap<>(Map.of("x", "1", "y", "zwei"))), r.mget("x", "y", "nothing").toString());
        say("parts", r.append("x", "yz"), r.strlen("x"), r.getrange("x", 1, 2), r.setbit("bits", 7, 1), r.bitcount("bits"));
        say("keys", r.exists("a", "b", "nothing"), r.type("a"), r.del("a", "nothing"), r.rename("b", "c"), r.unlink("c"));
        say("expire", r.setex("e", 1000, "1"), r.persist("e"), r.ttl("e"), r.ttl("nothing"), r.getdel("e"));
    }

    private void structures() {
        say("hash", r.hset("h", Map.of("one", "1")), r.hset("h", "zwei", "zwei ü"), r.hgetall("h"), r.hgetall("nothing"), r.hmget("h", "one", "no").toString(), r.hexists("h", "no"), r.hincrby("h", "one", 5));
        say("list", r.rpush("l", "a", "b", "c"), r.lpush("l", "z"), r.lrange("l", 0, -1), r.lpop("l"), r.rpop("l", 2), r.llen("l"));
        say("set", r.sadd("s", "a", "b"), r.sadd("t", "b"), r.sismember("s", "a"), r.sinter("s", "t"), r.scard("s"), r.smismember("s", "a", "q"));
        say("sorted", r.zadd("z", 1, "one"), r.zadd("z", 2.5, "two"), r.zrangeWithScores("z", 0, -1).toString(), r.zscore("z", "two"), r.zscore("z", "no"), r.zincrby("z", 0.25, "one"), r.zpopmin("z").toString());
        say("geo", r.geoadd("g", 13.361389, 38.115556, "Palermo"), r.geopos("g", "Palermo").toString());
        say("loglog", r.pfadd("p", "a", "b"), r.pfcount("p"));
        say("scan", r.scan(ScanArgs.Builder.matches("a*").limit(100)).getKeys(), r.dbsize());
    }

    private void streams() {
        say("add", r.xadd("st", new io.lettuce.core.XAddArgs().id("1-1"), Map.of("name", "Zoë")), r.xlen("st"));
        say("range", show(r.xrange("st", Range.unbounded())));
        say("group", r.xgroupCreate(XReadArgs.StreamOffset.from("st", "0"), "readers"),
                show(r.xreadgroup(io.lettuce.core.Consumer.from("readers", "me"), XReadArgs.StreamOffset.lastConsumed("st"))),
                r.xack("st", "readers", "1-1"));
    }

    private static List<Object> show(List<StreamMessage<String, String>> messages) {
        List<Object> seen = new ArrayList<>();
        messages.forEach(one -> seen.add(List.of(one.getId(), one.getBody())));
        return seen;
    }

    private void pipelines() {
        RedisAsyncCommands<String, String> async = connection.async();
        connection.setAutoFlushCommands(form.equals("single"));
        List<RedisFuture<?>> futures = new ArrayList<>(List.of(
                async.set("pipe", "1"), async.incr("pipe"), async.lpush("pipe", "x"), async.get("pipe")));
        for (int n = 0; n < 20; n++) {
            futures.add(async.incrby("together", n));
        }
        connection.flushCommands();
        connection.setAutoFlushCommands(true);
        List<Object> seen = new ArrayList<>();
        futures.forEach(one -> seen.add(outcome(() -> one.toCompletableFuture().handle(
                (value, error) -> error == null ? value : String.valueOf(error)).get())));
        say("pipeline", seen);
    }

    private void transactions() {
        r.multi();
        r.set("t1", "1");
        r.incr("t1");
        r.lpush("t1", "x");
        TransactionResult result = r.exec();
        List<Object> seen = new ArrayList<>();
        result.forEach(one -> seen.add(String.valueOf((Object) one)));
        say("multi", result.wasDiscarded(), seen);
        say("discarded", r.multi(), r.set("t1", "2"), r.discard(), r.get("t1"));
        try (StatefulRedisConnection<String, String> other = client.connect()) {
            r.watch("t1");
            other.sync().set("t1", "changed");
            r.multi();
            r.incr("t2");
            say("lost", r.exec().wasDiscarded(), r.get("t2"));
        }
    }

    private void scripts() {
        say("eval", (Object) r.eval(SCRIPT, ScriptOutputType.MULTI, new String[] {"counted"}, "5"));
        String sha = r.scriptLoad("return ARGV[1]");
        say("sha", sha, r.evalsha(sha, ScriptOutputType.VALUE, new String[0], "x"), r.scriptExists(sha, "0".repeat(40)));
        say("unknown", outcome(() -> r.evalsha("0".repeat(40), ScriptOutputType.VALUE)));
        say("error", outcome(() -> r.eval("return redis.error_reply('MINE own words')", ScriptOutputType.VALUE)));
    }

    private void errors() {
        say("type", outcome(() -> r.lpush("n", "x")), outcome(() -> r.incr("y")));
        say("after", r.get("n"), r.select(3), r.set("where", "three"), r.select(0), r.get("where"));
        say("name", r.clientSetname("conformance"), r.clientGetname());
    }

    private void large() {
        say("large", r.set("big", "\r\n$-1\r\nü".repeat(170_000)), r.strlen("big"), r.get("big"));
    }

    private void blocking() throws Exception {
        try (StatefulRedisConnection<String, String> other = client.connect()) {
            r.rpush("ready", "now");
            say("at once", other.sync().blpop(5, "ready", "later").toString());
            RedisFuture<KeyValue<String, String>> waiting = other.async().blpop(20, "ready", "later");
            r.rpush("later", "then");
            say("then", waiting.get().toString(), other.sync().brpop(0.05, "never"));
        }
    }

    private void pubSub() throws Exception {
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        try (StatefulRedisPubSubConnection<String, String> other = client.connectPubSub()) {
            other.addListener(new RedisPubSubAdapter<>() {
                @Override
                public void message(String channel, String message) {
                    heard.add(channel + ": " + message);
                }

                @Override
                public void message(String pattern, String channel, String message) {
                    heard.add(pattern + " " + channel + ": " + message);
                }
            });
            other.sync().subscribe("news");
            other.sync().psubscribe("n*");
            for (String payload : List.of("first ü", "second")) {
                say("receivers", r.publish("news", payload));
                say("heard", heard.poll(20, TimeUnit.SECONDS), heard.poll(20, TimeUnit.SECONDS));
            }
            other.sync().unsubscribe("news");
            other.sync().punsubscribe("n*");
        }
        say("nobody", r.publish("empty", "x"));
    }
}
