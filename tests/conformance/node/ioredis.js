// ioredis: all kinds of values, pipelines, transactions, scripts, streams, pub/sub, blocking.
'use strict';

const { once } = require('node:events');
const Redis = require('ioredis');
const { say, sayChanged, outcome } = require('./say');

// How each form makes the same calls.
const FORMS = {
  plain: {},
  resp2: { protocol: 2 },
  single: { isSingle: true },
  autopipelined: { isAutomatic: true },
  changed: { isChanged: true },
};
const SCRIPT = "redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1]), false, 7}";

class Program {
  constructor(form) {
    const { isSingle, isAutomatic, isChanged, ...options } = FORMS[form];
    this.isSingle = isSingle;
    this.isAutomatic = isAutomatic;
    this.isChanged = isChanged;
    this.options = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), ...options };
  }

  connect(options) {
    return new Redis({ ...this.options, ...options });
  }

  async run() {
    const client = this.connect();
    for (const section of ['strings', 'bytes', 'structures', 'scans', 'expiry', 'streams', 'pipelines',
      'transactions', 'scripts', 'errors', 'large', 'databases']) {
      say(`== ${section}`, '');
      await this[section](client);
    }
    say('== other connections', '');
    await this.blocking(client);
    await this.pubSub(client);
    await this.several();
    if (this.isChanged) await this.changed(client);
    await client.quit();
  }

  async strings(r) {
    say('ping', await r.ping(), await r.ping('hello'), await r.echo('grüße'));
    say('set', await r.set('a', '1'), await r.get('a'), await r.get('nothing'));
    say('options', await r.set('a', '2', 'NX'), await r.set('a', '3', 'XX', 'GET'), await r.setnx('b', 'x'));
    say('numbers', await r.incr('n'), await r.incrby('n', 41), await r.decr('n'), await r.incrbyfloat('f', 1.25));
    say('many', await r.mset('x', '1', 'y', 'zwei'), await r.mget('x', 'y', 'nothing'), await r.msetnx('x', '9', 'z', '9'));
    say('parts', await r.append('x', 'yz'), await r.strlen('x'), await r.getrange('x', 1, 2), await r.setrange('x', 5, '!'), await r.get('x'));
    say('bits', await r.setbit('bits', 7, 1), await r.getbit('bits', 7), await r.bitcount('bits'), await r.bitfield('bits', 'GET', 'u4', 4));
    say('keys', await r.exists('a', 'b', 'nothing'), await r.type('a'), await r.del('a', 'nothing'), await r.rename('b', 'c'), await r.unlink('c'));
  }

  async bytes(r) {
    const all = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
    say('set', await r.set(Buffer.from([0, 255, 13, 10]), all));
    say('get', await r.getBuffer(Buffer.from([0, 255, 13, 10])), await r.getBuffer('nothing'));
  }

  async structures(r) {
    say('hash', await r.hset('h', { one: 1, zwei: 'zwei ü', drei: '' }), await r.hgetall('h'), await r.hgetall('nothing'));
    say('fields', await r.hget('h', 'one'), await r.hmget('h', 'one', 'no'), await r.hincrby('h', 'one', 5), await r.hincrbyfloat('h', 'one', 0.5), await r.hexists('h', 'no'), await r.hlen('h'), await r.hkeys('h'), await r.hvals('h'), await r.hdel('h', 'one'));
    say('list', await r.rpush('l', 'a', 'b', 'c'), await r.lpush('l', 'z'), await r.lrange('l', 0, -1), await r.lindex('l', 1), await r.lpop('l'), await r.rpop('l', 2), await r.linsert('l', 'BEFORE', 'a', '0'), await r.llen('l'), await r.lmove('l', 'm', 'LEFT', 'RIGHT'), await r.lpos('l', 'a'));
    say('set', await r.sadd('s', 'a', 'b'), await r.sadd('t', 'b'), (await r.smembers('s')).sort(), await r.sismember('s', 'a'), await r.smismember('s', 'a', 'q'), await r.sinter('s', 't'), await r.scard('s'), await r.srem('s', 'a'));
    say('sorted', await r.zadd('z', 1, 'one', 2.5, 'two', '+inf', 'all'), await r.zrange('z', 0, -1, 'WITHSCORES'), await r.zscore('z', 'two'), await r.zscore('z', 'no'), await r.zincrby('z', 0.25, 'one'), await r.zrank('z', 'all'), await r.zrangebyscore('z', '-inf', 2), await r.zpopmin('z'), await r.zmscore('z', 'two', 'no'));
    say('geo', await r.geoadd('g', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), await r.geodist('g', 'Palermo', 'Catania', 'km'), await r.geopos('g', 'Palermo', 'no'), await r.geosearch('g', 'FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km', 'ASC', 'WITHDIST'));
    say('loglog', await r.pfadd('p', 'a', 'b', 'c'), await r.pfcount('p'));
  }

  async scans(r) {
    await r.mset(...Array.from({ length: 30 }, (_, n) => [`scan:${n}`, String(n)]).flat());
    const found = [];
    for await (const keys of r.scanStream({ match: 'scan:*', count: 10 })) found.push(...keys);
    say('scan', found.sort());
    const fields = [];
    for await (const pairs of r.hscanStream('h')) fields.push(...pairs);
    say('hscan', fields);
    say('sort', await r.sort('m', 'ALPHA'), await r.dbsize(), await r.object('ENCODING', 'n'));
  }

  async expiry(r) {
    say('expire', await r.set('e', '1', 'EX', 1000), await r.persist('e'), await r.ttl('e'), await r.ttl('nothing'), await r.expireat('e', 4000000000), await r.expiretime('e'), await r.getex('e', 'PERSIST'), await r.getdel('e'));
  }

  async streams(r) {
    say('add', await r.xadd('st', '1-1', 'name', 'Zoë', 'n', '1'), await r.xadd('st', '1-2', 'name', 'b'), await r.xlen('st'));
    say('range', await r.xrange('st', '-', '+'), await r.xrevrange('st', '+', '-', 'COUNT', 1));
    say('group', await r.xgroup('CREATE', 'st', 'readers', '0'), await r.xreadgroup('GROUP', 'readers', 'me', 'COUNT', 1, 'STREAMS', 'st', '>'), await r.xack('st', 'readers', '1-1'), await r.xpending('st', 'readers'));
    say('read', await r.xread('COUNT', 5, 'STREAMS', 'st', '0'), await r.xread('STREAMS', 'st', '9-9'), await r.xtrim('st', 'MAXLEN', 1), await r.xinfo('GROUPS', 'st'));
  }

  async pipelines(r) {
    const calls = [['set', 'pipe', '1'], ['incr', 'pipe'], ['lpush', 'pipe', 'x'], ['get', 'pipe'], ['hgetall', 'h']];
    if (this.isSingle) {
      const seen = [];
      for (const [name, ...rest] of calls) {
        const result = await outcome(() => r[name](...rest));
        seen.push(result instanceof Error ? [shown(result), undefined] : [null, result]);
      }
      say('pipeline', seen);
    } else {
      say('pipeline', (await r.pipeline(calls).exec()).map(([error, result]) => [error && shown(error), result]));
    }
    const client = this.connect({ enableAutoPipelining: this.isAutomatic });
    const together = Array.from({ length: 20 }, (_, n) => client.incrby('together', n));
    say('together', await Promise.all(together));
    await client.quit();
  }

  async transactions(r) {
    say('multi', await r.multi().set('t1', '1').incr('t1').get('t1').exec());
    say('failing', (await r.multi().set('t2', 'x').incr('t2').get('t2').exec()).map(([error, result]) => [error && shown(error), result]));
    say('refused', shown(await outcome(() => r.multi().set('t3', 'x').call('NOSUCH').exec())));
    await r.watch('t1');
    say('watched', await r.multi().incr('t1').exec());
    const other = this.connect();
    await r.watch('t1');
    await other.set('t1', 'changed');
    say('lost', await r.multi().incr('t2').exec());
    say('unwatched', await r.unwatch(), await r.multi({ pipeline: false }), await r.set('t4', '1'), await r.exec());
    say('discarded', await r.multi({ pipeline: false }), await r.set('t4', '2'), await r.discard(), await r.get('t4'));
    await other.quit();
  }

  async scripts(r) {
    say('eval', await r.eval(SCRIPT, 1, 'counted', 5));
    const sha = await r.script('LOAD', 'return {ARGV[1], 1.9}');
    say('sha', sha, await r.evalsha(sha, 0, 'x'), await r.script('EXISTS', sha, '0'.repeat(40)));
    say('unknown', shown(await outcome(() => r.evalsha('0'.repeat(40), 0))));
    r.defineCommand('addTwice', { numberOfKeys: 1, lua: "redis.call('INCRBY', KEYS[1], ARGV[1]); return redis.call('INCRBY', KEYS[1], ARGV[1])" });
    say('defined', await r.addTwice('twice', 3), await r.addTwice('twice', 4));
    say('error', shown(await outcome(() => r.eval("return redis.error_reply('MINE own words')", 0))), shown(await outcome(() => r.eval('return nothing.here', 0))));
  }

  async errors(r) {
    say('type', shown(await outcome(() => r.lpush('n', 'x'))));
    say('unknown', shown(await outcome(() => r.call('NOSUCH', 'a'))));
    say('arguments', shown(await outcome(() => r.call('GET'))));
    say('number', shown(await outcome(() => r.incr('x'))));
    say('after', await r.get('n'));
  }

  async large(r) {
    const big = Buffer.alloc(1_500_000, Buffer.from('\r\n$-1\r\n\0\xff', 'latin1'));
    say('large', await r.set('big', big), await r.strlen('big'), await r.getBuffer('big'));
    await r.rpush('many', ...Array.from({ length: 5000 }, (_, n) => `item ${n}`));
    say('many', (await r.lrange('many', 0, -1)).join());
  }

  async databases(r) {
    say('select', await r.select(3), await r.set('where', 'three'), await r.get('where'), await r.select(0), await r.get('where'));
    const other = this.connect({ db: 3, connectionName: 'third' });
    say('third', await other.get('where'), await other.client('GETNAME'), await other.move('where', 0), await other.flushdb());
    await other.quit();
    say('name', await r.client('SETNAME', 'first'), await r.client('GETNAME'));
  }

  async blocking(r) {
    const other = this.connect();
    await r.rpush('ready', 'at once');
    say('at once', await other.blpop('ready', 'later', 5));
    const waiting = other.blpop('ready', 'later', 20);
    await r.rpush('later', 'then');
    say('then', await waiting);
    say('too long', await other.brpop('never', 0.05), await other.bzpopmin('never', 0.05));
    await other.quit();
  }

  async pubSub(r) {
    const other = this.connect();
    say('subscribed', await other.subscribe('news', 'more'), await other.psubscribe('n*'));
    for (const payload of ['first ü', 'second']) {
      const heard = Promise.all([once(other, 'message'), once(other, 'pmessage')]);
      say('receivers', await r.publish('news', payload));
      say('heard', await heard);
    }
    say('nobody', await r.publish('empty', 'x'));
    say('unsubscribed', await other.unsubscribe('news', 'more'), await other.punsubscribe('n*'));
    say('usable', await other.get('n'));
    await other.quit();
  }

  async several() {
    const clients = Array.from({ length: 4 }, () => this.connect());
    say('several', await Promise.all(clients.map((one, n) => one.set(`several:${n}`, n))));
    say('each', await Promise.all(clients.map((one, n) => one.get(`several:${3 - n}`))));
    await Promise.all(clients.map((one) => one.quit()));
  }

  async changed(r) {
    const error = await outcome(() => r.set('a', 'never recorded'));
    sayChanged(error, error.message.split(' ')[0], (await r.ping()) === 'PONG');
  }
}

function shown(error) {
  return { is: error.constructor.name, name: error.name, message: error.message };
}

module.exports = (form) => new Program(form).run();
