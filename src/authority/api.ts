import { createHash, timingSafeEqual } from 'node:crypto'
import { type Context, Hono } from 'hono'
import type { Actor } from '../core/command.ts'
import type { AskId, RunId } from '../core/id.ts'
import type { Refusal } from '../core/reason.ts'
import type { Result } from '../core/result.ts'
import { toSnapshot } from '../core/snapshot.ts'
import type { Authority } from './authority.ts'
import type { Pinning } from './pinning.ts'

/** Bodies of this API are a reason or a hash. */
const BODY_BYTES_MAX = 64 * 1024
/** A hash as people write it, or bare. */
const HASH = /^(?:sha256:)?([0-9a-f]{64})$/
/** Runs in one answer. */
const RUNS_MAX = 500

export interface ApiOptions {
  readonly authority: Authority
  readonly operatorToken: string
  /** Who the operator's token stands for. */
  readonly operator: string
  /** Health of servers, store and clock, for `doctor`. */
  readonly status: () => Promise<Record<string, unknown>> | Record<string, unknown>
  readonly catalog: () => Record<string, unknown>
  readonly pinning: Pick<Pinning, 'look' | 'pin'>
}

/**
 * The operator's API on loopback: what the CLI uses from a second terminal. Only the operator's
 * token opens it; a badge of an agent is refused like any other stranger.
 */
export function createApi(options: ApiOptions): Hono {
  const { authority } = options
  const app = new Hono()
  app.use('*', async (c, next) => {
    if (!isOperator(c.req.header('authorization'), options.operatorToken)) {
      return problem(c, 401, 'unauthorized', 'the operator token is missing or wrong')
    }
    if (Number(c.req.header('content-length') ?? 0) > BODY_BYTES_MAX) {
      return problem(c, 413, 'too_large', `a body has at most ${BODY_BYTES_MAX} bytes`)
    }
    await next()
  })
  const by = (c: Context): Actor => ({ person: personOf(c, options.operator), via: 'terminal' })

  app.get('/v1/status', async (c) => c.json(await options.status()))
  app.get('/v1/catalog', (c) => c.json(options.catalog()))
  definitions(app, options.pinning)
  app.get('/v1/runs', async (c) => {
    const trees = await authority.list({ open: c.req.query('all') === undefined, limit: RUNS_MAX })
    return c.json({ trees: trees.map(toSnapshot) })
  })
  app.get('/v1/runs/:run', async (c) => {
    const found = await authority.find(c.req.param('run') as RunId)
    if (found === null) return unknownRun(c)
    const hash = found.run.lease?.promptHash
    const prompt = hash === undefined ? null : await authority.prompt(hash)
    return c.json({ tree: toSnapshot(found.tree), run: found.run.id, prompt })
  })
  app.get('/v1/runs/:run/entries', async (c) => {
    const found = await authority.find(c.req.param('run') as RunId)
    if (found === null) return unknownRun(c)
    return c.json({ entries: await authority.entries(found.key) })
  })
  app.get('/v1/runs/:run/receipt', async (c) => {
    const found = await authority.find(c.req.param('run') as RunId)
    if (found === null) return unknownRun(c)
    const receipt = await authority.receipt(found.key)
    if (receipt === null) {
      return problem(c, 409, 'tree_not_ended', 'the run has not ended; its receipt comes then')
    }
    return c.json(receipt)
  })
  changes(app, authority, by)
  app.notFound((c) => problem(c, 404, 'not_found', 'no such page of the API'))
  app.onError((_, c) => problem(c, 500, 'internal', 'the request failed; nothing was changed'))
  return app
}

