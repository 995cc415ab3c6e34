package conformance;

import static conformance.Say.outcome;
import static conformance.Say.say;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;

/** Jedis. */
final class JedisProgram {
    private static final String SCRIPT = "redis.call('INCRBY', KEYS[1], ARGV[1]); "
            + "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1]), 7}";

    private final String form;
    private final HostAndPort place;
    private Jedis r;

    JedisProgram(String form) {
        this.form = form;
        this.place = new HostAndPort(System.getenv("REDIS_HOST"), Integer.parseInt(System.getenv("REDIS_PORT")));
    }

    private Jedis connect() {
        RedisProtocol protocol = form.equals("resp3") ? RedisProtocol.RESP3 : RedisProtocol.RESP2;
        return new Jedis(place, DefaultJedisClientConfig.builder().protocol(protocol).clientName("conformance").timeoutMillis(30_000).build());
    }

    void run() throws Exception {
        r = connect();
        strings();
        structures();
        pipelines();
        transactions();
        scripts();
        errors();
        large();
        blocking();
        pubSub();
        pool();
        if (form.equals("changed")) {
            Exception error = (Exception) outcome(() -> r.set("a", "never recorded"));
            Say.sayChanged(error, error.getMessage().split(" ")[0], r.ping().equals("PONG"));
        }
        r.close();
    }

    private void strings() {
        say("ping", r.ping(), r.echo("grüße"), r.clientGetname());
        say("set", r.set("a", "1"), r.get("a"), r.get("nothing"), r.set("a", "2", SetParams.setParams().nx()), r.setnx("b", "x"));
        say("numbers", r.incr("n"), r.incrBy("n", 41), r.incrByFloat("f", 1.25));
        say("many", r.mset("x", "1", "y", "zwei"), r.mget("x", "y", "nothing"));
        say("bytes", r.set(new byte[] {0, -1}, new byte[] {13, 10, -1}), r.get(new byte[] {0, -1}));
        say("keys", r.exists("a", "b", "nothing"), r.type("a"), r.del("a", "nothing"), r.rename("b", "c"), r.unlink("c"));
        say("expire", r.setex("e", 1000, "1"), r.persist("e"), r.ttl("e"), r.ttl("nothing"), r.getDel("e"));
    }

    private void structures() {
        say("hash", r.hset("h", Map.of("one", "1")), r.hset("h", "zwei", "zwei ü"), r.hgetAll("h"), r.hgetAll("nothing"), r.hmget("h", "one", "no"), r.hexists("h", "no"), r.hincrBy("h", "one", 5));
        say("list", r.rpush("l", "a", "b", "c"), r.lpush("l", "z"), r.lrange("l", 0, -1), r.lpop("l"), r.rpop("l", 2), r.llen("l"));
        say("set", r.sadd("s", "a", "b"), r.sadd("t", "b"), r.sismember("s", "a"), r.sinter("s", "t"), r.scard("s"), r.smismember("s", "a", "q"));
        say("sorted", r.zadd("z", 1, "one"), r.zadd("z", 2.5, "two"), r.zrangeWithScores("z", 0, -1).toString(), r.zscore("z", "two"), r.zscore("z", "no"), r.zincrby("z", 0.25, "one"), r.zpopmin("z").toString());
        say("geo", r.geoadd("g", 13.361389, 38.115556, "Palermo"), r.geopos("g", "Palermo").toString());
        say("scan", r.scan("0", new ScanParams().match("a*").count(100)).getResult(), r.dbSize());
        say("stream", r.xadd("st", new StreamEntryID(1, 1), Map.of("name", "Zoë")).toString(), r.xlen("st"), r.xrange("st", "-", "+").toString());
    }

    private void pipelines() {
        List<Object> seen = new ArrayList<>();
        if (form.equals("single")) {
            seen.addAll(List.of(r.set("pipe", "1"), r.incr("pipe")));
            seen.add(outcome(() -> r.lpush("pipe", "x")));
            seen.addAll(List.of(r.get("pipe"), r.zscore("z", "two")));
        } else {
            Pipeline pipeline = r.pipelined();
            pipeline.set("pipe", "1");
            pipeline.incr("pipe");
            pipeline.lpush("pipe", "x");
            pipeline.get("pipe");
            Response<Double> score = pipeline.zscore("z", "two");
            seen.addAll(pipeline.syncAndReturnAll().subList(0, 4));
            seen.add(score.get());
        }
        say("pipeline", seen);
    }

    private void transactions() {
        Transaction transaction = r.multi();
        transaction.set("t1", "1");
        transaction.incr("t1");
        transaction.lpush("t1", "x");
        say("multi", transaction.exec());
        try (Jedis other = connect()) {
            r.watch("t1");
            other.set("t1", "changed");
            Transaction lost = r.multi();
            lost.incr("t2");
            say("lost", lost.exec(), r.get("t2"));
        }
    }

    private void scripts() {
        say("eval", r.eval(SCRIPT, List.of("counted"), List.of("5")));
        String sha = r.scriptLoad("return ARGV[1]");
        say("sha", sha, r.evalsha(sha, List.of(), List.of("x")), r.scriptExists(sha, "0".repeat(40)));
        say("unknown", outcome(() -> r.evalsha("0".repeat(40))));
        say("error", outcome(() -> r.eval("return redis.error_reply('MINE own words')")));
    }

    private void errors() {
        say("type", outcome(() -> r.lpush("n", "x")), outcome(() -> r.incr("y")));
        say("after", r.get("n"), r.select(3), r.set("where", "three"), r.select(0), r.get("where"));
    }

    private void large() {
        say("large", r.set("big", "\r\n$-1\r\nü".repeat(170_000)), r.strlen("big"), r.get("big"));
    }

    private void blocking() throws Exception {
        try (Jedis other = connect()) {
            r.rpush("ready", "now");
            say("at once", other.blpop(5, "ready", "later"));
            LinkedBlockingQueue<Object> popped = new LinkedBlockingQueue<>();
            new Thread(() -> popped.add(other.blpop(20, "ready", "later"))).start();
            r.rpush("later", "then");
            say("then", popped.poll(30, TimeUnit.SECONDS));
            say("too long", other.brpop(0.05, "never"));
        }
    }

    private void pubSub() throws Exception {
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        CountDownLatch subscribed = new CountDownLatch(2);
        JedisPubSub listener = new JedisPubSub() {
            @Override
            public void onMessage(String channel, String message) {
                heard.add(channel + ": " + message);
            }

            @Override
            public void onSubscribe(String channel, int count) {
                subscribed.countDown();
            }
        };
        Thread thread = new Thread(() -> {
            try (Jedis other = connect()) {
                other.subscribe(listener, "news", "more");
            }
        });
        thread.start();
        subscribed.await();
        for (String payload : List.of("first ü", "second")) {
            say("receivers", r.publish("news", payload));
            say("heard", heard.poll(20, TimeUnit.SECONDS));
        }
        listener.unsubscribe();
        thread.join();
        say("nobody", r.publish("empty", "x"));
    }

    private void pool() {
        try (JedisPooled pool = new JedisPooled(place, DefaultJedisClientConfig.builder().build())) {
            say("pool", pool.set("pooled", "1"), pool.get("pooled"));
        }
    }
}
