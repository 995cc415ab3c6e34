// undici: request, fetch, stream, pipelining, pools, compression, redirects, bodies of all kinds.
'use strict';

const { Readable, Writable } = require('node:stream');
const zlib = require('node:zlib');
const undici = require('undici');
const { say, sayChanged, outcome } = require('./say');

// How each form makes the same calls.
const FORMS = {
  plain: { agent: { connections: 1 } },
  pipelined: { agent: { connections: 1, pipelining: 5 } },
  pooled: { agent: { connections: 8 } },
  closing: { agent: { connections: 1 }, isClosing: true },
  changed: { agent: { connections: 1 }, isChanged: true },
};
const KEPT = ['content-type', 'content-length', 'content-encoding', 'transfer-encoding', 'location',
  'etag', 'content-range', 'set-cookie', 'server', 'date'];

class Program {
  constructor(form) {
    this.form = FORMS[form];
    this.base = `http://${process.env.HTTP_HOST}:${process.env.HTTP_PORT}`;
    this.agent = new undici.Pool(this.base, this.form.agent);
  }

  request(path, options) {
    return undici.request(`${this.base}${path}`, { dispatcher: this.agent, reset: this.form.isClosing, ...options });
  }

  fetch(path, options) {
    return undici.fetch(`${this.base}${path}`, { dispatcher: this.agent, ...options });
  }

  async run() {
    for (const section of ['plain', 'methods', 'bodies', 'framing', 'ranges', 'redirects', 'statuses', 'fetches', 'together']) {
      say(`== ${section}`, '');
      await this[section]();
    }
    if (this.form.isChanged) await this.changed();
    await this.agent.close();
  }

  async plain() {
    const { statusCode, headers, body, trailers } = await this.request('/json?a=1&b=%C3%BC&c=', { headers: { 'x-custom': 'yes' } });
    say('json', statusCode, kept(headers), await body.json(), trailers);
    say('text', ...await whole(await this.request('/text')));
    say('empty', ...await whole(await this.request('/empty')));
  }

  async methods() {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const body = ['GET', 'OPTIONS', 'DELETE'].includes(method) ? undefined : `${method} ü`;
      say(method, ...await whole(await this.request(`/echo/${method}?q=a%20b`, { method, body })));
    }
    say('HEAD', ...await whole(await this.request('/text', { method: 'HEAD' })));
  }

  async bodies() {
    const post = async (body, headers) => whole(await this.request('/echo', { method: 'POST', body, headers }));
    say('json', ...await post(JSON.stringify({ a: ['ü'] }), { 'content-type': 'application/json' }));
    say('bytes', ...await post(Buffer.from([0, 255, 13, 10, 0])));
    say('form', ...await post(new URLSearchParams({ a: '1 2', b: 'ü' }).toString(), { 'content-type': 'application/x-www-form-urlencoded' }));
    say('large', ...await post(Buffer.alloc(1_500_000, 'kebpf ')));
    say('chunked', ...await post(Readable.from(['first ', 'second ', 'third'])));
    say('empty', ...await post(''));
  }

  async framing() {
    say('chunked', ...await whole(await this.request('/chunked')));
    const { headers, body } = await this.request('/gzip', { headers: { 'accept-encoding': 'gzip' } });
    say('gzip', kept(headers), zlib.gunzipSync(Buffer.from(await body.arrayBuffer())).toString());
    say('big', ...await whole(await this.request('/big')));
    say('until the end', ...await whole(await this.request('/close')));
    const chunks = [];
    await undici.stream(`${this.base}/text`, { dispatcher: this.agent, method: 'GET' }, () => new Writable({
      write(chunk, _, done) { chunks.push(chunk); done(); },
    }));
    say('stream', Buffer.concat(chunks).toString());
  }

  async ranges() {
    for (const range of ['bytes=0-9', 'bytes=1500000-', 'bytes=-5']) {
      say(range, ...await whole(await this.request('/big', { headers: { range } })));
    }
    say('not modified', ...await whole(await this.request('/big', { headers: { 'if-none-match': '"big-1"' } })));
  }

  async redirects() {
    say('not followed', ...await whole(await this.request('/redirect/1')));
    const response = await this.fetch('/redirect/3');
    say('followed', response.status, response.redirected, new URL(response.url).pathname, await response.json());
    const manual = await this.fetch('/redirect/1', { redirect: 'manual' });
    say('manual', manual.status, manual.headers.get('location'));
  }

  async statuses() {
    for (const status of [201, 400, 404, 418, 500, 503]) say(String(status), ...await whole(await this.request(`/status/${status}`)));
    const error = await outcome(() => undici.request(`${this.base}/status/404`, { dispatcher: this.agent.compose(undici.interceptors.responseError()) }));
    say('raised', error.constructor.name, error.statusCode);
  }

  async fetches() {
    const response = await this.fetch('/json', { headers: { 'x-custom': 'fetched' } });
    say('json', response.status, response.ok, [...response.headers].filter(([name]) => KEPT.includes(name)), await response.json());
    const form = await this.fetch('/echo', { method: 'POST', body: new URLSearchParams({ a: 'ü' }) });
    say('form', await form.json());
    say('cookies', (await this.fetch('/cookies')).headers.getSetCookie());
    say('gzip', await (await this.fetch('/gzip')).text());
    say('big', Buffer.from(await (await this.fetch('/big')).arrayBuffer()));
    say('error', (await this.fetch('/status/503')).ok);
  }

  async together() {
    const calls = Array.from({ length: 12 }, async (_, n) => {
      const { body } = await this.request(`/echo/${n}`);
      return (await body.json()).path;
    });
    say('paths', await Promise.all(calls));
  }

  async changed() {
    const dispatcher = this.agent.compose(undici.interceptors.responseError());
    const error = await outcome(() => undici.request(`${this.base}/echo`, { dispatcher, method: 'POST', body: 'other' }));
    sayChanged(error, error.statusCode, (await this.request('/text')).statusCode === 200);
  }
}

function kept(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => KEPT.includes(name)));
}

async function whole({ statusCode, headers, body, trailers }) {
  return [statusCode, kept(headers), Buffer.from(await body.arrayBuffer()).toString('latin1'), trailers];
}

module.exports = (form) => new Program(form).run();
