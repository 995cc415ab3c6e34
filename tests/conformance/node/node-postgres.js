// node-postgres: simple, with parameters, named statements, pools, cursors, COPY.
'use strict';

const { once } = require('node:events');
const { pipeline } = require('node:stream/promises');
const { Readable, Writable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const { ERRORS, TRANSACTIONS, TYPES, literal } = require('./statements');
const { say, sayChanged, outcome } = require('./say');

// How each form makes the same calls.
const FORMS = {
  plain: { pool: 2 },
  named: { pool: 2, isNamed: true },
  warm: { pool: 2, isNamed: true, warmUp: 2 },
  extended: { pool: 2, isExtended: true },
  pooled: { pool: 5 },
  changed: { pool: 2, isChanged: true },
};

class Program {
  constructor(form) {
    this.form = FORMS[form];
    this.names = new Map();
  }

  /** One call, in the form's way. */
  async query(client, text, values) {
    const config = { text, values };
    if (this.form.isExtended) config.queryMode = 'extended';
    if (this.form.isNamed && values) config.name = this.nameOf(text);
    const result = await outcome(() => client.query(config));
    return result;
  }

  nameOf(text) {
    if (!this.names.has(text)) this.names.set(text, `statement-${this.names.size}`);
    return this.names.get(text);
  }

  async run() {
    const client = new Client({ application_name: 'conformance' });
    const parameters = {};
    client.connection.on('parameterStatus', (one) => { parameters[one.parameterName] = one.parameterValue; });
    client.on('notice', (one) => say('notice', fieldsOf(one)));
    await client.connect();
    await this.query(client, 'SELECT 1');
    say('parameters', parameters);
    for (const section of ['schema', 'types', 'prepared', 'cursor', 'transactions', 'errors',
      'notices', 'notifications', 'large', 'odd', 'copies']) {
      say(`== ${section}`);
      await this[section](client);
    }
    say('== pool');
    await this.pool();
    if (this.form.isChanged) await this.changed(client);
    await client.end();
  }

  async changed(client) {
    const error = await outcome(() => client.query('SELECT $1::int * 2 AS twice', [7]));
    const again = await client.query('SELECT 1 AS one');
    sayChanged(error, error.code, again.rows[0].one === 1);
  }

  async schema(client) {
    for (const text of [
      'DROP TABLE IF EXISTS people',
      'CREATE TABLE people (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, age int CHECK (age >= 0), mood mood, seen timestamptz)',
    ]) say(text, shown(await this.query(client, text)));
  }

  async types(client) {
    for (const [type, value] of TYPES) {
      const text = `SELECT $1::${type} AS value, $1::${type} IS NULL AS missing`;
      say(type, shown(await this.query(client, text, [value])));
    }
    const all = `SELECT ${TYPES.map(([type, value], n) => `${literal(value)}::${type} AS c${n}`).join(', ')}`;
    say('all', shown(await this.query(client, all)));
    const rows = await client.query({ text: 'SELECT 1 AS a, 2 AS a, NULL AS b', rowMode: 'array' });
    say('array mode', shown(rows));
    const binary = await client.query({ text: 'SELECT $1::int4 AS a, $2::text AS b, $3::bool AS c', values: [7, 'ü', false], binary: true });
    say('binary', shown(binary));
  }

  async prepared(client) {
    const add = 'INSERT INTO people (name, age, mood, seen) VALUES ($1, $2, $3, $4) RETURNING *';
    const find = 'SELECT id, name, age, mood::text FROM people WHERE age >= $1 ORDER BY id';
    const seen = new Date(Date.UTC(2024, 5, 6, 7, 8, 9, 10));
    for (const [name, age, mood] of [['Ann', 30, 'happy'], ['Bob', null, null], ['Çem', 0, 'sad']]) {
      say('add', shown(await this.query(client, add, [name, age, mood, seen])));
    }
    for (const age of [0, 20, 99, 0]) say('find', age, shown(await this.query(client, find, [age])));
    if (this.form.warmUp) {
      for (let n = 0; n < this.form.warmUp; n++) await this.query(client, 'SELECT $1::int + 1 AS next', [1]);
    }
    say('next', shown(await this.query(client, 'SELECT $1::int + 1 AS next', [1])));
    say('no row', shown(await this.query(client, 'UPDATE people SET age = age + 1 WHERE id = $1', [-1])));
    say('many', shown(await this.query(client, 'UPDATE people SET age = age + 1')));
  }

  async cursor(client) {
    const cursor = client.query(new Cursor('SELECT n, n * n AS square FROM generate_series(1, $1::int) AS n', [10]));
    for (const count of [4, 4, 4, 4]) say('read', await cursor.read(count));
    await cursor.close();
    const early = client.query(new Cursor('SELECT n FROM generate_series(1, 100) AS n', []));
    say('first', await early.read(3));
    await early.close();
    const failing = client.query(new Cursor('SELECT 10 / (5 - n) AS q FROM generate_series(1, 9) AS n', []));
    say('before', await failing.read(2));
    say('failing', fieldsOf(await outcome(() => failing.read(10))));
    await client.query('BEGIN');
    say('declare', shown(await this.query(client, 'DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 7) AS n')));
    for (let n = 0; n < 4; n++) say('fetch', shown(await this.query(client, 'FETCH 3 FROM c')));
    say('close', shown(await this.query(client, 'CLOSE c')));
    say('commit', shown(await this.query(client, 'COMMIT')));
  }

  async transactions(client) {
    for (const [text, values] of TRANSACTIONS) say(text, shown(await this.query(client, text, values)));
  }

  async errors(client) {
    for (const [text, values] of ERRORS) say(text, shown(await this.query(client, text, values)));
    say('after', shown(await this.query(client, 'SELECT $1::text AS alive', ['yes'])));
    const bad = new Client({ database: 'nowhere' });
    say('no database', fieldsOf(await outcome(() => bad.connect())));
  }

  async notices(client) {
    await this.query(client, "DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'three'; END $$");
    await this.query(client, 'DROP TABLE IF EXISTS nothing_there');
    await this.query(client, 'SET client_min_messages = error');
    await this.query(client, 'DROP TABLE IF EXISTS nothing_there');
    await this.query(client, 'RESET client_min_messages');
  }

  async notifications(client) {
    const other = new Client();
    await other.connect();
    await other.query('LISTEN news');
    const heard = once(other, 'notification');
    await client.query("NOTIFY news, 'first ü'");
    const [first] = await heard;
    say('heard', first.channel, first.payload);
    const next = once(other, 'notification');
    await client.query('SELECT pg_notify($1, $2)', ['news', 'second']);
    const [second] = await next;
    say('heard', second.channel, second.payload);
    await other.query('UNLISTEN news');
    await other.end();
  }

  async large(client) {
    const text = 'kebpf ü '.repeat(150_000);
    say('text', shown(await this.query(client, 'SELECT $1::text AS text, length($1) AS size', [text])));
    const bytes = Buffer.alloc(1_500_000, Buffer.from([0, 1, 2, 253, 254, 255]));
    say('bytes', shown(await this.query(client, 'SELECT $1::bytea AS bytes', [bytes])));
    const rows = await client.query("SELECT n, repeat('x', n % 50) AS x FROM generate_series(1, 5000) AS n");
    say('rows', rows.rowCount, JSON.stringify(rows.rows));
  }

  async odd(client) {
    say('empty', shown(await this.query(client, '')));
    say('comment', shown(await this.query(client, '-- nothing')));
    say('semicolons', shown(await outcome(() => client.query(';;'))));
    say('several', shown(await outcome(() => client.query("SELECT 1 AS a; SELECT 'b' AS b, 2 AS c; UPDATE people SET age = 1 WHERE id < 0"))));
    say('several, one fails', shown(await outcome(() => client.query('SELECT 1 AS a; SELECT 1 / 0; SELECT 2'))));
    say('no column', shown(await this.query(client, 'SELECT FROM people')));
    const together = ['SELECT 1 AS a', 'SELECT 2 AS b', 'SELECT 3 / 0', 'SELECT 4 AS d'].map((text) => this.query(client, text));
    say('queued', (await Promise.all(together)).map(shown));
  }

  async copies(client) {
    await this.query(client, 'CREATE TEMP TABLE goods (id int, name text)');
    const into = client.query(copy.from('COPY goods FROM STDIN'));
    await pipeline(Readable.from(['1\tone\n2\t', 'tw\\to\n', '3\t\\N\n']), into);
    say('copied in', into.rowCount);
    const bad = await outcome(() => pipeline(Readable.from(['x\ty\n']), client.query(copy.from('COPY goods FROM STDIN'))));
    say('bad data', fieldsOf(bad));
    const out = client.query(copy.to("COPY goods TO STDOUT WITH (FORMAT csv, HEADER, NULL 'none')"));
    const chunks = [];
    await pipeline(out, new Writable({ write(chunk, _, done) { chunks.push(chunk); done(); } }));
    say('copied out', out.rowCount, Buffer.concat(chunks).toString());
    say('after', shown(await this.query(client, 'SELECT count(*) FROM goods')));
  }

  async pool() {
    const pool = new Pool({ max: this.form.pool });
    const text = 'SELECT $1::int * 2 AS twice';
    const calls = [1, 2, 3, 4, 5, 6].map((n) => this.query(pool, text, [n]));
    say('twice', (await Promise.all(calls)).map(shown));
    const client = await pool.connect();
    say('held', shown(await this.query(client, 'SELECT count(*) AS many FROM people')));
    client.release();
    say('again', shown(await this.query(pool, 'DROP TABLE people')));
    await pool.end();
  }
}

function shown(result) {
  if (result instanceof Error) return fieldsOf(result);
  if (Array.isArray(result)) return result.map(shown);
  return {
    command: result.command,
    count: result.rowCount,
    fields: result.fields.map((one) => [one.name, one.tableID, one.columnID, one.dataTypeID, one.dataTypeSize, one.dataTypeModifier, one.format]),
    rows: result.rows,
  };
}

/** Without the place in the server's source where it says which messages a client sent. */
function fieldsOf(error) {
  const { name, message, ...others } = error;
  if (others.code === '25P02') delete others.routine;
  if (others.code === '25P02') delete others.line;
  delete others.length;
  return { is: error.constructor.name, name, message, ...others };
}

module.exports = (form) => new Program(form).run();
