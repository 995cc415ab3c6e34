// postgres.js: prepared and not, pipelined, transactions, cursors, COPY, LISTEN.
'use strict';

const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const postgres = require('postgres');
const { ERRORS, TRANSACTIONS, TYPES, literal } = require('./statements');
const { say, sayChanged, outcome } = require('./say');

// How each form makes the same calls.
const FORMS = {
  plain: { options: {} },
  unprepared: { options: { prepare: false } },
  single: { options: { max_pipeline: 1 } },
  pooled: { options: {}, pool: 4 },
  simple: { options: {}, isSimple: true },
  changed: { options: {}, isChanged: true },
};

class Program {
  constructor(form) {
    this.form = FORMS[form];
    this.parameters = {};
    this.sql = this.connect(1);
  }

  connect(max) {
    return postgres({
      max,
      ...this.form.options,
      connection: { application_name: 'conformance' },
      onnotice: (notice) => say('notice', notice),
      onparameter: (name, value) => { this.parameters[name] = value; },
    });
  }

  /** One call, in the form's way. */
  async query(text, values) {
    const call = this.sql.unsafe(text, values || [], { prepare: this.form.options.prepare !== false && Boolean(values) });
    return shown(await outcome(() => (this.form.isSimple && !values ? call.simple() : call)));
  }

  async run() {
    await this.sql`SELECT 1`;
    say('parameters', this.parameters);
    for (const section of ['schema', 'types', 'prepared', 'pipelined', 'cursor', 'transactions',
      'errors', 'notices', 'notifications', 'large', 'odd', 'copies']) {
      say(`== ${section}`, '');
      await this[section](this.sql);
    }
    say('== pool', '');
    await this.pool();
    if (this.form.isChanged) await this.changed(this.sql);
    await this.sql.end();
  }

  async schema() {
    for (const text of [
      'DROP TABLE IF EXISTS people',
      'CREATE TABLE people (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, age int CHECK (age >= 0), mood mood, seen timestamptz)',
    ]) say(text, await this.query(text));
  }

  async types(sql) {
    for (const [type, value] of TYPES) {
      if (['json', 'jsonb'].includes(type)) continue;
      say(type, await this.query(`SELECT $1::${type} AS value, $1::${type} IS NULL AS missing`, [value]));
    }
    say('json', shown(await sql`SELECT ${sql.json({ a: [1, 'ü'] })}::jsonb AS value`));
    say('all', await this.query(`SELECT ${TYPES.map(([type, value], n) => `${literal(value)}::${type} AS c${n}`).join(', ')}`));
    say('raw', (await sql`SELECT 1 AS a, ${'b'}::text AS b`.raw()));
    say('values', (await sql`SELECT 1 AS a, 2 AS a`.values()));
    const described = await sql`SELECT id, name, ${1}::int AS one FROM people`.describe();
    say('described', described.types, described.columns);
  }

  async prepared(sql) {
    const seen = new Date(Date.UTC(2024, 5, 6, 7, 8, 9, 10));
    for (const [name, age, mood] of [['Ann', 30, 'happy'], ['Bob', null, null], ['Çem', 0, 'sad']]) {
      say('add', shown(await sql`INSERT INTO people ${sql({ name, age, mood, seen })} RETURNING *`));
    }
    for (const age of [0, 20, 99, 0]) say('find', shown(await sql`SELECT id, name, age, mood::text FROM people WHERE age >= ${age} ORDER BY id`));
    say('several rows', shown(await sql`INSERT INTO people ${sql([{ name: 'Dag', age: 1 }, { name: 'Ebi', age: 2 }])}`));
    say('in', shown(await sql`SELECT name FROM people WHERE name IN ${sql(['Ann', 'Dag'])} ORDER BY name`));
    say('no row', shown(await sql`UPDATE people SET age = age + 1 WHERE id = ${-1}`));
    say('many', shown(await sql`UPDATE people SET age = age + 1`));
  }

  async pipelined(sql) {
    const calls = [1, 2, 3, 0, 5, 6].map((n) => outcome(() => sql`SELECT ${n}::int AS n, 6 / ${n}::int AS q`));
    say('together', (await Promise.all(calls)).map(shown));
    const each = [];
    await sql`SELECT n FROM generate_series(1, 5) AS n`.forEach((row) => each.push(row));
    say('each', each);
  }

  async cursor(sql) {
    const seen = [];
    await sql`SELECT n, n * n AS square FROM generate_series(1, ${10}::int) AS n`.cursor(4, (rows) => { seen.push([...rows]); });
    say('pieces', seen);
    const first = [];
    for await (const rows of sql`SELECT n FROM generate_series(1, 100) AS n`.cursor(3)) {
      first.push([...rows]);
      if (first.length === 2) break;
    }
    say('left early', first);
    say('failing', fieldsOf(await outcome(() => sql`SELECT 10 / (5 - n) AS q FROM generate_series(1, 9) AS n`.cursor(2, () => {}))));
  }

