import { hash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { PeopleConfig } from '../../../src/authority/config.ts'
import { freshKeys } from '../../../src/authority/keys.ts'
import { cookieOf } from '../../../src/authority/people/cookies.ts'
import { csrfWith } from '../../../src/authority/people/csrf.ts'
import { createPeople } from '../../../src/authority/people/people.ts'
import { Sessions } from '../../../src/authority/people/sessions.ts'
import { Secret } from '../../../src/authority/secret.ts'
import type { BadgeReader } from '../../../src/badge/reader.ts'
import { openMemory } from '../../../src/store/memory.ts'
import { openSqlite } from '../../../src/store/sqlite.ts'
import { INSTALLATION, type Store, StoreError } from '../../../src/store/store.ts'

const URL_OF_ALL = 'https://daypass.example'
const SAM = { org: 'acme', person: 'sam@clord.example', roles: new Set(['approver'] as const) }
const MINUTE = 60_000

const over: (() => unknown)[] = []
afterEach(async () => {
  for (const end of over.splice(0)) await end()
})

function openSessions(store: Store, rules = 'today') {
  let now = 1_800_000_000_000
  const cookie = cookieOf('daypass', URL_OF_ALL)
  const sessions = new Sessions({ store, cookie, clock: () => now, rules })
  return {
    sessions,
    pass: (ms: number) => {
      now += ms
    },
  }
}

/** What the browser sends after a `Set-Cookie`. */
function sent(setCookie: string): Headers {
  return new Headers({ cookie: setCookie.split(';', 1)[0]! })
}

describe('the cookie', () => {
  test('over https belongs to this host alone', () => {
    const cookie = cookieOf('daypass', URL_OF_ALL)
    expect(cookie.set('x', 60)).toBe(
      '__Host-daypass=x; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax',
    )
    expect(cookie.clear()).toMatch(/^__Host-daypass=; Max-Age=0; Path=\/;/)
    // One without the prefix can come from another host of the domain.
    expect(cookie.read(new Headers({ cookie: 'daypass=x' }))).toBeNull()
    expect(cookie.read(new Headers({ cookie: 'a=1; __Host-daypass=y; b=2' }))).toBe('y')
  })

  test('of two servers on one machine are two', () => {
    const [one, two] = [1001, 1002].map((port) => cookieOf('daypass', `http://127.0.0.1:${port}`))
    expect(two!.read(sent(one!.set('x')))).toBeNull()
    expect(one!.read(sent(one!.set('x')))).toBe('x')
  })
})

describe('a session in the store', () => {
  test('is there after a restart, and the file opens nothing to who reads it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'daypass-sessions-'))
    over.push(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'daypass.db')
    const first = await openSqlite({ file, rollback: 'refuse' })
    const cookie = await openSessions(first).sessions.start(SAM, new Headers())
    await first.close()
    const secret = cookie.split(';', 1)[0]!.split('=')[1]!
    expect(secret).toHaveLength(43)
    expect(readFileSync(file).includes(secret)).toBe(false)
    expect(readFileSync(file).includes(hash('sha256', secret, 'base64url'))).toBe(true)
    const second = await openSqlite({ file, rollback: 'refuse' })
    over.push(() => second.close())
    const { sessions } = openSessions(second)
    expect(await sessions.of(sent(cookie))).toMatchObject(SAM)
    const digest = new Headers({ cookie: `__Host-daypass=${hash('sha256', secret, 'base64url')}` })
    expect(await sessions.of(digest)).toBeNull()
  })

  test('is none once other rules say who may do what', async () => {
    const store = openMemory()
    const cookie = await openSessions(store).sessions.start(SAM, new Headers())
    expect(await openSessions(store, 'tomorrow').sessions.of(sent(cookie))).toBeNull()
    expect(await openSessions(store).sessions.of(sent(cookie))).toMatchObject(SAM)
  })

  test.each([
    ['who gets which role', { roles: { claim: 'groups', map: { admin: ['leads'] } } }],
    ['whose somebody is', { org: { claim: 'tenant', map: { 'T-1': 'acme' } } }],
    ['what names people', { personClaim: 'sub' }],
    ['who says so', { issuer: 'https://other.example' }],
    ['that there is a provider at all', null],
  ])('is over when the configuration changes: %s', async (_, change) => {
    const store = openMemory()
    const keys = freshKeys(0)
    const badges = {} as BadgeReader
    const operator = { token: 'x', person: 'mira@clord.example', org: 'local' }
    const team: PeopleConfig = {
      ...{ issuer: 'https://idp.example', clientId: 'daypass', clientSecret: new Secret('s') },
      ...{ personClaim: 'email', org: null },
      roles: { claim: 'groups', map: { approver: ['leads'] } },
    }
    const open = (config: PeopleConfig | null) =>
      createPeople({
        ...{ store, keys, badges, operator, config, url: URL_OF_ALL, clock: Date.now },
        machineOf: async () => null,
      }).sessions
    const cookie = await open(team).start(SAM, new Headers())
    expect(await open({ ...team }).of(sent(cookie))).toMatchObject(SAM)
    expect(await open(change && { ...team, ...change }).of(sent(cookie))).toBeNull()
  })

  test('has only roles that there are', async () => {
    const store = openMemory()
    const { sessions } = openSessions(store)
    const odd = new Set(['approver', 'root'] as unknown as 'approver'[])
    const cookie = await sessions.start({ ...SAM, roles: odd }, new Headers())
    expect((await sessions.of(sent(cookie)))!.roles).toEqual(new Set(['approver']))
  })

  test('that has ended does not come back by a request that has just read it', async () => {
    const memory = openMemory()
    let between = async (): Promise<void> => {}
    const store = new Proxy(memory, {
      get: (of, name) => {
        if (name !== 'getArtifact') return Reflect.get(of, name).bind(of)
        return async (...key: Parameters<Store['getArtifact']>) => {
          const found = await of.getArtifact(...key)
          await between()
          return found
        }
      },
    })
    const { sessions, pass } = openSessions(store)
    const cookie = await sessions.start(SAM, new Headers())
    pass(5 * MINUTE)
    between = async () => {
      between = async () => {}
      await sessions.end(sent(cookie))
    }
    await sessions.of(sent(cookie))
    expect(await sessions.of(sent(cookie))).toBeNull()
  })

  test('is read without a write, most of the time', async () => {
    const store = openMemory()
    const { sessions, pass } = openSessions(store)
    const cookie = await sessions.start(SAM, new Headers())
    const { writes } = store.counters()
    for (let i = 0; i < 100; i++) await sessions.of(sent(cookie))
    expect(store.counters().writes).toBe(writes)
    pass(MINUTE)
    for (let i = 0; i < 100; i++) await sessions.of(sent(cookie))
    expect(store.counters().writes).toBe(writes + 1)
  })

  test('that cannot be read is no session: the request fails', async () => {
    const store = openMemory()
    const { sessions } = openSessions(store)
    const cookie = await sessions.start(SAM, new Headers())
    await store.close()
    await expect(sessions.of(sent(cookie))).rejects.toThrow(StoreError)
  })

  test('is swept when it is over', async () => {
    const store = openMemory()
    const { sessions } = openSessions(store)
    const id = hash(
      'sha256',
      sent(await sessions.start(SAM, new Headers()))
        .get('cookie')!
        .split('=')[1]!,
      'base64url',
    )
    const key = { org: INSTALLATION, kind: 'session', id }
    await store.sweep(1_800_000_000_000)
    expect(await store.getArtifact(key)).not.toBeNull()
    await store.sweep(1_800_000_000_000 + 120 * MINUTE)
    expect(await store.getArtifact(key)).toBeNull()
  })
})

describe('threat 73: a token in a form', () => {
  const csrf = csrfWith(Buffer.alloc(32, 7))
  const token = csrf.token({ id: 'session' }, 'approve run_1')

  test('is good for its session and purpose', () => {
    expect(csrf.isValid(token, { id: 'session' }, 'approve run_1')).toBe(true)
  })

  test.each([
    ['another session', { id: 'other' }, 'approve run_1'],
    ['another purpose', { id: 'session' }, 'approve run_2'],
    ['the two, cut elsewhere', { id: 'session","approve' }, 'run_1'],
  ])('is none for %s', (_, session, purpose) => {
    expect(csrf.isValid(token, session, purpose)).toBe(false)
  })

  test('is compared whole', () => {
    const session = { id: 'session' }
    for (const other of [undefined, null, '', token.slice(0, -1), `${token}AAAA`, [token], 1]) {
      expect(csrf.isValid(other, session, 'approve run_1')).toBe(false)
    }
    expect(csrfWith(Buffer.alloc(32, 8)).isValid(token, session, 'approve run_1')).toBe(false)
  })
})
