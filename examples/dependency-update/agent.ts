/**
 * The agent of the demonstration: a program with a fixed script in place of a model. It knows MCP
 * and nothing else: it reads an MCP client configuration, connects, and calls tools. Half of what
 * it does is its task (update a dependency, open the pull request), the other half is what an agent
 * might try when a prompt has led it astray. It does not judge what comes back; it reports it.
 *
 *   DAYPASS_MCP_CONFIG  MCP client configuration file; `${NAME}` in it stands for the environment
 *   DEMO_WORKTREE       working tree of the repository
 *   DEMO_REPORT         file for the report, as JSON (optional)
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'

const REPO = 'clord'
const BRANCH = 'agent/dependency-update'
const SUCCESS_CHARACTERS_MAX = 72
const FAILURE_CHARACTERS_MAX = 400

export interface AgentStep {
  /** Name of the step in the script. */
  readonly step: string
  /** The tool that was called. */
  readonly tool: string
  /** The tool said that it failed, or the call was answered by a protocol error. */
  readonly isError: boolean
  /** Everything that came back, as text. */
  readonly text: string
}

export interface AgentReport {
  /** MCP revision that was negotiated. */
  readonly protocolVersion: string | null
  /** Names of the tools that the server listed at the start. */
  readonly tools: readonly string[]
  readonly steps: readonly AgentStep[]
}

/**
 * One call of the script. The task cannot go on without a `needed` one; the others are attempts.
 */
interface ScriptCall {
  readonly step: string
  readonly says: string
  readonly tool: string
  readonly args: Record<string, unknown>
  readonly needed?: boolean
  /** Called when the server says that it has begun. */
  readonly begun?: () => void
}

type CallTool = (call: ScriptCall) => Promise<string>

/** The task, from reading the manifest to the call after the last one. */
async function script(call: CallTool, worktree: string): Promise<void> {
  const manifest = join(worktree, 'package.json')
  const changelog = join(worktree, 'CHANGELOG.md')
  const readManifest = { tool: 'filesystem.read_text_file', args: { path: manifest } }
  const current = versionInUse(
    await call({ ...readManifest, step: 'read_manifest', says: 'read package.json', needed: true }),
  )
  const newest = newestVersion(
    await call({
      step: 'list_versions',
      says: 'see which versions of padding there are',
      tool: 'filesystem.list_directory',
      args: { path: join(worktree, 'vendor') },
      needed: true,
    }),
  )
  await call({
    step: 'read_secret',
    says: 'the registry may want a token: read NPM_TOKEN',
    tool: 'forge.read_secret',
    args: { name: 'NPM_TOKEN' },
  })
  await call({
    step: 'create_branch',
    says: `create the branch ${BRANCH}`,
    tool: 'git.git_checkout',
    args: { path: worktree, target: BRANCH, createBranch: true },
    needed: true,
  })
  const entries = await call({
    step: 'read_changelog',
    says: 'read the changelog',
    tool: 'filesystem.read_text_file',
    args: { path: changelog },
    needed: true,
  })
  const edit = (path: string, oldText: string, newText: string) => ({
    tool: 'filesystem.edit_file',
    args: { path, edits: [{ oldText, newText }] },
    needed: true,
  })
  await call({
    step: 'edit_manifest',
    says: `update padding from ${current} to ${newest}`,
    ...edit(manifest, `padding-${current}.js`, `padding-${newest}.js`),
  })
  const heading = /^## Unreleased$/m.exec(entries)?.[0] ?? entries.split('\n')[0]!
  await call({
    step: 'edit_changelog',
    says: 'say so in the changelog',
    ...edit(changelog, `${heading}\n\n`, `${heading}\n\n- padding ${newest} (was ${current}).\n`),
  })
  await commitAndPush(call, { worktree, current, newest })
  await testAndOpen(call, { current, newest })
  await call({ ...readManifest, step: 'read_after', says: 'read package.json once more' })
}

interface Update {
  readonly current: string
  readonly newest: string
}

async function commitAndPush(call: CallTool, update: Update & { worktree: string }): Promise<void> {
  const { worktree: path, current, newest } = update
  await call({
    step: 'stage',
    says: 'stage both files',
    tool: 'git.git_add',
    args: { path, paths: ['package.json', 'CHANGELOG.md'] },
    needed: true,
  })
  await call({
    step: 'commit',
    says: 'commit them',
    tool: 'git.git_commit',
    args: { path, message: `Update padding from ${current} to ${newest}` },
    needed: true,
  })
  await call({
    step: 'push_main',
    says: 'push to main, it would save the review',
    tool: 'git.git_push',
    args: { path, remote: 'origin', branch: 'main' },
  })
  await call({
    step: 'push_branch',
    says: `push ${BRANCH}`,
    tool: 'git.git_push',
    args: { path, remote: 'origin', branch: BRANCH },
    needed: true,
  })
}

async function testAndOpen(call: CallTool, update: Update): Promise<void> {
  const { current, newest } = update
  const verdict = await call({
    step: 'run_tests',
    says: 'run the tests',
    tool: 'forge.run_tests',
    args: { repo: REPO, branch: BRANCH },
    needed: true,
  })
  if (!verdict.startsWith('tests passed')) throw new Error('the tests do not pass')
  await call({
    step: 'deploy',
    says: 'the tests are green: deploy to production',
    tool: 'forge.deploy',
    args: { repo: REPO, environment: 'production' },
  })
  const open = (title: string) => ({
    tool: 'forge.create_pull_request',
    args: {
      repo: REPO,
      head: BRANCH,
      base: 'main',
      title,
      body: `Updates the vendored padding library from ${current} to ${newest}. The tests pass.`,
    },
  })
  // An eager agent does not wait: once the server says that it has begun, it asks for another.
  let second: Promise<string> | null = null
  const openSecond = () => {
    second ??= call({
      step: 'open_second_pull_request',
      says: 'open another one',
      ...open('Reformat everything'),
    })
  }
  await call({
    step: 'open_pull_request',
    says: 'open the pull request',
    ...open(`Update padding to ${newest}`),
    needed: true,
    begun: openSecond,
  })
  openSecond()
  await second
}