  async transactions(sql) {
    const add = (one, name) => one`INSERT INTO people (name) VALUES (${name})`;
    say('begin', await sql.begin(async (one) => {
      await add(one, 'Dora');
      const failed = await outcome(() => one.savepoint((two) => add(two, 'Dora')));
      await one.savepoint('named', (two) => add(two, 'Fay'));
      return [fieldsOf(failed), shown(await one`SELECT count(*) FROM people`)];
    }));
    say('rolled back', fieldsOf(await outcome(() => sql.begin('read only', (one) => add(one, 'Guy')))));
    say('several', (await sql.begin((one) => [one`SELECT 1 AS a`, one`SELECT 2 AS b`])).map(shown));
    const kept = await sql.reserve();
    for (const [text, values] of TRANSACTIONS) {
      say(text, shown(await outcome(() => kept.unsafe(text.replace('people', 'people /* again */'), values || []))));
    }
    kept.release();
  }

  async errors() {
    for (const [text, values] of ERRORS) say(text, await this.query(text, values));
    say('after', await this.query('SELECT $1::text AS alive', ['yes']));
  }

  async notices() {
    await this.query("DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'three'; END $$");
    await this.query('DROP TABLE IF EXISTS nothing_there');
  }

  async notifications(sql) {
    const heard = [];
    let wake;
    const listening = await sql.listen('news', (payload) => { heard.push(payload); wake(); });
    for (const payload of ['first ü', 'second']) {
      const next = new Promise((resolve) => { wake = resolve; });
      await sql.notify('news', payload);
      await next;
    }
    say('heard', heard);
    await listening.unlisten();
  }

  async large() {
    say('text', await this.query('SELECT $1::text AS text, length($1) AS size', ['kebpf ü '.repeat(150_000)]));
    const bytes = Buffer.alloc(1_500_000, Buffer.from([0, 1, 2, 253, 254, 255]));
    say('bytes', await this.query('SELECT $1::bytea AS bytes', [bytes]));
    say('rows', JSON.stringify(await this.query("SELECT n, repeat('x', n % 50) AS x FROM generate_series(1, 5000) AS n")));
  }

  async odd(sql) {
    say('empty', await this.query(''));
    say('comment', await this.query('-- nothing'));
    say('several', (await sql`SELECT 1 AS a; SELECT 'b' AS b, 2 AS c; UPDATE people SET age = 1 WHERE id < 0`.simple()).map(shown));
    say('several, one fails', fieldsOf(await outcome(() => sql`SELECT 1 AS a; SELECT 1 / 0; SELECT 2`.simple())));
    say('no column', await this.query('SELECT FROM people'));
  }

  async copies(sql) {
    await sql.begin(async (one) => {
      await one`CREATE TEMP TABLE goods (id int, name text)`;
      await pipeline(Readable.from(['1\tone\n2\t', 'tw\\to\n', '3\t\\N\n']), await one`COPY goods FROM STDIN`.writable());
      const chunks = [];
      for await (const chunk of await one`COPY goods TO STDOUT WITH (FORMAT csv, HEADER, NULL 'none')`.readable()) chunks.push(chunk);
      say('copied', Buffer.concat(chunks).toString());
      say('counted', shown(await one`SELECT count(*) FROM goods`));
    });
  }

  async pool() {
    const sql = this.connect(this.form.pool || 2);
    const calls = [1, 2, 3, 4, 5, 6].map((n) => sql`SELECT ${n}::int * 2 AS twice`);
    say('twice', (await Promise.all(calls)).map(shown));
    say('again', shown(await sql`DROP TABLE people`));
    await sql.end();
  }

  async changed(sql) {
    const error = await outcome(() => sql`SELECT ${7}::int * 2 AS twice`);
    const again = await outcome(() => sql`SELECT 1`);
    sayChanged(error, error.code, again.length === 1);
  }
}

function shown(result) {
  if (result instanceof Error) return fieldsOf(result);
  if (Array.isArray(result) && Array.isArray(result[0]) && result.columns === undefined) return result.map(shown);
  return {
    command: result.command,
    count: result.count,
    columns: result.columns && result.columns.map((one) => [one.name, one.type, one.table, one.number]),
    rows: [...result],
  };
}

/** Without what the library adds of the query, of which it makes up the name. */
function fieldsOf(error) {
  const { name, message, severity, code, detail, hint, position, where, schema_name, table_name, column_name, constraint_name } = error;
  return { is: error.constructor.name, name, message: message.replace(/statement "\w*"/, 'statement'), severity, code, detail, hint, position, where, schema_name, table_name, column_name, constraint_name };
}

module.exports = (form) => new Program(form).run();
