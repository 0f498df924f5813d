import { generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt, SignJWT } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readMachines } from '../../../src/authority/oauth/machines.ts'
import type { RunId } from '../../../src/core/id.ts'
import { type House, MAINTAINER, openHouse, read } from '../../door/support/house.ts'
import { type Caller, discover, exchange, introspect, refused, revoke, token } from './support.ts'

const GRANT = 'client_credentials'
const home = mkdtempSync(join(tmpdir(), 'daypass-machines-'))
const ci = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const audit = generateKeyPairSync('ed25519')

const reading = {
  purpose: 'read the changelog',
  agent: 'ci-reader',
  actions: ['repo.read'],
  resources: { repos: ['clord'] },
  expires_in: '10m',
  max_tool_calls: 5,
  delegate: { max_depth: 1, max_children: 2, ask: false },
}
const pushing = { ...reading, purpose: 'push', actions: ['repo.read', 'repo.push'] }

let house: House
let as: oauth.AuthorizationServer
let asCi: Caller
let asOther: Caller
let asAudit: Caller
beforeAll(async () => {
  const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' })
  writeFileSync(join(home, 'ci.pem'), pem(ci.publicKey))
  const jwks = { keys: [audit.publicKey.export({ format: 'jwk' })] }
  house = await openHouse({
    config: {
      machines: [
        {
          ...{ client_id: 'ci', public_key: join(home, 'ci.pem'), roles: ['requester'] },
          templates: ['reading', 'pushing'],
        },
        {
          ...{ client_id: 'other', roles: ['requester'], templates: ['reading'] },
          jwks: { keys: [other.publicKey.export({ format: 'jwk' })] },
        },
        { client_id: 'audit', jwks, roles: ['auditor'] },
      ],
      policy: { read_only: { under: '30m' } },
    },
    templates: { reading, pushing },
  })
  as = await discover(house)
  asCi = await machine('ci', ci.privateKey, 'ES256')
  asOther = await machine('other', other.privateKey, 'ES256')
  asAudit = await machine('audit', audit.privateKey, 'Ed25519')
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  rmSync(home, { recursive: true, force: true })
})

async function machine(id: string, key: KeyObject, alg: 'ES256' | 'Ed25519'): Promise<Caller> {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  const algorithm = alg === 'ES256' ? { name: 'ECDSA', namedCurve: 'P-256' } : { name: 'Ed25519' }
  const own = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign'])
  return { client: { client_id: id }, auth: oauth.PrivateKeyJwt(own) }
}

const gateway = () => `${house.daypass.url}/mcp`
const ask = (caller: Caller, params: Record<string, string> = {}) => {
  return token(as, caller, GRANT, params)
}

function api(method: string, path: string, badge: string, body?: unknown): Promise<Response> {
  return house.api(method, path, body, badge)
}

const runIn = (badge: string) => decodeJwt(badge).run as RunId

test('the metadata says how a machine authenticates', () => {
  expect(as.grant_types_supported).toContain(GRANT)
  expect(as.token_endpoint_auth_methods_supported).toContain('private_key_jwt')
  expect(as.introspection_endpoint).toBe(`${house.daypass.url}/oauth/introspect`)
  expect(as.revocation_endpoint).toBe(`${house.daypass.url}/oauth/revoke`)
})

