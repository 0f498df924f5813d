import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { startForge } from '../../examples/dependency-update/forge.ts'
import type { Catalog } from '../../src/catalog/catalog.ts'
import { loadCatalog } from '../../src/catalog/load.ts'
import { loadVocabulary } from '../../src/catalog/load-vocabulary.ts'
import type { ToolDefinition } from '../../src/catalog/pin.ts'
import { formatProblem } from '../../src/catalog/yaml-reader.ts'

export const ROOT = resolve(import.meta.dirname, '../..')
const MODULES = join(ROOT, 'node_modules')

export function catalogText(name: string): string {
  return readFileSync(join(ROOT, 'catalog', `${name}.yaml`), 'utf8')
}

export function catalogOf(name: string): Catalog {
  const loaded = loadCatalog(catalogText(name), `catalog/${name}.yaml`)
  if (!loaded.ok) throw new Error(loaded.error.map(formatProblem).join('\n'))
  return loaded.value
}

export const vocabulary = loadVocabulary(catalogText('actions'))

/** A real folder that is removed after the test file. */
export function scratch(): { path: string; remove: () => void } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'catalog-')))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Git without the configuration of whoever runs the tests. */
export const GIT_ENV = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.com',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.com',
}

export function git(cwd: string, ...args: string[]): string {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', ...GIT_ENV }
  return execFileSync('git', args, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

type Mode = 'auto' | 'legacy'

/** Every catalog that ships. */
export const CATALOGS = [
  'filesystem',
  'git',
  'forge',
  'memory',
  'everything',
  'github',
  'playwright',
  'postgres',
  'mongodb',
] as const

/**
 * Servers that list their tools without a network, a database or a browser: `dir` is their home.
 */
const OFFLINE: Readonly<
  Record<string, (dir: string) => { script: string; args?: string[]; env?: Record<string, string> }>
> = {
  filesystem: (dir) => ({
    script: '@modelcontextprotocol/server-filesystem/dist/index.js',
    args: [dir],
  }),
  memory: (dir) => ({
    script: '@modelcontextprotocol/server-memory/dist/index.js',
    env: { MEMORY_FILE_PATH: join(dir, 'memory.jsonl') },
  }),
  everything: () => ({
    script: '@modelcontextprotocol/server-everything/dist/index.js',
    args: ['stdio'],
  }),
  github: () => ({ script: '@modelcontextprotocol/server-github/dist/index.js' }),
  playwright: (dir) => ({
    script: '@playwright/mcp/cli.js',
    args: ['--headless', '--isolated', '--output-dir', dir],
  }),
  postgres: () => ({
    script: '@modelcontextprotocol/server-postgres/dist/index.js',
    args: ['postgres://nobody@127.0.0.1:1/none'],
  }),
  // The definitions mention the connection that the server is configured with, up or not.
  mongodb: () => ({
    script: 'mongodb-mcp-server/dist/esm/index.js',
    env: { MDB_MCP_CONNECTION_STRING: 'mongodb://127.0.0.1:1/none' },
  }),
}

/** A real server in the environment that its catalog asks for. */
export function offlineServer(name: string, dir: string, mode: Mode = 'auto'): Promise<Client> {
  const { script, args = [], env } = OFFLINE[name]!(dir)
  const all = { HOME: dir, ...env, ...catalogOf(name).server.env }
  return connected(stdio(script, args, all), mode)
}

async function connected(
  transport: ConstructorParameters<typeof StreamableHTTPClientTransport>[0] | StdioClientTransport,
  mode: Mode,
  token = '',
): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  const headers = { Authorization: `Bearer ${token}` }
  await client.connect(
    transport instanceof URL
      ? new StreamableHTTPClientTransport(transport, { requestInit: { headers } })
      : transport,
  )
  return client
}

function stdio(script: string, args: string[], env: Record<string, string>): StdioClientTransport {
  return new StdioClientTransport({
    command: process.execPath,
    args: [join(MODULES, script), ...args],
    env: { PATH: process.env.PATH ?? '', ...env },
    stderr: 'ignore',
  })
}

export function filesystemServer(root: string, mode: Mode = 'auto'): Promise<Client> {
  const script = '@modelcontextprotocol/server-filesystem/dist/index.js'
  return connected(stdio(script, [root], { HOME: '/nonexistent' }), mode)
}

/** The git server with the environment that the catalog asks for. */
export function gitServer(logs: string, mode: Mode = 'auto'): Promise<Client> {
  const env = { HOME: '/nonexistent', LOGS_DIR: logs, ...GIT_ENV, ...catalogOf('git').server.env }
  return connected(stdio('@cyanheads/git-mcp-server/dist/index.js', [], env), mode)
}

/** Everything a client gets from `tools/list`, as it came. */
export async function listed(client: Client): Promise<readonly ToolDefinition[]> {
  const { tools } = await client.listTools()
  return tools as unknown as ToolDefinition[]
}

const known = new Map<string, Promise<readonly (readonly ToolDefinition[])[]>>()

/** The tools of a real server, in every protocol era it speaks. Started once per test file. */
export function listings(name: string): Promise<readonly (readonly ToolDefinition[])[]> {
  const found = known.get(name) ?? listTools(name)
  known.set(name, found)
  return found
}

async function listTools(name: string): Promise<readonly (readonly ToolDefinition[])[]> {
  const { path, remove } = scratch()
  const forge =
    name === 'forge'
      ? await startForge({ port: 0, token: 't', repos: {}, stateFile: null, logFile: null })
      : null
  const found: (readonly ToolDefinition[])[] = []
  try {
    for (const mode of ['auto', 'legacy'] as const) {
      const client =
        forge !== null
          ? await connected(new URL(forge.url), mode, 't')
          : name === 'git'
            ? await gitServer(path, mode)
            : await offlineServer(name, path, mode)
      found.push(await listed(client))
      await client.close()
    }
  } finally {
    await forge?.close()
    remove()
  }
  return found
}
