// Prints what a program sees as JSON lines that are the same each time.
'use strict';

const crypto = require('node:crypto');

const LONG = 200;

function plain(value) {
  if (value === undefined) return '<undefined>';
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value;
    return `<number ${Object.is(value, -0) ? '-0' : value}>`;
  }
  if (typeof value === 'bigint') return `<bigint ${value}>`;
  if (typeof value === 'string') return shorten(value, 'string', Buffer.from(value));
  if (value instanceof Date) return `<date ${value.toISOString()}>`;
  if (value instanceof Uint8Array) return shorten(Buffer.from(value).toString('hex'), 'bytes', value);
  if (value instanceof Error) return plainError(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return { map: [...value].map(plain) };
  if (value instanceof Set) return { set: [...value].map(plain) };
  const name = value.constructor && value.constructor !== Object ? value.constructor.name : null;
  const fields = Object.entries(value).map(([key, one]) => [key, plain(one)]);
  return name ? { '<class>': name, ...Object.fromEntries(fields) } : Object.fromEntries(fields);
}

function shorten(text, kind, bytes) {
  if (text.length <= LONG) return text;
  const digest = crypto.createHash('sha256').update(bytes).digest('hex');
  return `<${kind} of ${bytes.length}, sha256 ${digest}>`;
}

function plainError(error) {
  const fields = Object.entries(error).filter(([key]) => key !== 'stack');
  return {
    '<error>': error.constructor.name,
    name: error.name,
    message: error.message,
    ...Object.fromEntries(fields.map(([key, one]) => [key, plain(one)])),
  };
}

function say(step, ...values) {
  process.stdout.write(`${JSON.stringify({ [step]: values.length === 1 ? plain(values[0]) : values.map(plain) })}\n`);
}

/** What a call gives, or the error it fails with. */
async function outcome(call) {
  try {
    return await call();
  } catch (error) {
    return error;
  }
}

/** The last line of the form `changed`: what a call that was not recorded fails with. */
function sayChanged(error, code, usable) {
  process.stdout.write(`${JSON.stringify({ changed: error.constructor.name, code, usable })}\n`);
}

module.exports = { say, sayChanged, outcome };
