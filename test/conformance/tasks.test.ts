import { afterAll, beforeAll, expect, test } from 'vitest'
import { MAINTAINER } from '../runs/support.ts'
import { type Fixture, startFixture } from './fixture.ts'
import { type Badged, startThrough, type Through } from './gateway.ts'

/** Tasks (SEP-2663) behind the real door: each belongs to a call, and the call to a run. */

let fixture: Fixture
let gateway: Through
beforeAll(async () => {
  fixture = await startFixture()
  gateway = await startThrough(fixture)
})
afterAll(async () => {
  await gateway.close()
  await fixture.close()
})

const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} }, elicitation: { form: {} } }

interface Answer {
  readonly result?: Record<string, unknown>
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
}

async function send({ badge }: Badged, method: string, params: object, can: object = TASKS) {
  const { name, taskId } = params as { name?: string; taskId?: string }
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': can,
  }
  const response = await fetch(gateway.url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${badge}`,
      'content-type': 'application/json',
      accept: 'application/json',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      'mcp-name': name ?? taskId ?? '',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: meta } }),
  })
  return (await response.json()) as Answer
}

async function start(badged: Badged, name: string, args: object = {}): Promise<string> {
  const { result } = await send(badged, 'tools/call', { name, arguments: args })
  expect(result).toMatchObject({ resultType: 'task', taskId: expect.stringMatching(/^task_/) })
  return result!.taskId as string
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`never happened: ${what}`)
}

async function outcomes({ run }: Badged): Promise<(string | null)[]> {
  const found = await gateway.daypass.authority.find(run)
  return [...found!.tree.calls.values()].map(({ outcome }) => outcome)
}

const slow = { seconds: 60, label: 'x' }

test('a call is what its task has come to, once its client has seen it', async () => {
  const opened = await gateway.open()
  const fine = await start(opened, 'slow_compute', { seconds: 0, label: 'quick' })
  const bad = await start(opened, 'failing_job')
  await until(async () => (await outcomes(opened)).every((o) => o === 'deferred'), 'both go on')
  for (const taskId of [fine, bad]) {
    await until(async () => {
      const { result } = await send(opened, 'tasks/get', { taskId })
      expect(result).toMatchObject({ taskId })
      return result!.status === 'completed'
    }, 'it has ended')
  }
  const isSettled = async () => String(await outcomes(opened)) === 'succeeded,failed'
  await until(isSettled, 'both are settled')
  // Looking again changes nothing and costs nothing.
  await send(opened, 'tasks/get', { taskId: fine })
  expect(await outcomes(opened)).toEqual(['succeeded', 'failed'])
  const found = await gateway.daypass.authority.find(opened.run)
  expect(found!.run.lease!.spent.calls).toBe(2)
})

test('input for a task is recorded as a round of its call, and says which server asks', async () => {
  const opened = await gateway.open()
  const taskId = await start(opened, 'confirm_delete', { filename: 'a.txt' })
  let asked: Record<string, { params: { message: string } }> = {}
  await until(async () => {
    const { result } = await send(opened, 'tasks/get', { taskId })
    asked = (result!.inputRequests ?? {}) as typeof asked
    return result!.status === 'input_required'
  }, 'it asks')
  const [key = ''] = Object.keys(asked)
  expect(asked[key]!.params.message).toBe('[from server fixture, not from Daypass] Delete a.txt?')
  const inputResponses = { [key]: { action: 'accept', content: { confirm: true } } }
  expect((await send(opened, 'tasks/update', { taskId, inputResponses })).error).toBeUndefined()
  const found = await gateway.daypass.authority.find(opened.run)
  const rounds = 'call.allowed call.settled call.resumed call.settled'
  await until(async () => {
    const entries = await gateway.daypass.authority.entries(found!.key)
    const calls = entries.map(({ type }) => type).filter((type) => type.startsWith('call.'))
    return calls.join(' ') === rounds
  }, rounds)
})

test('threat 26: a task of another run does not exist, and neither does an upstream’s own id', async () => {
  const [mine, other] = [await gateway.open(), await gateway.open()]
  const taskId = await start(mine, 'slow_compute', slow)
  const before = fixture.world.tasks.count('cancelled')
  for (const method of ['tasks/get', 'tasks/update', 'tasks/cancel']) {
    for (const id of [taskId, 'task_unknown', '', '__proto__']) {
      const { error } = await send(other, method, { taskId: id, inputResponses: {} })
      expect(error, `${method} ${id}`).toMatchObject({ code: -32602 })
    }
  }
  expect(fixture.world.tasks.count('cancelled')).toBe(before)
  expect((await send(mine, 'tasks/get', { taskId })).result).toMatchObject({ status: 'working' })
  expect((await send(mine, 'tasks/cancel', { taskId })).error).toBeUndefined()
  expect(fixture.world.tasks.count('cancelled')).toBe(before + 1)
})

test('the end of the lease cancels its tasks, and shows no more of them', async () => {
  const opened = await gateway.open()
  const taskId = await start(opened, 'slow_compute', slow)
  const before = fixture.world.tasks.count('cancelled')
  await gateway.daypass.authority.revoke(opened.run, { by: MAINTAINER, reason: 'enough' })
  await until(() => fixture.world.tasks.count('cancelled') === before + 1, 'it is cancelled')
  const { error } = await send(opened, 'tasks/get', { taskId })
  expect(error).toMatchObject({ data: { decision: 'deny' } })
  const update = await send(opened, 'tasks/update', { taskId, inputResponses: {} })
  expect(update.error).toMatchObject({ data: { decision: 'deny' } })
})

test('a client that does not declare tasks gets none, and no word about them', async () => {
  const opened = await gateway.open()
  const { result } = await send(
    opened,
    'tools/call',
    { name: 'slow_compute', arguments: { seconds: 0, label: 'x' } },
    {},
  )
  expect(result).toMatchObject({ resultType: 'complete' })
  const { error } = await send(opened, 'tasks/get', { taskId: 'task_x' }, {})
  expect(error).toMatchObject({ code: -32021, data: { requiredCapabilities: expect.anything() } })
})