describe('a token for the API', () => {
  test('makes its machine a caller, with the roles of the configuration', async () => {
    const { access_token: mine, ...answer } = await ask(asCi)
    expect(answer).toMatchObject({ token_type: 'bearer', expires_in: 600 })
    expect(decodeJwt(mine)).toMatchObject({
      ...{ aud: `${house.daypass.url}/v1`, sub: 'ci', client_id: 'ci', org: 'local' },
    })
    const opened = await api('POST', '/v1/runs', mine, { template: 'reading' })
    expect(opened.status).toBe(201)
    const { run } = (await opened.json()) as { run: RunId }
    const found = await house.daypass.authority.find(run)
    expect(found!.run.envelope).toMatchObject({ requester: 'ci', agent: 'ci-reader' })
    expect((await api('GET', `/v1/runs/${run}`, mine)).status).toBe(200)
    // Another machine does not see it; one that audits does.
    const { access_token: others } = await ask(asOther)
    expect((await api('GET', `/v1/runs/${run}`, others)).status).toBe(404)
    const { access_token: auditors } = await ask(asAudit)
    expect((await api('GET', `/v1/runs/${run}`, auditors)).status).toBe(200)
  })

  test('threat 72: never approves', async () => {
    const { access_token: mine } = await ask(asCi)
    const opened = await api('POST', '/v1/runs', mine, { template: 'pushing' })
    const { run, promptHash } = (await opened.json()) as { run: RunId; promptHash: string }
    const yes = await api('POST', `/v1/runs/${run}/approve`, mine, { promptHash })
    expect(yes.status).toBe(403)
    expect((await house.daypass.authority.find(run))!.run.lease!.state).toBe('requested')
  })

  test('threat 44: opens nothing at the gateway, and a badge opens nothing as one', async () => {
    const { access_token: mine } = await ask(asCi)
    await expect(house.client(mine)).rejects.toThrow()
    const badge = await ask(asCi, { resource: gateway(), scope: 'lease:reading' })
    const opened = await api('POST', '/v1/runs', badge.access_token, { template: 'reading' })
    expect(opened.status).toBe(403)
  })

  test('bound to a key, is of use to who has it only', async () => {
    const keys = await oauth.generateKeyPair('ES256')
    const { access_token: mine, token_type: type } = await ask({ ...asCi, keys })
    expect(type).toBe('dpop')
    const get = (proven: oauth.DPoPHandle | null) =>
      oauth.protectedResourceRequest(
        ...([mine, 'GET', new URL(`${house.daypass.url}/v1/runs`), undefined, undefined] as const),
        { [oauth.allowInsecureRequests]: true, ...(proven === null ? {} : { DPoP: proven }) },
      )
    const status = async (proven: oauth.DPoPHandle | null) => {
      const answer = await get(proven).catch((error: { status: number }) => error)
      return answer.status
    }
    expect(await status(oauth.DPoP(asCi.client, keys))).toBe(200)
    expect(await status(null)).toBe(401)
    const theirs = await oauth.generateKeyPair('ES256')
    expect(await status(oauth.DPoP(asCi.client, theirs))).toBe(401)
  })
})

describe('a badge for the gateway', () => {
  test('comes at once where a policy approves', async () => {
    const answer = await ask(asCi, { resource: gateway(), scope: 'lease:reading' })
    expect(answer.authorization_details).toMatchObject([{ actions: ['repo.read'] }])
    expect(decodeJwt(answer.access_token)).toMatchObject({ sub: 'ci', client_id: 'ci' })
    const client = await house.client(answer.access_token)
    const called = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
    expect(read(called).text).toContain('read clord')
  })

  test('is narrowed by the details of the request', async () => {
    const details = [{ type: 'daypass_lease', template: 'reading', max_tool_calls: 1 }]
    const answer = await ask(asCi, { authorization_details: JSON.stringify(details) })
    const { run } = (await house.daypass.authority.find(runIn(answer.access_token)))!
    expect(run.lease!.terms).toMatchObject({ maxToolCalls: 1, labels: { template: 'reading' } })
  })

  test('needs no template named by a machine that has but one', async () => {
    const answer = await ask(asOther, { resource: gateway() })
    expect(answer.authorization_details).toMatchObject([{ purpose: 'read the changelog' }])
    expect((await refused(ask(asCi, { resource: gateway() }))).error).toBe('invalid_scope')
  })

  test('waits for a person where none does', async () => {
    const pending = ask(asCi, { scope: 'lease:pushing' })
    const waiting = async () => {
      const trees = await house.daypass.authority.list({ open: true, limit: 50 })
      const runs = trees.flatMap(({ runs }) => [...runs.values()])
      return runs.filter(
        ({ envelope, lease }) => envelope.requester === 'ci' && lease?.state === 'requested',
      )
    }
    const before = new Set((await waiting()).map(({ id }) => id))
    await expect
      .poll(async () => (await waiting()).filter(({ id }) => !before.has(id)).length)
      .toBe(1)
    const run = (await waiting()).find(({ id }) => !before.has(id))!
    const { authority } = house.daypass
    const { promptHash } = run.lease!
    await authority.approve(run.id, { by: MAINTAINER, promptHash })
    const { access_token: badge } = await pending
    expect(runIn(badge)).toBe(run.id)
    // And once more, for whoever lost the answer: the same run, no other.
    const again = await ask(asCi, { run: run.id })
    expect(runIn(again.access_token)).toBe(run.id)
    expect((await refused(ask(asOther, { run: run.id }))).error).toBe('invalid_request')
  })

  test('delegates, is introspected and revoked by its machine', async () => {
    const { access_token: badge } = await ask(asCi, { scope: 'lease:reading' })
    const { delegate: _, ...less } = reading
    const lease = { ...less, max_tool_calls: 1 }
    expect((await refused(exchange(as, badge, lease))).error).toBe('invalid_request')
    const child = await exchange(as, badge, lease, { caller: asCi })
    expect(decodeJwt(child.access_token).client_id).toBe('ci')
    const state = async (caller: Caller) =>
      (await introspect(as, child.access_token, caller)).active
    expect([await state(asCi), await state(asOther), await state(asAudit)]).toEqual([
      ...[true, false, true],
    ])
    await expect(revoke(as, badge, asAudit)).rejects.toMatchObject({ error: 'unauthorized_client' })
    await revoke(as, badge, asCi)
    expect([await state(asCi), await state(asAudit)]).toEqual([false, false])
  })

  test.each([
    ['a template that it may not use', 'other', { scope: 'lease:pushing' }, 'access_denied'],
    ['a template that there is not', 'ci', { scope: 'lease:nothing' }, 'invalid_scope'],
    ['two templates', 'ci', { scope: 'lease:reading lease:pushing' }, 'invalid_scope'],
    ['another resource', 'ci', { resource: 'https://other.example/' }, 'invalid_target'],
    ['a run that is not there', 'ci', { run: 'run_none' }, 'invalid_request'],
    [
      'more than the template has',
      'ci',
      {
        authorization_details: '[{"type":"daypass_lease","template":"reading","max_tool_calls":6}]',
      },
      'invalid_authorization_details',
    ],
    [
      'a lease of its own',
      'ci',
      { authorization_details: '[{"type":"daypass_lease","purpose":"x"}]' },
      'invalid_authorization_details',
    ],
  ])('is refused with %s', async (_, who, params, error) => {
    const caller = who === 'ci' ? asCi : asOther
    expect((await refused(ask(caller, params))).error).toBe(error)
  })
})

