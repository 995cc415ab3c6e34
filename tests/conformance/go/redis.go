package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisForm is how a form makes the same calls.
type redisForm struct {
	protocol int
	pool     int
	isSingle bool
}

var redisForms = map[string]redisForm{
	"plain":   {3, 3, false},
	"resp2":   {2, 3, false},
	"single":  {3, 3, true},
	"pooled":  {3, 8, false},
	"changed": {3, 3, false},
}

type redisProgram struct {
	form   redisForm
	client *redis.Client
}

func runRedis(form string) {
	p := &redisProgram{form: redisForms[form]}
	p.client = p.connect(0)
	defer p.client.Close()
	sections := []func(){p.strings, p.structures, p.scans, p.expiry, p.streams, p.pipelines,
		p.transactions, p.scripts, p.errors, p.large, p.databases, p.blocking, p.pubSub, p.together}
	for n, section := range sections {
		say("section", n)
		section()
	}
	if form == "changed" {
		p.changed()
	}
}

func (p *redisProgram) connect(db int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:       os.Getenv("REDIS_HOST") + ":" + os.Getenv("REDIS_PORT"),
		Protocol:   p.form.protocol,
		PoolSize:   p.form.pool,
		DB:         db,
		ClientName: "conformance",
		MaxRetries: -1,
	})
}

// ask makes commands one after the other and says what they give.
func (p *redisProgram) ask(step string, commands ...[]any) {
	seen := make([]any, len(commands))
	for n, command := range commands {
		result, err := p.client.Do(background, command...).Result()
		seen[n] = plainReply(result, err)
	}
	say(step, seen...)
}

func words(text string) []any {
	found := []any{}
	for _, word := range strings.Fields(text) {
		found = append(found, word)
	}
	return found
}

func plainReply(result any, err error) any {
	if err != nil {
		return className(err) + ": " + err.Error()
	}
	if pairs, ok := result.(map[any]any); ok {
		texts := []string{}
		for key, value := range pairs {
			texts = append(texts, fmt.Sprint(key, "=", value))
		}
		sort.Strings(texts)
		return texts
	}
	return plain(result)
}

func (p *redisProgram) strings() {
	r := p.client
	say("ping", must(r.Ping(background).Result()), must(r.Echo(background, "grüße").Result()))
	say("set", r.Set(background, "a", "1", 0).String(), r.Get(background, "a").String(), r.Get(background, "nothing").String())
	say("missing", errors.Is(r.Get(background, "nothing").Err(), redis.Nil))
	p.ask("options", words("SET a 2 NX"), words("SET a 3 XX GET"), words("SETNX b x"))
	say("numbers", must(r.Incr(background, "n").Result()), must(r.IncrBy(background, "n", 41).Result()), must(r.IncrByFloat(background, "f", 1.25).Result()))
	say("many", must(r.MSet(background, "x", 1, "y", "zwei").Result()), must(r.MGet(background, "x", "y", "nothing").Result()))
	p.ask("parts", words("APPEND x yz"), words("STRLEN x"), words("GETRANGE x 1 2"), words("SETBIT bits 7 1"), words("BITCOUNT bits"))
	p.ask("keys", words("EXISTS a b nothing"), words("TYPE a"), words("DEL a nothing"), words("RENAME b c"), words("UNLINK c"))
	bytes := "\x00\xff\r\n"
	say("bytes", r.Set(background, bytes, []byte(bytes), 0).Err(), must(r.Get(background, bytes).Bytes()))
}

