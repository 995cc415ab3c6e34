// node-redis: all kinds of values, pipelines, transactions, scripts, streams, pub/sub, pools.
'use strict';

const redis = require('redis');
const { say, sayChanged, outcome } = require('./say');

// How each form makes the same calls.
const FORMS = {
  plain: { RESP: 2 },
  resp3: { RESP: 3 },
  single: { RESP: 2, isSingle: true },
  pooled: { RESP: 2, pool: 5 },
  changed: { RESP: 2, isChanged: true },
};
const SCRIPT = "redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1]), false, 7}";
const square = redis.defineScript({
  NUMBER_OF_KEYS: 0,
  SCRIPT: 'return ARGV[1] * ARGV[1]',
  parseCommand(parser, number) { parser.push(String(number)); },
  transformReply: (reply) => reply,
});
const BYTES = { [redis.RESP_TYPES.BLOB_STRING]: Buffer };

class Program {
  constructor(form) {
    this.form = FORMS[form];
    this.options = {
      RESP: this.form.RESP,
      socket: { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), reconnectStrategy: false },
      scripts: { square },
    };
  }

  connect(options) {
    return redis.createClient({ ...this.options, ...options }).connect();
  }

  async run() {
    const client = await this.connect({ name: 'conformance' });
    for (const section of ['strings', 'bytes', 'structures', 'scans', 'expiry', 'streams', 'pipelines',
      'transactions', 'scripts', 'errors', 'large', 'databases']) {
      say(`== ${section}`, '');
      await this[section](client);
    }
    say('== other connections', '');
    await this.blocking(client);
    await this.pubSub(client);
    await this.pool();
    if (this.form.isChanged) await this.changed(client);
    await client.close();
  }

  async strings(r) {
    say('ping', await r.ping(), await r.echo('grüße'), await r.clientGetName());
    say('set', await r.set('a', '1'), await r.get('a'), await r.get('nothing'));
    say('options', await r.set('a', '2', { condition: 'NX' }), await r.set('a', '3', { condition: 'XX', GET: true }), await r.setNX('b', 'x'));
    say('numbers', await r.incr('n'), await r.incrBy('n', 41), await r.decr('n'), await r.incrByFloat('f', 1.25));
    say('many', await r.mSet({ x: '1', y: 'zwei' }), await r.mGet(['x', 'y', 'nothing']), await r.mSetNX({ x: '9', z: '9' }));
    say('parts', await r.append('x', 'yz'), await r.strLen('x'), await r.getRange('x', 1, 2), await r.setRange('x', 5, '!'), await r.get('x'));
    say('bits', await r.setBit('bits', 7, 1), await r.getBit('bits', 7), await r.bitCount('bits'));
    say('keys', await r.exists(['a', 'b', 'nothing']), await r.type('a'), await r.del(['a', 'nothing']), await r.rename('b', 'c'), await r.unlink('c'));
  }

  async bytes(r) {
    const raw = r.withTypeMapping(BYTES);
    const all = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
    say('set', await raw.set(Buffer.from([0, 255, 13, 10]), all));
    say('get', await raw.get(Buffer.from([0, 255, 13, 10])), await raw.get('nothing'));
  }

  async structures(r) {
    say('hash', await r.hSet('h', { one: 1, zwei: 'zwei ü', drei: '' }), { ...await r.hGetAll('h') }, { ...await r.hGetAll('nothing') });
    say('fields', await r.hGet('h', 'one'), await r.hmGet('h', ['one', 'no']), await r.hIncrBy('h', 'one', 5), await r.hExists('h', 'no'), await r.hLen('h'), await r.hKeys('h'), await r.hVals('h'), await r.hDel('h', 'one'));
    say('list', await r.rPush('l', ['a', 'b', 'c']), await r.lPush('l', 'z'), await r.lRange('l', 0, -1), await r.lIndex('l', 1), await r.lPop('l'), await r.rPopCount('l', 2), await r.lInsert('l', 'BEFORE', 'a', '0'), await r.lLen('l'), await r.lMove('l', 'm', 'LEFT', 'RIGHT'), await r.lPos('l', 'a'));
    say('set', await r.sAdd('s', ['a', 'b']), await r.sAdd('t', 'b'), (await r.sMembers('s')).sort(), await r.sIsMember('s', 'a'), await r.smIsMember('s', ['a', 'q']), await r.sInter(['s', 't']), await r.sCard('s'), await r.sRem('s', 'a'));
    say('sorted', await r.zAdd('z', [{ score: 1, value: 'one' }, { score: 2.5, value: 'two' }, { score: Infinity, value: 'all' }]), await r.zRangeWithScores('z', 0, -1), await r.zScore('z', 'two'), await r.zScore('z', 'no'), await r.zIncrBy('z', 0.25, 'one'), await r.zRank('z', 'all'), await r.zRangeByScore('z', '-inf', 2), await r.zPopMin('z'), await r.zmScore('z', ['two', 'no']));
    say('geo', await r.geoAdd('g', [{ longitude: 13.361389, latitude: 38.115556, member: 'Palermo' }, { longitude: 15.087269, latitude: 37.502669, member: 'Catania' }]), await r.geoDist('g', 'Palermo', 'Catania', 'km'), await r.geoPos('g', ['Palermo', 'no']));
    say('loglog', await r.pfAdd('p', ['a', 'b', 'c']), await r.pfCount('p'));
  }

  async scans(r) {
    await r.mSet(Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`scan:${n}`, String(n)])));
    const found = [];
    for await (const keys of r.scanIterator({ MATCH: 'scan:*', COUNT: 10 })) found.push(...keys);
    say('scan', found.sort());
    const fields = [];
    for await (const pairs of r.hScanIterator('h')) fields.push(...pairs);
    say('hscan', fields);
    say('sort', await r.sort('m', { ALPHA: true }), await r.dbSize(), await r.objectEncoding('n'), (await r.info('server')).includes('redis_version'));
  }

  async expiry(r) {
    say('expire', await r.set('e', '1', { expiration: { type: 'EX', value: 1000 } }), await r.persist('e'), await r.ttl('e'), await r.ttl('nothing'), await r.expireAt('e', 4000000000), await r.expireTime('e'), await r.getEx('e', { type: 'PERSIST' }), await r.getDel('e'));
  }

  async streams(r) {
    say('add', await r.xAdd('st', '1-1', { name: 'Zoë', n: '1' }), await r.xAdd('st', '1-2', { name: 'b' }), await r.xLen('st'));
    say('range', (await r.xRange('st', '-', '+')).map(plainMessage), (await r.xRevRange('st', '+', '-', { COUNT: 1 })).map(plainMessage));
    say('group', await r.xGroupCreate('st', 'readers', '0'), (await r.xReadGroup('readers', 'me', { key: 'st', id: '>' }, { COUNT: 1 }))[0].messages.map(plainMessage), await r.xAck('st', 'readers', '1-1'), await r.xPending('st', 'readers'));
    say('read', (await r.xRead({ key: 'st', id: '0' }, { COUNT: 5 }))[0].messages.map(plainMessage), await r.xRead({ key: 'st', id: '9-9' }), await r.xTrim('st', 'MAXLEN', 1));
  }

  async pipelines(r) {
    const calls = [() => r.set('pipe', '1'), () => r.incr('pipe'), () => r.lPush('pipe', 'x'), () => r.get('pipe'), () => r.hGetAll('h')];
    const seen = [];
    if (this.form.isSingle) {
      for (const call of calls) seen.push(await outcome(call));
    } else {
      seen.push(...await Promise.all(calls.map(outcome)));
    }
    say('pipeline', seen.map((one) => (one instanceof Error ? shown(one) : one && one.zwei ? { ...one } : one)));
    const together = Array.from({ length: 20 }, (_, n) => r.incrBy('together', n));
    say('together', await Promise.all(together));
  }

  async transactions(r) {
    say('multi', await r.multi().set('t1', '1').incr('t1').get('t1').exec());
    say('as pipeline', await r.multi().incr('t1').get('t1').execAsPipeline());
    const failing = await outcome(() => r.multi().set('t2', 'x').incr('t2').get('t2').exec());
    say('failing', failing.replies.map((one) => (one instanceof Error ? shown(one) : one)));
    say('refused', shown(await outcome(() => r.multi().set('t3', 'x').addCommand(['NOSUCH']).exec())));
    const other = await this.connect();
    await other.watch('t1');
    say('watched', await other.multi().incr('t1').exec());
    await other.watch('t1');
    await r.set('t1', 'changed');
    const lost = await outcome(() => other.multi().incr('t2').exec());
    say('lost', lost.constructor.name, await other.unwatch());
    await other.close();
  }

  async scripts(r) {
    say('eval', await r.eval(SCRIPT, { keys: ['counted'], arguments: ['5'] }));
    const sha = await r.scriptLoad('return {ARGV[1], 1.9}');
    say('sha', sha, await r.evalSha(sha, { arguments: ['x'] }), await r.scriptExists([sha, '0'.repeat(40)]));
    say('unknown', shown(await outcome(() => r.evalSha('0'.repeat(40)))));
    say('defined', await r.square(7), await r.square(8));
    say('error', shown(await outcome(() => r.eval("return redis.error_reply('MINE own words')"))));
  }

  async errors(r) {
    say('type', shown(await outcome(() => r.lPush('n', 'x'))));
    say('unknown', shown(await outcome(() => r.sendCommand(['NOSUCH', 'a']))));
    say('arguments', shown(await outcome(() => r.sendCommand(['GET']))));
    say('after', await r.get('n'));
  }

  async large(r) {
    const big = Buffer.alloc(1_500_000, Buffer.from('\r\n$-1\r\n\0\xff', 'latin1'));
    say('large', await r.set('big', big), await r.strLen('big'), await r.withTypeMapping(BYTES).get('big'));
    await r.rPush('many', Array.from({ length: 5000 }, (_, n) => `item ${n}`));
    say('many', (await r.lRange('many', 0, -1)).join());
  }

  async databases(r) {
    const other = await this.connect({ database: 3 });
    say('third', await other.set('where', 'three'), await r.get('where'), await other.move('where', 0), await r.get('where'), await other.flushDb());
    say('select', await other.select(0), await other.get('where'));
    await other.close();
  }

  async blocking(r) {
    const other = await this.connect();
    await r.rPush('ready', 'at once');
    say('at once', await other.blPop(['ready', 'later'], 5));
    const waiting = other.blPop(['ready', 'later'], 20);
    await r.rPush('later', 'then');
    say('then', await waiting);
    say('too long', await other.brPop('never', 0.05), await other.bzPopMin('never', 0.05));
    await other.close();
  }

  async pubSub(r) {
    const other = await this.connect();
    let wake;
    let heard = [];
    const listen = (message, channel) => { heard.push([channel, message]); if (heard.length === 2) wake(); };
    await other.subscribe('news', listen);
    await other.pSubscribe('n*', listen);
    for (const payload of ['first ü', 'second']) {
      heard = [];
      const both = new Promise((resolve) => { wake = resolve; });
      say('receivers', await r.publish('news', payload));
      await both;
      say('heard', heard);
    }
    say('nobody', await r.publish('empty', 'x'));
    await other.unsubscribe('news');
    await other.pUnsubscribe('n*');
    say('usable', await other.get('n'));
    await other.close();
  }

  async pool() {
    const pool = redis.createClientPool(this.options, { minimum: 1, maximum: this.form.pool || 2 });
    await pool.connect();
    say('pool', await Promise.all([0, 1, 2, 3].map((n) => pool.set(`pool:${n}`, String(n)))));
    say('each', await Promise.all([0, 1, 2, 3].map((n) => pool.get(`pool:${3 - n}`))));
    say('task', await pool.execute((one) => one.incr('pool:0')));
    await pool.close();
  }

  async changed(r) {
    const error = await outcome(() => r.set('a', 'never recorded'));
    sayChanged(error, error.message.split(' ')[0], (await r.ping()) === 'PONG');
  }
}

function plainMessage({ id, message }) {
  return [id, { ...message }];
}

function shown(error) {
  return { is: error.constructor.name, message: error.message };
}

module.exports = (form) => new Program(form).run();