/** What servers present, and the acceptance of exactly what a person saw. */
function definitions(app: Hono, pinning: ApiOptions['pinning']): void {
  const unknown = (c: Context) =>
    problem(c, 404, 'tool_unknown', 'no server presents that tool now')
  app.get('/v1/catalog/:server/:tool', (c) => {
    const presented = pinning.look(c.req.param('server'), c.req.param('tool'))
    return presented === null ? unknown(c) : c.json(presented)
  })
  app.post('/v1/catalog/:server/:tool/pin', async (c) => {
    const hash = HASH.exec(text((await bodyOf(c)).hash) ?? '')?.[1]
    if (hash === undefined) {
      return problem(c, 400, 'malformed', '`hash` must be the SHA-256 of the definition seen')
    }
    const pinned = pinning.pin(c.req.param('server'), c.req.param('tool'), hash)
    if (pinned.ok) return c.json({ definition: hash })
    if (pinned.error.code === 'tool_unknown') return unknown(c)
    const now = `the server presents another definition now: sha256:${pinned.error.presented}`
    return problem(c, 409, pinned.error.code, now)
  })
}

/** What a person says about a run or an ask. */
function changes(app: Hono, authority: Authority, who: (c: Context) => Actor): void {
  app.post('/v1/runs/:run/:verb', async (c) => {
    const run = c.req.param('run') as RunId
    const body = await bodyOf(c)
    const by = who(c)
    const reason = text(body.reason) ?? 'no reason given'
    switch (c.req.param('verb')) {
      case 'approve':
        return answer(
          c,
          await authority.approve(run, { by, promptHash: text(body.promptHash) ?? '' }),
        )
      case 'refuse':
        return answer(c, await authority.refuse(run, { by, reason }))
      case 'revoke':
        return answer(c, await authority.revoke(run, { by, reason }))
      case 'suspend':
        return answer(c, await authority.command(run, { do: 'suspend', run, by, reason }))
      case 'resume':
        return answer(c, await authority.command(run, { do: 'resume', run, by }))
      default:
        return problem(c, 404, 'not_found', 'approve, refuse, revoke, suspend or resume')
    }
  })
  app.post('/v1/runs/:run/asks/:ask/:verb', async (c) => {
    const run = c.req.param('run') as RunId
    const ask = c.req.param('ask') as AskId
    const body = await bodyOf(c)
    const by = who(c)
    if (c.req.param('verb') === 'refuse') {
      const reason = text(body.reason) ?? 'no reason given'
      return answer(c, await authority.command(run, { do: 'refuse_call', ask, by, reason }))
    }
    if (c.req.param('verb') !== 'approve') return problem(c, 404, 'not_found', 'approve or refuse')
    const binding = text(body.binding) ?? ''
    const command = { do: 'approve_call', ask, by, binding, proof: null } as const
    return answer(c, await authority.command(run, command))
  })
}

/** Longer names are not names of people. */
const PERSON_CHARACTERS_MAX = 320

/**
 * Who speaks. The token proves the operating system's user, who may go by another name in a second
 * terminal; in a local installation that name is taken on their word, as the first one was.
 */
function personOf(c: Context, operator: string): string {
  const given = c.req.header('daypass-person')
  if (given === undefined || given.length > PERSON_CHARACTERS_MAX) return operator
  try {
    return decodeURIComponent(given) || operator
  } catch {
    return operator
  }
}

async function bodyOf(c: Context): Promise<Record<string, unknown>> {
  try {
    const body: unknown = await c.req.json()
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function answer(c: Context, result: Result<void, Refusal>): Response {
  if (result.ok) return c.json({ done: true })
  return problem(
    c,
    result.error.code === 'run_unknown' ? 404 : 409,
    result.error.code,
    result.error.message,
  )
}

function unknownRun(c: Context): Response {
  return problem(c, 404, 'run_unknown', `no run ${c.req.param('run')} here`)
}

/** RFC 9457 problem details. */
function problem(
  c: Context,
  status: 400 | 401 | 404 | 409 | 413 | 500,
  code: string,
  detail: string,
) {
  return c.json({ type: `urn:daypass:${code}`, title: code, status, detail }, status, {
    'content-type': 'application/problem+json',
  })
}

/** Compares digests, so that the time taken says nothing about the token (threat 52). */
function isOperator(header: string | undefined, token: string): boolean {
  const given = header?.startsWith('Bearer ') ? header.slice('Bearer '.length) : ''
  const digest = (value: string) => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(given), digest(token))
}