func (p *redisProgram) structures() {
	r := p.client
	say("hash", must(r.HSet(background, "h", "one", 1, "zwei", "zwei ü").Result()), fmt.Sprint(must(r.HGetAll(background, "h").Result())), fmt.Sprint(r.HGetAll(background, "nothing").Val()))
	var scanned struct {
		One  int    `redis:"one"`
		Zwei string `redis:"zwei"`
	}
	say("scanned", r.HGetAll(background, "h").Scan(&scanned), fmt.Sprint(scanned))
	say("fields", must(r.HMGet(background, "h", "one", "no").Result()), must(r.HExists(background, "h", "no").Result()), must(r.HIncrByFloat(background, "h", "one", 0.5).Result()))
	p.ask("list", words("RPUSH l a b c"), words("LPUSH l z"), words("LRANGE l 0 -1"), words("LPOP l"), words("RPOP l 2"), words("LMOVE l m LEFT RIGHT"), words("LPOS l q"))
	p.ask("set", words("SADD s a b"), words("SADD t b"), words("SISMEMBER s a"), words("SMISMEMBER s a q"), words("SINTER s t"), words("SCARD s"))
	members := must(r.SMembersMap(background, "s").Result())
	say("members", len(members))
	say("sorted", must(r.ZAdd(background, "z", redis.Z{Score: 1, Member: "one"}, redis.Z{Score: 2.5, Member: "two"}).Result()), fmt.Sprint(must(r.ZRangeWithScores(background, "z", 0, -1).Result())), must(r.ZScore(background, "z", "two").Result()), must(r.ZIncrBy(background, "z", 0.25, "one").Result()), fmt.Sprint(must(r.ZPopMin(background, "z").Result())))
	say("geo", must(r.GeoAdd(background, "g", &redis.GeoLocation{Name: "Palermo", Longitude: 13.361389, Latitude: 38.115556}).Result()), fmt.Sprint(*must(r.GeoPos(background, "g", "Palermo").Result())[0]))
	p.ask("loglog", words("PFADD p a b c"), words("PFCOUNT p"))
}

func (p *redisProgram) scans() {
	for n := range 30 {
		check(p.client.Set(background, fmt.Sprint("scan:", n), n, 0).Err())
	}
	keys := []string{}
	scan := p.client.Scan(background, 0, "scan:*", 10).Iterator()
	for scan.Next(background) {
		keys = append(keys, scan.Val())
	}
	sort.Strings(keys)
	say("scan", keys)
	fields, cursor := p.client.HScan(background, "h", 0, "*", 10).Val()
	say("hscan", fields, cursor)
}

func (p *redisProgram) expiry() {
	r := p.client
	say("expire", r.Set(background, "e", 1, time.Hour).Err(), must(r.Persist(background, "e").Result()), r.TTL(background, "e").Val().String(), r.TTL(background, "nothing").Val().String())
	p.ask("times", words("EXPIREAT e 4000000000"), words("EXPIRETIME e"), words("GETEX e PERSIST"), words("GETDEL e"))
}

func (p *redisProgram) streams() {
	r := p.client
	say("add", must(r.XAdd(background, &redis.XAddArgs{Stream: "st", ID: "1-1", Values: []string{"name", "Zoë"}}).Result()), must(r.XAdd(background, &redis.XAddArgs{Stream: "st", ID: "1-2", Values: []string{"name", "b"}}).Result()))
	say("range", fmt.Sprint(must(r.XRange(background, "st", "-", "+").Result())), fmt.Sprint(must(r.XRevRangeN(background, "st", "+", "-", 1).Result())))
	say("group", must(r.XGroupCreate(background, "st", "readers", "0").Result()), fmt.Sprint(must(r.XReadGroup(background, &redis.XReadGroupArgs{Group: "readers", Consumer: "me", Count: 1, Streams: []string{"st", ">"}}).Result())), must(r.XAck(background, "st", "readers", "1-1").Result()), fmt.Sprint(*must(r.XPending(background, "st", "readers").Result())))
	say("read", fmt.Sprint(must(r.XRead(background, &redis.XReadArgs{Streams: []string{"st", "0"}, Block: -1}).Result())), fmt.Sprint(r.XRead(background, &redis.XReadArgs{Streams: []string{"st", "9-9"}, Block: -1}).Err()), fmt.Sprint(must(r.XInfoGroups(background, "st").Result())))
}

func (p *redisProgram) pipelines() {
	commands := [][]any{words("SET pipe 1"), words("INCR pipe"), words("LPUSH pipe x"), words("GET pipe"), words("HGETALL h")}
	seen := []any{}
	if p.form.isSingle {
		for _, command := range commands {
			result, err := p.client.Do(background, command...).Result()
			seen = append(seen, plainReply(result, err))
		}
	} else {
		pipeline := p.client.Pipeline()
		for _, command := range commands {
			pipeline.Do(background, command...)
		}
		results, _ := pipeline.Exec(background)
		for _, result := range results {
			value, err := result.(*redis.Cmd).Result()
			seen = append(seen, plainReply(value, err))
		}
	}
	say("pipeline", seen[:4]...)
}