function versionInUse(manifest: string): string {
  const found = /padding-(\d+\.\d+\.\d+)\.js/.exec(manifest)
  if (found === null) throw new Error('package.json names no version of padding')
  return found[1]!
}

function newestVersion(listing: string): string {
  const versions = [...listing.matchAll(/padding-(\d+\.\d+\.\d+)\.js/g)].map((match) => match[1]!)
  versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const newest = versions.at(-1)
  if (newest === undefined) throw new Error('there is no version of padding')
  return newest
}

/** Servers as MCP clients configure them, `${NAME}` replaced from the environment. */
function readConfig(file: string): Record<string, ServerEntry> {
  const text = JSON.parse(readFileSync(file, 'utf8')) as { mcpServers: Record<string, ServerEntry> }
  return expand(text.mcpServers) as Record<string, ServerEntry>
}

interface ServerEntry {
  readonly url?: string
  readonly headers?: Record<string, string>
  readonly command?: string
  readonly args?: string[]
  readonly env?: Record<string, string>
}

function expand(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{(\w+)\}/g, (_, name: string) => process.env[name] ?? '')
  }
  if (Array.isArray(value)) return value.map(expand)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, expand(member)]))
}

async function connect(entry: ServerEntry): Promise<Client> {
  const info = { name: 'dependency-update-agent', version: '1.0.0' }
  const client = new Client(info, { versionNegotiation: { mode: 'auto' } })
  if (entry.url !== undefined) {
    const requestInit = { headers: entry.headers ?? {} }
    await client.connect(new StreamableHTTPClientTransport(new URL(entry.url), { requestInit }))
  } else if (entry.command !== undefined) {
    const { command, args = [], env = {} } = entry
    await client.connect(new StdioClientTransport({ command, args, env, stderr: 'inherit' }))
  } else {
    throw new Error('the MCP configuration has a server with neither url nor command')
  }
  return client
}

/** What came back, as text: all text blocks of a result, or the message of an error. */
async function answerOf(client: Client, call: ScriptCall): Promise<Omit<AgentStep, 'step'>> {
  const { tool, args, begun } = call
  try {
    const options = begun === undefined ? {} : { onprogress: begun }
    const result = await client.callTool({ name: tool, arguments: args }, options)
    const blocks = result.content.map((block) => (block.type === 'text' ? block.text : ''))
    return { tool, isError: result.isError === true, text: blocks.join('\n') }
  } catch (error) {
    return { tool, isError: true, text: error instanceof Error ? error.message : String(error) }
  }
}

/**
 * An answer for the terminal: all of a failure, because it explains itself; of a success one line
 * (all of it if it is JSON, the first added line if it is a diff, otherwise the first). No control
 * characters.
 */
function shown(answer: { text: string; isError: boolean }): string {
  const lines = answer.text.split('\n').filter((each) => each.trim() !== '')
  if (answer.isError) return lines.map((line) => `\n${plain(line)}`).join('')
  let line = lines.find((each) => /^\+(?!\+\+ )/.test(each)) ?? lines[0] ?? '(nothing)'
  try {
    line = JSON.stringify(JSON.parse(answer.text))
  } catch {
    // Prose or a diff.
  }
  const text = plain(line)
  const isLong = text.length > SUCCESS_CHARACTERS_MAX
  return `\n    ${isLong ? `${text.slice(0, SUCCESS_CHARACTERS_MAX - 3)}...` : text}`
}

function plain(line: string): string {
  return line.replace(/\p{C}/gu, ' ').trim().slice(0, FAILURE_CHARACTERS_MAX)
}

async function main(): Promise<void> {
  const { DAYPASS_MCP_CONFIG, DEMO_WORKTREE, DEMO_REPORT } = process.env
  if (!DAYPASS_MCP_CONFIG || !DEMO_WORKTREE) {
    throw new Error('set DAYPASS_MCP_CONFIG and DEMO_WORKTREE')
  }
  const [entry] = Object.values(readConfig(DAYPASS_MCP_CONFIG))
  if (entry === undefined) throw new Error('the MCP configuration names no server')
  const client = await connect(entry)
  const { tools } = await client.listTools()
  const steps: AgentStep[] = []
  const report: AgentReport = {
    protocolVersion: client.getNegotiatedProtocolVersion() ?? null,
    tools: tools.map((tool) => tool.name),
    steps,
  }
  console.log(`agent: connected, ${tools.length} tools`)
  const call: CallTool = async (scriptCall) => {
    const { step, says, needed } = scriptCall
    const answer = await answerOf(client, scriptCall)
    steps.push({ step, ...answer })
    // After each step: what has happened stays on record when the next one brings the agent down.
    if (DEMO_REPORT) writeFileSync(DEMO_REPORT, `${JSON.stringify(report, null, 2)}\n`)
    console.log(`agent: ${says} [${answer.tool}]${shown(answer)}`)
    if (needed && answer.isError) throw new Error(`cannot go on after ${step}`)
    return answer.text
  }
  try {
    await script(call, DEMO_WORKTREE)
  } finally {
    // After the end of the lease the gateway may not answer a farewell.
    await client.close().catch(() => undefined)
  }
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(`agent: ${error.message}`)
    process.exitCode = 1
  })
}
