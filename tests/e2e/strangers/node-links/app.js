// A link shortener: slugs by nanoid, rows by UUIDv7, visitors by a random cookie.
import { createHash, randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import Redis from 'ioredis'
import { customAlphabet, nanoid } from 'nanoid'
import pg from 'pg'
import { v4 as uuidv4, v7 as uuidv7 } from 'uuid'

const CACHE_SIZE = 200
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 6 })
const redis = new Redis(process.env.REDIS_URL)
const makeSlug = customAlphabet('23456789abcdefghjkmnpqrstuvwxyz', 10)
const app = Fastify({ logger: { level: 'info' }, genReqId: () => nanoid() })

class Lru {
  #items = new Map()
  get (key) {
    if (!this.#items.has(key)) return undefined
    const value = this.#items.get(key)
    this.#items.delete(key)
    this.#items.set(key, value)
    return value
  }

  set (key, value) {
    this.#items.set(key, value)
    if (this.#items.size > CACHE_SIZE) this.#items.delete(this.#items.keys().next().value)
  }

  delete (key) { this.#items.delete(key) }
}
const keys = new Lru()

const transact = async (work) => {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

app.addHook('onSend', async (request, reply) => { reply.header('x-request-id', request.id) })

app.get('/health', async () => ({ up: true }))

app.post('/keys', async (request, reply) => {
  const key = `lk_${randomBytes(24).toString('base64url')}`
  const digest = createHash('sha256').update(key).digest('hex')
  await redis.hset('keys', digest, JSON.stringify({ owner: request.body.owner, issued: Date.now() }))
  reply.code(201)
  return { key, owner: request.body.owner }
})

const authenticate = async (request, reply) => {
  const given = (request.headers.authorization ?? '').replace('Bearer ', '')
  const digest = createHash('sha256').update(given).digest('hex')
  let known = keys.get(digest)
  if (!known) {
    known = JSON.parse(await redis.hget('keys', digest))
    if (!known) return reply.code(401).send({ error: 'unknown key' })
    keys.set(digest, known)
  }
  request.owner = known.owner
}

app.post('/links', { preHandler: authenticate }, async (request, reply) => {
  const { url, tags = [] } = request.body
  const link = { id: uuidv7(), slug: makeSlug(), url, owner: request.owner, tags, created: Date.now() }
  await transact(async (client) => {
    await client.query(
      'INSERT INTO links (id, slug, url, owner, tags, meta, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)',
      [link.id, link.slug, url, request.owner, tags, { agent: request.id, v: 1 }, link.created])
    const { rows } = await client.query('SELECT count(*)::int AS n FROM links WHERE owner = $1', [request.owner])
    link.count = rows[0].n
  })
  await redis.multi().set(`slug:${link.slug}`, url, 'EX', 600).zadd(`recent:${request.owner}`, link.created, link.slug).exec()
  request.log.info({ slug: link.slug }, 'made')
  reply.code(201).header('location', `/${link.slug}`)
  return link
})

app.get('/links', { preHandler: authenticate }, async (request) => {
  const { rows } = await pool.query({
    name: 'list-links',
    text: 'SELECT id, slug, url, tags, meta, created_ms FROM links WHERE owner = $1 ORDER BY created_ms, id',
    values: [request.owner]
  })
  return { links: rows, now: Date.now() }
})

app.get('/links/:slug/stats', { preHandler: authenticate }, async (request, reply) => {
  const { rows: [link] } = await pool.query('SELECT * FROM links WHERE slug = $1 AND owner = $2', [request.params.slug, request.owner])
  if (!link) return reply.code(404).send({ error: 'no such link' })
  const [perReferrer, last, live] = await Promise.all([
    pool.query('SELECT coalesce(referrer, \'direct\') AS referrer, count(*)::int AS n FROM clicks WHERE link_id = $1 GROUP BY 1 ORDER BY 1', [link.id]),
    pool.query('SELECT id, visitor, at FROM clicks WHERE link_id = $1 ORDER BY at DESC LIMIT 3', [link.id]),
    redis.pfcount(`visitors:${link.slug}`)
  ])
  return { slug: link.slug, clicks: Object.fromEntries(perReferrer.rows.map((row) => [row.referrer, row.n])), last: last.rows, visitors: live }
})

app.delete('/links/:slug', { preHandler: authenticate }, async (request, reply) => {
  const { slug } = request.params
  await transact(async (client) => {
    await client.query('DELETE FROM clicks USING links WHERE links.id = clicks.link_id AND slug = $1', [slug])
    await client.query('DELETE FROM links WHERE slug = $1 AND owner = $2', [slug, request.owner])
  })
  await redis.pipeline().del(`slug:${slug}`, `visitors:${slug}`).zrem(`recent:${request.owner}`, slug).exec()
  reply.code(204)
})

app.get('/:slug', async (request, reply) => {
  const { slug } = request.params
  const url = await redis.get(`slug:${slug}`)
  if (!url) return reply.code(404).send({ error: 'no such link' })
  const visitor = /visitor=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? uuidv4()
  const { rows: [link] } = await pool.query('SELECT id FROM links WHERE slug = $1', [slug])
  await pool.query('INSERT INTO clicks (id, link_id, referrer, visitor, at) VALUES ($1, $2, $3, $4, $5)',
    [uuidv7(), link.id, request.headers.referer ?? null, visitor, new Date()])
  await redis.pfadd(`visitors:${slug}`, visitor)
  reply.header('set-cookie', `visitor=${visitor}; Max-Age=31536000; HttpOnly`)
  return reply.redirect(url, 302)
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
process.on('SIGTERM', async () => {
  await app.close()
  process.exit(0)
})
