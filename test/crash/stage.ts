import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { definitionHash } from '../../src/catalog/pin.ts'
import type { RunId } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import type { Result } from '../../src/core/result.ts'
import { promptOf } from '../../src/lease-file/prompt.ts'
import { type Daypass, type DaypassOptions, startDaypass } from '../../src/server.ts'
import type { TreeKey } from '../../src/store/store.ts'
import { termsOf } from '../runs/support.ts'

/** A whole Daypass in front of one server, `notes`, with one tool that writes: `add`. */

export const PERSON = 'mira@clord.example'
export const MODERN = '2026-07-28'

/** As the upstream lists it. */
export const ADD = {
  name: 'add',
  description: 'Adds a note to a repository.',
  inputSchema: {
    type: 'object',
    properties: { repo: { type: 'string' }, text: { type: 'string' } },
    required: ['repo', 'text'],
  },
}

const CATALOG = `
catalog: notes
version: 1
title: Notes
server: { package: test/crash, version: "1" }
actions:
  repo.commit: { effect: write, reversible: true }
tools:
  add:
    definition: ${definitionHash(ADD)}
    args: { repo: string!, text: string! }
    rules:
      - { do: repo.commit, on: { repos: { arg: repo } } }
`

/** How the upstream is reached. */
export type UpstreamAt = { readonly url: string } | { readonly command: readonly string[] }

/** Writes the configuration of a project that has only this server. */
export function writeProject(folder: string, upstream: UpstreamAt): void {
  writeFileSync(join(folder, 'notes.yaml'), CATALOG)
  const servers = { notes: { ...upstream, catalog: './notes.yaml' } }
  // JSON is YAML.
  writeFileSync(join(folder, 'daypass.yaml'), JSON.stringify({ version: 1, servers }))
}

export async function startStage(
  folder: string,
  more: Partial<DaypassOptions> = {},
): Promise<Daypass> {
  const daypass = must(
    await startDaypass({
      folder: join(folder, '.daypass'),
      configFile: join(folder, 'daypass.yaml'),
      operator: PERSON,
      ...more,
    }),
  )
  await daypass.upstreams.ready(20_000)
  return daypass
}

/** Terms that permit `add` on one repository. */
export function stageTerms(more: Partial<Terms> = {}): Terms {
  const grant = { actions: ['repo.commit'], resources: { repos: ['clord'] }, where: {} }
  return termsOf({ grants: [grant], maxToolCalls: null, expiresInSeconds: 6 * 3600, ...more })
}

export interface StageRun extends TreeKey {
  readonly run: RunId
  readonly badge: string
}

/** A run whose lease is approved, and its badge. */
export async function openStageRun(daypass: Daypass, terms = stageTerms()): Promise<StageRun> {
  const { authority, vocabulary, hosts } = daypass
  const context = { requester: PERSON, agent: terms.agent, client: null, hosts, vocabulary }
  const opened = must(
    await authority.open({
      terms,
      prompt: (run) => promptOf(terms, { ...context, run, warnings: [], outside: 'not_watched' }),
      envelope: { requester: PERSON, agent: terms.agent, purpose: terms.purpose, client: null },
      rule: { policy: null, approvers: null, self: true, answerSeconds: 300 },
    }),
  )
  const { run, promptHash, org, tree } = opened
  const by = { person: PERSON, via: 'terminal' } as const
  must(await authority.approve(run, { by, promptHash }))
  return { org, tree, run, badge: must(await authority.badge(run)) }
}

/** One `tools/call` of the modern era: body and headers. */
export function addCall(
  badge: string,
  call: { readonly id: string; readonly text: string; readonly tool?: string },
): { readonly body: string; readonly headers: Record<string, string> } {
  const name = call.tool ?? 'notes.add'
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(call.id === '' ? {} : { callId: call.id }),
  }
  const params = { name, arguments: { repo: 'clord', text: call.text }, _meta }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    authorization: `Bearer ${badge}`,
    'mcp-protocol-version': MODERN,
    'mcp-method': 'tools/call',
    'mcp-name': name,
  }
  return { body, headers }
}

export interface ToolCall {
  readonly name: string
  readonly arguments: { readonly text: string }
  readonly _meta?: { readonly callId?: string }
}

type Request = { id?: number | string; method?: string; params?: unknown }

/**
 * What an MCP server with this one tool answers to a request of the modern era; `call` answers
 * calls. Null: nothing to answer.
 */
export function answerOf(
  { id, method, params }: Request,
  call: (call: ToolCall) => string,
): string | null {
  if (id === undefined) return null
  const reply = (result: object) =>
    JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...result } })
  switch (method) {
    case 'server/discover': {
      const capabilities = { tools: {} }
      const serverInfo = { name: 'notes', version: '1' }
      return reply({ supportedVersions: [MODERN], capabilities, serverInfo })
    }
    case 'tools/list':
      return reply({ tools: [ADD], ttlMs: 60_000, cacheScope: 'private' })
    case 'tools/call':
      return reply({ content: [{ type: 'text', text: call(params as ToolCall) }] })
    default: {
      const error = { code: -32601, message: 'Method not found' }
      return JSON.stringify({ jsonrpc: '2.0', id, error })
    }
  }
}

export function must<T, E>(result: Result<T, E>): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error))
  return result.value
}
