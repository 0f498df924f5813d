import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { createLog } from '../../src/authority/log.ts'
import { readinessOf } from '../../src/authority/readiness.ts'
import { withFaults } from '../../src/store/faults.ts'
import {
  type House,
  type HouseOptions,
  MAINTAINER,
  openHouse,
  read,
  shopTerms,
  until,
} from '../door/support/house.ts'

let house: House
let lines: string[] = []
afterEach(() => house[Symbol.asyncDispose]())

/** A house that serves as `daypass serve` does, and keeps its log. */
async function served(options: HouseOptions = {}): Promise<House> {
  lines = []
  house = await openHouse({
    ...options,
    serve: {
      log: (hide) =>
        createLog({ format: 'json', write: (line) => lines.push(line), clock: Date.now, hide }),
    },
  })
  return house
}

async function slowCall(ms: number) {
  const opened = await house.open()
  const client = await house.client(opened.badge)
  const args = { repo: 'clord', key: `slow-${ms}`, ms }
  const answer = client.callTool({ name: 'shop.slow', arguments: args })
  await until(() => house.shop.working.has(`slow-${ms}`), 'the upstream works on it')
  const outcomes = async () => {
    const entries = await house.entries(opened)
    return entries.flatMap((e) => (e.type === 'call.settled' ? [e.command.outcome] : []))
  }
  return { opened, client, answer, outcomes }
}

describe('at the end', () => {
  test('a call in flight settles, a new one is not let in, and nothing is lost', async () => {
    await served()
    const { client, answer, outcomes, opened } = await slowCall(800)
    const drained = house.daypass.drain(20_000)
    const late = client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
    await expect(late).rejects.toThrow('This gateway is stopping. Nothing was run')
    expect(await drained).toBe(0)
    expect((await answer).isError).not.toBe(true)
    await until(async () => (await outcomes()).length === 1, 'the outcome is recorded')
    expect(await outcomes()).toEqual(['succeeded'])
    expect((await house.run(opened)).lease!.spent.calls).toBe(1)
    expect(house.shop.calls.map(({ tool }) => tool)).toEqual(['slow'])
  })

  test('what does not settle in time is counted, and recorded as unknown', async () => {
    await served()
    const { answer, opened } = await slowCall(30_000)
    const failed = answer.catch((error: Error) => error)
    expect(await house.daypass.drain(100)).toBe(1)
    await house.restart()
    const entries = await house.entries(opened)
    const settled = entries.flatMap((e) => (e.type === 'call.settled' ? [e.command.outcome] : []))
    expect(settled).toEqual(['unknown'])
    await failed
  })

  test('a person can still answer, and probes see that it stops', async () => {
    await served()
    const url = house.daypass.localUrl
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    await house.daypass.drain(0)
    expect((await fetch(`${url}/readyz`)).status).toBe(503)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    expect((await house.api('GET', '/v1/status')).status).toBe(200)
  })
})

describe('readiness', () => {
  test('is lost when the store does not keep what it is given', async () => {
    let broken = false
    await served({
      aroundStore: (store) =>
        withFaults(store, {
          before: () => {
            if (broken) throw new Error('EIO')
          },
        }),
    })
    const { readiness } = house.daypass
    expect(await readiness()).toMatchObject({ ready: true, store: 'ok', keys: 'ok' })
    broken = true
    await until(async () => (await readiness()).store === 'failing', 'the next look sees it')
    expect((await readiness()).ready).toBe(false)
    broken = false
  })

  test('looks once however many ask, and sees keys that do not sign', async () => {
    await served()
    let beats = 0
    const { keys, upstreams } = house.daypass
    const store = {
      beat: async () => {
        beats++
      },
    }
    const shared = { store, executor: 'exec_x', upstreams, clock: () => 0 }
    const look = readinessOf({ ...shared, keys })
    await Promise.all([look(), look(), look()])
    expect(beats).toBe(1)
    const noKeys = { signing: { privateKey: {} as never } }
    expect(await readinessOf({ ...shared, keys: noKeys })()).toMatchObject({
      ready: false,
      keys: 'failing',
    })
  })
})

test('the public URL is the one that clients are told', async () => {
  await served({
    config: { server: { url: 'https://daypass.example', listen: '127.0.0.1:0' } },
    unpinned: true,
  })
  const { url, localUrl } = house.daypass
  expect(url).toBe('https://daypass.example')
  expect(localUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  const metadata = '/.well-known/oauth-protected-resource/mcp'
  expect(await (await fetch(`${localUrl}${metadata}`)).json()).toMatchObject({
    resource: 'https://daypass.example/mcp',
  })
})

test('threat 71: one requester cannot put a thousand prompts before people', async () => {
  await served({ config: { limits: { prompts: 3 } }, unpinned: true })
  const { authority } = house.daypass
  const open = (requester: string, policy: string | null = null) => {
    const terms = shopTerms()
    const { agent, purpose } = terms
    return authority.open({
      terms,
      prompt: (run) => ({ ...PROMPT, run, terms }),
      envelope: { requester, agent, purpose, client: null },
      rule: { policy, approvers: null, self: true, answerSeconds: 300 },
    })
  }
  const asked: boolean[] = []
  for (let i = 0; i < 1_000; i++) asked.push((await open(MAINTAINER.person)).ok)
  expect(asked.filter((ok) => ok)).toHaveLength(3)
  expect(await open(MAINTAINER.person)).toMatchObject({ error: { code: 'too_many_requests' } })
  expect((await open(MAINTAINER.person, 'read_only')).ok).toBe(true)
  expect((await open('other@clord.example')).ok).toBe(true)
})

const PROMPT = { version: 1, title: '', byline: '', glance: [], sections: [] } as const

test('threat 78: a secret of an upstream is in no log, error, answer, receipt or file', async () => {
  const canary = 'canary-9d41c0ffee'
  const script = `process.stderr.write('bad token ' + process.env.TOKEN + '\\n'); process.exit(9)`
  const broken = { command: [process.execPath, '-e', script], env: { TOKEN: 'env:HOUSE_CANARY' } }
  process.env.HOUSE_CANARY = canary
  await served({ moreServers: { broken } })
  delete process.env.HOUSE_CANARY
  const health = () => house.daypass.upstreams.health().broken!
  await until(() => health().state === 'failed', 'the server fails')
  // It did say the secret, so that there is something to hide.
  expect(JSON.stringify(health())).toContain(canary)
  const opened = await house.open()
  const client = await house.client(opened.badge)
  const done = await client.callTool({ name: 'shop.read', arguments: { repo: 'clord' } })
  const denied = await client.callTool({ name: 'broken.anything', arguments: {} }).catch(String)
  const said = [JSON.stringify([read(done), denied])]
  for (const path of [
    '/v1/status',
    '/v1/runs',
    '/v1/catalog',
    `/v1/runs/${opened.run}`,
    '/readyz',
  ]) {
    said.push(await (await house.api('GET', path)).text())
  }
  await house.daypass.authority.end(opened.run, { by: MAINTAINER, note: 'done' })
  said.push(JSON.stringify(await house.daypass.authority.close(opened)), ...lines)
  for (const name of readdirSync(join(house.folder, '.daypass'), { recursive: true })) {
    const file = join(house.folder, '.daypass', String(name))
    if (statSync(file).isFile()) said.push(readFileSync(file, 'latin1'))
  }
  expect(said.filter((text) => text.includes(canary))).toEqual([])
  expect(said.join()).toContain('[secret]')
})
