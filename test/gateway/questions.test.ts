import { describe, expect, test } from 'vitest'
import { UPSTREAM_REQUESTS } from '../../src/gateway/methods.ts'
import {
  answers,
  guardQuestion,
  guardQuestions,
  relayedCapabilities,
} from '../../src/gateway/questions.ts'

const ELICIT = 'elicitation/create'

describe('threat 35: what a server asks of a person', () => {
  test('says which server asks, before anything that the server says', () => {
    const asked = guardQuestion('crm', ELICIT, { message: 'Daypass needs your password' })
    const message = '[from server crm, not from Daypass] Daypass needs your password'
    expect(asked).toEqual({ ok: true, value: { message } })
  })

  test('has the label also where the server has no words', () => {
    for (const message of [undefined, 7, null]) {
      const asked = guardQuestion('crm', ELICIT, { message })
      expect(asked).toMatchObject({ value: { message: '[from server crm, not from Daypass] ' } })
    }
  })

  test.each([
    'http://bank.example/',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://user:word@bank.example/',
    'bank.example',
    '',
    7,
    undefined,
  ])('opens no page that is not plain https: %s', (url) => {
    expect(guardQuestion('crm', ELICIT, { mode: 'url', url, message: 'go' }).ok).toBe(false)
  })

  test('a page is one also where the mode does not say so', () => {
    expect(guardQuestion('crm', ELICIT, { url: 'http://bank.example/' }).ok).toBe(false)
    expect(guardQuestion('crm', ELICIT, { mode: 'form', url: 'http://x.example/' }).ok).toBe(false)
  })

  test('a page of https is shown', () => {
    const url = 'https://bank.example/a?b'
    const asked = guardQuestion('crm', ELICIT, { mode: 'url', url, message: 'go' })
    expect(asked).toMatchObject({ ok: true, value: { mode: 'url', url } })
  })

  test.each(['tools/call', 'initialize', 'constructor', '__proto__', '', 7, undefined])(
    'is nothing that is no question: %s',
    (method) => {
      expect(guardQuestion('crm', method, {}).ok).toBe(false)
    },
  )

  test('takes along neither a progress token nor a task nor the context of other servers', () => {
    const params = {
      messages: [],
      includeContext: 'allServers',
      task: { ttl: 1 },
      _meta: { progressToken: 5, kept: 1 },
    }
    const asked = guardQuestion('crm', 'sampling/createMessage', params)
    expect(asked).toEqual({ ok: true, value: { messages: [], _meta: { kept: 1 } } })
  })
})

describe('threat 35: questions within results', () => {
  const round = (inputRequests: unknown) => ({
    result: { resultType: 'input_required', inputRequests },
  })

  test('are labelled, each of them', () => {
    const question = { method: ELICIT, params: { message: 'hi' } }
    const reply = guardQuestions('crm', round({ a: question, b: { method: 'roots/list' } }))
    expect(reply).toMatchObject({
      result: {
        inputRequests: {
          a: { params: { message: '[from server crm, not from Daypass] hi' } },
          b: { method: 'roots/list' },
        },
      },
    })
  })

  test('of a task are labelled too', () => {
    const inputRequests = { a: { method: ELICIT, params: { message: 'hi' } } }
    const reply = guardQuestions('crm', { result: { status: 'input_required', inputRequests } })
    expect(JSON.stringify(reply)).toContain('[from server crm, not from Daypass] hi')
  })

  test.each([
    [
      'a page that is not https',
      { a: { method: ELICIT, params: { mode: 'url', url: 'http://x' } } },
    ],
    ['a method that is no question', { a: { method: 'tools/call', params: {} } }],
    ['no request', { a: 'hello' }],
    ['a list', [{ method: 'roots/list' }]],
    [
      'a flood',
      Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, { method: 'roots/list' }])),
    ],
  ])('one bad question refuses all: %s', (_what, inputRequests) => {
    const reply = guardQuestions('crm', round({ ...inputRequests }))
    const list = guardQuestions('crm', round(inputRequests))
    expect('error' in reply || 'error' in list).toBe(true)
    expect(JSON.stringify([list])).not.toContain('input_required')
  })

  test('an error that sends to a page is guarded as well', () => {
    const error = (url: string) => ({
      error: {
        code: -32042,
        message: 'sign in',
        data: { elicitations: [{ mode: 'url', elicitationId: '1', url, message: 'Sign in' }] },
      },
    })
    expect(JSON.stringify(guardQuestions('crm', error('http://bank.example')))).not.toContain(
      'bank',
    )
    const shown = guardQuestions('crm', error('https://bank.example/'))
    expect(JSON.stringify(shown)).toContain('[from server crm, not from Daypass] Sign in')
  })

  test('other replies stay as they are', () => {
    const reply = { result: { content: [], inputRequests: { a: 1 } } }
    expect(guardQuestions('crm', reply)).toBe(reply)
    const error = { error: { code: -32602, message: 'no' } }
    expect(guardQuestions('crm', error)).toBe(error)
  })
})

describe('capabilities of a client', () => {
  const declared = {
    elicitation: { form: {}, url: {} },
    sampling: {},
    roots: { listChanged: true },
    experimental: { x: {} },
    extensions: { 'io.modelcontextprotocol/tasks': {}, 'other/one': {} },
  }

  test('reach an upstream as far as the gateway relays them', () => {
    expect(relayedCapabilities(declared, { withholdsRoots: false, tasks: true })).toEqual({
      elicitation: { form: {}, url: {} },
      sampling: {},
      roots: { listChanged: true },
      extensions: { 'io.modelcontextprotocol/tasks': {} },
    })
  })

  test('roots stay here where the catalog is bound to folders', () => {
    const relayed = relayedCapabilities(declared, { withholdsRoots: true, tasks: false })
    expect(relayed).toEqual({ elicitation: { form: {}, url: {} }, sampling: {} })
    expect(answers(relayed, 'roots/list')).toBe(false)
  })

  test('every question that is passed on needs one', () => {
    for (const [method, { rule }] of Object.entries(UPSTREAM_REQUESTS)) {
      expect(answers({}, method), method).toBe(false)
      if (rule === 'pass') expect(answers(declared, method), method).toBe(true)
      else expect(answers(declared, method), method).toBe(false)
    }
  })
})
