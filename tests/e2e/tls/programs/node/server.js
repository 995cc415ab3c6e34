// HTTP, or HTTPS that calls nobody; each request has the caller named on the command line make
// two calls.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');

const BUG = process.env.TLS_BUG || '';
const ZERO = BUG === 'field' ? '0' : '';

async function readBody(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function respond(response, text) {
  response.setHeader('Content-Type', 'text/plain');
  response.end(text);
}

async function ask(caller, number, note) {
  if (BUG !== 'drop') await caller.keep(number, BUG === 'argument' ? `${note}!` : note);
  return caller.recall(number);
}

function reverse(number, note) {
  return [...note].reverse().join('');
}

function serve(answer) {
  return async (request, response) => {
    const note = await readBody(request);
    const number = Number(request.url.split('/').pop());
    if (request.method === 'GET') return respond(response, 'fine');
    try {
      return respond(response, `${number}${ZERO} ${await answer(number, note)}`);
    } catch (error) {
      response.statusCode = 502;
      return respond(response, `${error}`);
    }
  };
}

function createServer() {
  if (process.argv[2] === 'echo') {
    const cert = fs.readFileSync(process.env.CERT_FILE);
    const key = fs.readFileSync(process.env.KEY_FILE);
    return https.createServer({ cert, key }, serve(reverse));
  }
  const caller = require(`./call_${process.argv[2]}.js`);
  return http.createServer(serve((number, note) => ask(caller, number, note)));
}

const server = createServer();
server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
