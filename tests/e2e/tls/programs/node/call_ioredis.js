// ioredis: one connection for all.
'use strict';

const fs = require('node:fs');
const Redis = require('ioredis');

const redis = new Redis(process.env.REDIS_URL, {
  tls: { ca: fs.readFileSync(process.env.CA_FILE) },
});

module.exports = {
  keep: (number, note) => redis.set(`note:${number}`, note),
  recall: (number) => redis.get(`note:${number}`),
};