func (p *redisProgram) transactions() {
	results, err := p.client.TxPipelined(background, func(pipe redis.Pipeliner) error {
		pipe.Set(background, "t1", "1", 0)
		pipe.Incr(background, "t1")
		pipe.Get(background, "t1")
		return nil
	})
	say("multi", fmt.Sprint(results), err)
	results, err = p.client.TxPipelined(background, func(pipe redis.Pipeliner) error {
		pipe.Set(background, "t2", "x", 0)
		pipe.Incr(background, "t2")
		return nil
	})
	say("failing", fmt.Sprint(results), err)
	watch := func(meanwhile bool) error {
		return p.client.Watch(background, func(tx *redis.Tx) error {
			if meanwhile {
				check(p.client.Set(background, "t1", "changed", 0).Err())
			}
			_, err := tx.TxPipelined(background, func(pipe redis.Pipeliner) error {
				pipe.Incr(background, "t3")
				return nil
			})
			return err
		}, "t1")
	}
	say("watched", watch(false), watch(true))
}

func (p *redisProgram) scripts() {
	script := redis.NewScript("redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1]), false, 7}")
	for range 2 {
		say("script", must(script.Run(background, p.client, []string{"counted"}, 5).Result()))
	}
	sha := must(p.client.ScriptLoad(background, "return {ARGV[1], 1.9}").Result())
	say("sha", sha, must(p.client.EvalSha(background, sha, nil, "x").Result()), must(p.client.ScriptExists(background, sha, strings.Repeat("0", 40)).Result()))
	say("unknown", p.client.EvalSha(background, strings.Repeat("0", 40), nil).Err())
	say("error", p.client.Eval(background, "return redis.error_reply('MINE own words')", nil).Err())
}

func (p *redisProgram) errors() {
	p.ask("errors", words("LPUSH n x"), words("NOSUCH a"), words("GET"), words("INCR x"), words("GET n"))
}

func (p *redisProgram) large() {
	big := strings.Repeat("\r\n$-1\r\n\x00\xff", 170_000)
	say("large", p.client.Set(background, "big", big, 0).Err(), must(p.client.StrLen(background, "big").Result()), must(p.client.Get(background, "big").Bytes()))
	items := make([]any, 5000)
	for n := range items {
		items[n] = fmt.Sprint("item ", n)
	}
	say("many", must(p.client.RPush(background, "many", items...).Result()), strings.Join(must(p.client.LRange(background, "many", 0, -1).Result()), ","))
}

func (p *redisProgram) databases() {
	other := p.connect(3)
	defer other.Close()
	say("third", other.Set(background, "where", "three", 0).Err(), p.client.Get(background, "where").Err(), must(other.Move(background, "where", 0).Result()), must(p.client.Get(background, "where").Result()), must(other.ClientGetName(background).Result()))
}

func (p *redisProgram) blocking() {
	p.ask("push", words("RPUSH ready now"))
	say("at once", must(p.client.BLPop(background, 5*time.Second, "ready", "later").Result()))
	popped := make(chan []string)
	go func() { popped <- must(p.client.BLPop(background, 20*time.Second, "ready", "later").Result()) }()
	p.ask("later", words("RPUSH later then"))
	say("popped", <-popped)
	p.ask("too long", words("BRPOP never 0.05"))
}

func (p *redisProgram) pubSub() {
	subscription := p.client.Subscribe(background, "news", "more")
	defer subscription.Close()
	check(subscription.PSubscribe(background, "n*"))
	for range 3 {
		say("subscribed", fmt.Sprint(must(subscription.Receive(background))))
	}
	for _, payload := range []string{"first ü", "second"} {
		say("receivers", must(p.client.Publish(background, "news", payload).Result()))
		for range 2 {
			say("heard", fmt.Sprint(must(subscription.ReceiveMessage(background))))
		}
	}
	check(subscription.Unsubscribe(background, "news"))
	say("unsubscribed", fmt.Sprint(must(subscription.Receive(background))))
	say("nobody", must(p.client.Publish(background, "empty", "x").Result()))
}

func (p *redisProgram) together() {
	found := make([]chan string, 8)
	for n := range found {
		found[n] = make(chan string, 1)
		go func() { found[n] <- p.client.Set(background, fmt.Sprint("together:", n), n, 0).String() }()
	}
	for n := range found {
		say("together", <-found[n])
	}
}

func (p *redisProgram) changed() {
	err := p.client.Set(background, "a", "never recorded", 0).Err()
	again := p.client.Ping(background).Err()
	sayChanged(className(err), strings.Fields(err.Error())[0], again == nil)
}