describe('a machine', () => {
  test('with another key, or without one, is nobody', async () => {
    const impostor = await machine('ci', other.privateKey, 'ES256')
    expect((await refused(ask(impostor))).error).toBe('invalid_client')
    expect((await refused(ask({ ...asCi, auth: oauth.None() }))).error).toBe('invalid_client')
  })

  test('has tokens that end: with their time, with their key, with their machine', async () => {
    const { access_token: mine } = await ask(asCi)
    const { keys, url } = house.daypass
    const sign = (change: Record<string, unknown>) =>
      new SignJWT({ ...decodeJwt(mine), ...change })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: keys.signing.kid })
        .sign(keys.signing.privateKey)
    const status = async (change: Record<string, unknown>) =>
      (await api('GET', '/v1/runs', await sign(change))).status
    expect(await status({})).toBe(200)
    const now = Math.floor(Date.now() / 1000)
    expect(await status({ exp: now - 1 })).toBe(401)
    expect(await status({ aud: `${url}/mcp` })).toBe(401)
    expect(await status({ iss: 'https://other.example' })).toBe(401)
    expect(await status({ client_id: 'gone' })).toBe(401)
    // The machine was in another organisation when it got this.
    expect(await status({ org: 'elsewhere' })).toBe(401)
    expect(await status({ cnf: {} })).toBe(401)
  })

  test('whose key is secret or none is refused by name', () => {
    const key = (jwk: object) => ({ kind: 'jwks', jwks: { keys: [jwk] } }) as const
    const cases = [
      [key(ci.privateKey.export({ format: 'jwk' })), 'secret'],
      [key({ kty: 'oct', k: 'AAAA' }), 'secret'],
      [key({ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }), 'no JWK'],
      [{ kind: 'jwks', jwks: { keys: [] } } as const, 'no public key'],
      [{ kind: 'file', path: join(home, 'none') } as const, "can't read"],
    ] as const
    for (const [each, words] of cases) {
      const config = { clientId: 'ci', key: each, org: null, roles: [], templates: null }
      const answer = readMachines([config], 'local')
      if (answer.ok) throw new Error('was taken')
      expect(answer.error).toHaveLength(1)
      expect(answer.error[0]).toContain('the machine `ci`')
      expect(answer.error[0]).toContain(words)
    }
    const file = join(home, 'private.pem')
    writeFileSync(file, ci.privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const config = { clientId: 'ci', org: null, roles: [], templates: null }
    expect(readMachines([{ ...config, key: { kind: 'file', path: file } }], 'local').ok).toBe(false)
    writeFileSync(file, JSON.stringify({ keys: [ci.publicKey.export({ format: 'jwk' })] }))
    expect(readMachines([{ ...config, key: { kind: 'file', path: file } }], 'local').ok).toBe(true)
  })
})
