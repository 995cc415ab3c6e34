// What the PostgreSQL programs ask of the server.
'use strict';

const TYPES = [
  ['int2', -32768], ['int4', 2147483647], ['int8', '9223372036854775807'],
  ['numeric', '-12345678901234567890.0123456789'], ['numeric', 'NaN'],
  ['float4', 1.5], ['float8', 0.1], ['float8', '-Infinity'], ['bool', true],
  ['text', 'grüße, 世界 🌍\n"quoted" \\ \''], ['varchar(12)', 'short'], ['char(4)', 'ab'],
  ['bytea', Buffer.from([0, 1, 127, 128, 255])], ['json', '{"a": [1, 2.50, null]}'],
  ['jsonb', '{"b": {"c": "ü"}, "a": 1}'], ['uuid', '0b50a8ad-4c4e-4c59-9b4e-0a5b53a4a0f0'],
  ['date', '2024-02-29'], ['time', '12:34:56.789'], ['timetz', '12:34:56+02'],
  ['timestamp', '2024-02-29 12:34:56.123456'], ['timestamptz', '2024-02-29 12:34:56.123456+05:30'],
  ['interval', '1 year 2 mons 3 days 04:05:06.789'], ['int4[]', [1, null, 3]],
  ['text[]', ['a', 'b,"c"', null, 'NULL', '']], ['int4range', '[1,10)'],
  ['tstzrange', '[2024-01-01 00:00:00+00,)'], ['mood', 'happy'], ['inet', '192.168.0.1/24'],
  ['macaddr', '08:00:2b:01:02:03'], ['bit(5)', '10110'], ['money', '$12.34'], ['point', '(1.5,-2)'],
  ['xml', '<a>b</a>'], ['tsvector', "'cat':1 'fat':2"], ['oid', 4000000000], ['int8', null],
];

const add = 'INSERT INTO people (name) VALUES ($1)';
const TRANSACTIONS = [
  ['BEGIN'], [add, ['Dora']], ['SAVEPOINT one'], [add, ['Dora']], [add, ['Eve']],
  ['ROLLBACK TO SAVEPOINT one'], [add, ['Fay']], ['RELEASE SAVEPOINT one'], ['COMMIT'],
  ['BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY'], ['SHOW transaction_isolation'], [add, ['Guy']],
  ['SELECT 1 AS one'], ['COMMIT'], ['ROLLBACK'], ['START TRANSACTION'], [add, ['Hal']], ['ROLLBACK'],
  ['SELECT name FROM people ORDER BY id'], ['SET search_path = pg_catalog, public'],
  ['SHOW search_path'], ['RESET search_path'], ['SHOW search_path'], ['ROLLBACK TO nowhere'],
];

const ERRORS = [
  ['SELEKT 1'], ['SELECT * FROM nowhere'], ['SELECT nothing FROM people'], ['SELECT 1 / 0'],
  ['INSERT INTO people (name) VALUES ($1)', ['Ann']], ['INSERT INTO people (name, age) VALUES ($1, $2)', ['Ida', -1]],
  ['INSERT INTO people (age) VALUES ($1)', [1]], ['SELECT $1::int', ['many']], ['SELECT $1::int, $2::int', [1]],
  ['SELECT missing($1)', [1]], ["DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'KB123', DETAIL = 'more', HINT = 'less', TABLE = 't', COLUMN = 'c'; END $$"],
  ['SELECT n, 10 / (3 - n) FROM generate_series(1, 5) AS n'],
];

/** A value of `TYPES` in SQL. */
function literal(value) {
  if (value === null) return 'NULL';
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
  if (Array.isArray(value)) {
    const items = value.map((one) => (one === null ? 'NULL' : `"${String(one).replace(/["\\]/g, '\\$&')}"`));
    return `'{${items.join(',')}}'`;
  }
  return `'${String(value).replace(/'/g, "''").replace(/\n/g, ' ')}'`;
}

module.exports = { ERRORS, TRANSACTIONS, TYPES, literal };
