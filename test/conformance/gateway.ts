import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { Presented } from '../../src/authority/pinning.ts'
import type { Terms } from '../../src/core/lease.ts'
import type { Run } from '../../src/core/tree.ts'
import { promptOf } from '../../src/lease-file/prompt.ts'
import { type Daypass, startDaypass } from '../../src/server.ts'
import { MAINTAINER, termsOf } from '../runs/support.ts'
import { TOOLS } from './fixture-tools.ts'

const FIXTURE = fileURLToPath(new URL('fixture.ts', import.meta.url))
const SERVER = 'fixture'

/** What every tool of the fixture is said to do. */
function catalog(): string {
  const rules = [{ do: 'repo.read', on: { repos: { binding: 'repo' } } }]
  const tools = Object.entries(TOOLS).map(([name, { properties = {} }]) => {
    const args = Object.entries(properties).map(([key, { type }]) => [key, `${type}!`])
    return [name, { args: Object.fromEntries(args), rules }]
  })
  const catalog = {
    catalog: SERVER,
    version: 1,
    title: 'Conformance fixture',
    server: { package: 'test/conformance/fixture.ts', version: '1.0.0' },
    actions: { 'repo.read': { effect: 'read' } },
    tools: Object.fromEntries(tools),
  }
  return stringify(catalog, { aliasDuplicateObjects: false })
}

/** Everything that the suite does is allowed: what is measured is the way, not the verdict. */
const PERMISSIVE: Terms = termsOf({
  grants: [
    { actions: ['repo.read'], resources: { repos: [SERVER] }, where: {} },
    {
      actions: ['mcp.resource.read'],
      resources: { mcp_servers: [SERVER], mcp_resources: ['**'] },
      where: {},
    },
    {
      actions: ['mcp.prompt.get'],
      resources: { mcp_servers: [SERVER], mcp_prompts: ['**'] },
      where: {},
    },
    { actions: ['mcp.complete'], resources: { mcp_servers: [SERVER] }, where: {} },
  ],
  maxToolCalls: null,
})

export interface Badged {
  readonly run: Run['id']
  readonly badge: string
}

export interface Through {
  readonly url: string
  readonly daypass: Daypass
  /** A run that may do everything there. */
  open(): Promise<Badged>
  close(): Promise<void>
}

/** The gateway in front of the fixture. */
export async function startThrough(upstream: { url: string } | 'stdio'): Promise<Through> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-conformance-'))
  const way =
    upstream === 'stdio' ? { command: [process.execPath, FIXTURE, 'stdio'] } : { url: upstream.url }
  const server = { ...way, catalog: 'fixture.yaml', bind: { repo: SERVER }, prefix: false }
  writeFileSync(join(folder, 'fixture.yaml'), catalog())
  const config = { version: 1, servers: { [SERVER]: server } }
  writeFileSync(join(folder, 'daypass.yaml'), stringify(config))
  const started = await startDaypass({
    folder: join(folder, '.daypass'),
    configFile: join(folder, 'daypass.yaml'),
    operator: MAINTAINER.person,
  })
  if (!started.ok) throw new Error(started.error.join('\n'))
  const daypass = started.value
  await daypass.upstreams.ready(20_000)
  for (const tool of Object.keys(TOOLS)) await pin(daypass, tool)
  return {
    url: `${daypass.url}/mcp`,
    daypass,
    open: () => openRun(daypass),
    close: async () => {
      await daypass.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function pin({ url, operatorToken }: Daypass, tool: string): Promise<void> {
  const authorization = `Bearer ${operatorToken}`
  const headers = { authorization, 'content-type': 'application/json' }
  const path = `${url}/v1/catalog/${SERVER}/${tool}`
  const { check } = (await (await fetch(path, { headers })).json()) as Presented
  const body = JSON.stringify({ hash: check.definition })
  const response = await fetch(`${path}/pin`, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`${tool}: ${await response.text()}`)
}

async function openRun({ authority, vocabulary, hosts }: Daypass): Promise<Badged> {
  const requester = MAINTAINER.person
  const { agent, purpose } = PERMISSIVE
  const context = { vocabulary, hosts, requester, agent, client: 'conformance', warnings: [] }
  const opened = await authority.open({
    terms: PERMISSIVE,
    prompt: (run) => promptOf(PERMISSIVE, { ...context, run, outside: 'not_watched' }),
    envelope: { requester, agent, purpose, client: null },
    rule: { policy: null, approvers: null, self: true, answerSeconds: 300 },
  })
  if (!opened.ok) throw new Error(opened.error.message)
  const { run, promptHash } = opened.value
  const approved = await authority.approve(run, { by: MAINTAINER, promptHash })
  if (!approved.ok) throw new Error(approved.error.message)
  const badge = await authority.badge(run)
  if (!badge.ok) throw new Error(badge.error.message)
  return { run, badge: badge.value }
}
