import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { startForge } from '../../examples/dependency-update/forge.ts'
import { createDemo, demoConfig } from '../../examples/dependency-update/setup.ts'
import { bindServer, type ServerBinding } from '../../src/catalog/bindings.ts'
import type { Catalog } from '../../src/catalog/catalog.ts'
import { classify } from '../../src/catalog/classify.ts'
import { loadCatalog } from '../../src/catalog/load.ts'
import { loadVocabulary } from '../../src/catalog/load-vocabulary.ts'
import { definitionHash } from '../../src/catalog/pin.ts'
import { compileGrant, permits } from '../../src/core/grant.ts'
import type { Instant } from '../../src/core/id.ts'
import type { Terms } from '../../src/core/lease.ts'
import { deniesAction, parseActionPattern } from '../../src/core/pattern.ts'
import type { Result } from '../../src/core/result.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { parseLease } from '../../src/lease-file/parse.ts'
import { connectClient, forgeTransport, startRouter } from './direct-router.ts'

const ROOT = join(import.meta.dirname, '../..')
const TOKEN = 'forge-token-of-the-test'
const read = (...path: string[]) => readFileSync(join(ROOT, ...path), 'utf8')

function must<T, E>(result: Result<T, E>): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error))
  return result.value
}

function readTerms(): Terms {
  const vocabulary = loadVocabulary(read('catalog/actions.yaml'))
  const now = Date.parse('2026-06-23T01:42:00Z') as Instant
  const options = { file: 'lease.yaml', vocabulary, now, limits: DEFAULT_LEASE_LIMITS }
  const { terms, problems } = parseLease(read('examples/dependency-update/lease.yaml'), options)
  expect(problems).toEqual([])
  return terms!
}

interface Served {
  readonly catalog: Catalog
  readonly server: ServerBinding
}

function serversOf(config: ReturnType<typeof demoConfig>): Map<string, Served> {
  const served = new Map<string, Served>()
  for (const [name, { catalog: kind, bind }] of Object.entries(config.servers)) {
    const catalog = must(loadCatalog(read('catalog', `${kind}.yaml`), `${kind}.yaml`))
    served.set(name, { catalog, server: must(bindServer(name, bind, catalog)) })
  }
  return served
}

/** What the lease says to a call, from its facts alone: `permitted`, or what is wrong. */
async function judge(terms: Terms, served: Served, call: { tool: string; args: unknown }) {
  const facts = await classify({
    ...served,
    ...call,
    definitionStatus: 'mapped',
    definition: '',
    capture: [],
    digestSalt: 'salt',
  })
  if (facts.fault !== null) return `fault: ${facts.fault}`
  const deny = terms.deny.map((text) => must(parseActionPattern(text)))
  const grants = terms.grants.map((grant) => must(compileGrant(grant)))
  for (const touch of facts.touches) {
    if (deny.some((pattern) => deniesAction(pattern, touch.action)))
      return `denied: ${touch.action}`
    if (grants.every((grant) => permits(grant, touch, facts.args) !== null)) {
      return `no grant: ${touch.action} on ${touch.resources.branches}`
    }
  }
  return facts.touches.length > 0 ? 'permitted' : 'no touch'
}

test('the lease permits each step of the task, in order, and none of the attempts', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'daypass-lease-'))
  const demo = await createDemo(join(dir, 'demo'))
  const repos = { clord: demo.bare }
  const forge = await startForge({ port: 0, token: TOKEN, repos, stateFile: null, logFile: null })
  const config = demoConfig({ worktree: demo.worktree, forgeUrl: forge.url })
  const servers = serversOf(config)
  const terms = readTerms()
  const verdicts: string[] = []
  const watch = async (name: string, args: unknown) => {
    const [server = '', tool = ''] = name.split('.')
    verdicts.push(`${tool} ${await judge(terms, servers.get(server)!, { tool, args })}`)
  }
  const router = await startRouter(demo.worktree, forgeTransport(forge.url, TOKEN), { watch })
  const configFile = join(dir, 'mcp.json')
  writeFileSync(configFile, JSON.stringify({ mcpServers: { router: { url: router.url } } }))
  const env = {
    PATH: process.env.PATH,
    DAYPASS_MCP_CONFIG: configFile,
    DEMO_WORKTREE: demo.worktree,
  }
  const agent = join(ROOT, 'examples/dependency-update/agent.ts')
  await promisify(execFile)(process.execPath, [agent], { env })
  await router.close()
  await forge.close()
  rmSync(dir, { recursive: true, force: true })
  expect(verdicts).toEqual([
    'read_text_file permitted',
    'list_directory permitted',
    'read_secret denied: secret.read',
    'git_checkout permitted',
    'read_text_file permitted',
    'edit_file permitted',
    'edit_file permitted',
    'git_add permitted',
    'git_commit permitted',
    'git_push no grant: repo.push on main',
    'git_push permitted',
    'run_tests permitted',
    'deploy denied: production.deploy',
    // What ends these is not a missing grant but the end of the lease.
    'create_pull_request permitted',
    'create_pull_request permitted',
    'read_text_file permitted',
  ])
})

test('the catalog of the forge is pinned to the definitions that it presents', async () => {
  const forge = await startForge({
    port: 0,
    token: TOKEN,
    repos: {},
    stateFile: null,
    logFile: null,
  })
  const client = await connectClient(forgeTransport(forge.url, TOKEN))
  const catalog = must(loadCatalog(read('catalog/forge.yaml'), 'forge.yaml'))
  const { tools } = await client.listTools()
  await client.close()
  await forge.close()
  expect(tools).toHaveLength(catalog.tools.size)
  for (const tool of tools) {
    expect(catalog.tools.get(tool.name)?.definitions, tool.name).toContain(definitionHash(tool))
  }
})
