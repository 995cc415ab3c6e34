// The notes service on Node: express, a pg pool, ioredis.
'use strict';

const { Readable } = require('node:stream');
const express = require('express');
const Redis = require('ioredis');
const { Pool } = require('pg');

const BUG = process.env.NOTES_BUG || '';
const ORDER = BUG === 'order' ? 'ASC' : 'DESC';

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
const redis = new Redis(process.env.REDIS_URL);
const app = express();

const LIST = {
  name: 'list-notes',
  text: `SELECT id, author, title, body, created_at FROM notes
         WHERE author = $1 ORDER BY id ${ORDER} LIMIT $2`,
};

function toNote(row) {
  return {
    id: Number(row.id),
    author: row.author,
    title: BUG === 'title' ? row.title.toUpperCase() : row.title,
    body: row.body,
    created_at: row.created_at,
  };
}

async function insertNote({ author, title, body }) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const { rows } = await client.query(
      'INSERT INTO notes (author, title, body) VALUES ($1, $2, $3) RETURNING id, created_at',
      [author, title, body],
    );
    if (BUG !== 'history') {
      const text = "INSERT INTO history (note_id, action) VALUES ($1, 'created')";
      await client.query(text, [rows[0].id]);
    }
    await client.query('COMMIT');
    return toNote({ author, title, body, ...rows[0] });
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

app.get('/health', (request, response) => {
  response.json({ status: 'ok' });
});

app.post('/notes', express.json(), async (request, response) => {
  if (!request.body.title) {
    response.status(422).json({ error: 'title is required' });
    return;
  }
  const note = await insertNote(request.body);
  await Promise.all([
    redis.set(`note:${note.id}`, JSON.stringify(note)),
    redis.incr(`notes:count:${note.author}`),
  ]);
  response.status(201).location(`/notes/${note.id}`).json(note);
});

app.get('/notes/:id', async (request, response) => {
  const key = `note:${request.params.id}`;
  const cached = await redis.get(key);
  if (cached !== null) {
    response.set('X-Cache', 'hit').json(JSON.parse(cached));
    return;
  }
  const { rows } = await pool.query(
    'SELECT id, author, title, body, created_at FROM notes WHERE id = $1',
    [request.params.id],
  );
  response.set('X-Cache', 'miss');
  if (rows.length === 0) {
    response.status(404).json({ error: 'no such note' });
    return;
  }
  const note = toNote(rows[0]);
  await redis.set(key, JSON.stringify(note), 'EX', 60);
  response.json(note);
});

app.get('/notes', async (request, response) => {
  const values = [request.query.author, Number(request.query.limit || 10)];
  const { rows } = await pool.query({ ...LIST, values });
  response.json(rows.map(toNote));
});

app.delete('/notes/:id', async (request, response) => {
  const deleted = await pool.query('DELETE FROM notes WHERE id = $1', [request.params.id]);
  await redis.del(`note:${request.params.id}`);
  if (deleted.rowCount === 0) {
    response.status(404).json({ error: 'no such note' });
    return;
  }
  response.status(204).end();
});

app.post('/echo', express.raw({ type: () => true, limit: '10mb' }), (request, response) => {
  response.set('Content-Type', request.get('Content-Type') || 'application/octet-stream');
  response.end(request.body);
});

app.get('/report', async (request, response) => {
  const { rows } = await pool.query('SELECT generate_series(1, $1::int) AS number', [
    Math.min(Number(request.query.rows || 10), 2000),
  ]);
  response.type('text/plain');
  Readable.from(rows.map((row) => `row ${row.number}\n`)).pipe(response);
});

app.use('/files', express.static(process.env.FILES_DIR));

const server = app.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit(0)));
