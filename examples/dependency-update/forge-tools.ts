import { setTimeout as sleep } from 'node:timers/promises'
import { McpServer, type ServerContext } from '@modelcontextprotocol/server'
import * as z from 'zod'
import { ForgeError, isBranchName } from './forge-git.ts'
import type { ForgeState } from './forge-state.ts'

const repo = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,99}$/)
  .describe('Name of the repository')
const branch = z.string().min(1).max(200).refine(isBranchName, 'not a branch name')
const number = z.int().min(1).max(1_000_000).describe('Number of the pull request')
const file = z.object({ path: z.string(), additions: z.int(), deletions: z.int() })
const pull = z.object({
  repo: z.string(),
  number: z.int(),
  url: z.string(),
  title: z.string(),
  body: z.string(),
  head: z.string(),
  base: z.string(),
  headCommit: z.string(),
  baseCommit: z.string(),
  files: z.array(file),
  state: z.enum(['open', 'merged']),
  mergeCommit: z.string().nullable(),
})
const user = z.object({
  email: z.string(),
  repos: z.array(z.string()),
  state: z.enum(['member', 'invited']),
})

const READ = { readOnlyHint: true, openWorldHint: false }
const WRITE = { readOnlyHint: false, destructiveHint: false, openWorldHint: true }
const DESTROY = { readOnlyHint: false, destructiveHint: true, openWorldHint: true }

interface ToolAnswer {
  [member: string]: unknown
  content: { type: 'text'; text: string }[]
  structuredContent?: Record<string, unknown>
  isError?: true
}

function answer(text: string, structuredContent: object): ToolAnswer {
  return {
    content: [{ type: 'text', text }],
    structuredContent: structuredContent as Record<string, unknown>,
  }
}

/**
 * Turns what the caller got wrong into a tool error; a fault of the forge itself stays an
 * exception.
 */
async function attempt(work: () => ToolAnswer | Promise<ToolAnswer>): Promise<ToolAnswer> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof ForgeError)) throw error
    return { content: [{ type: 'text', text: error.message }], isError: true }
  }
}

/** Says that the work has begun, if the caller wants to hear it. */
async function tellProgress({ mcpReq }: ServerContext, message: string): Promise<void> {
  const progressToken = mcpReq._meta?.progressToken
  if (progressToken === undefined) return
  const params = { progressToken, progress: 1, total: 2, message }
  await mcpReq.notify({ method: 'notifications/progress', params })
}

/**
 * An MCP server over the forge. A fresh one serves each request. INVARIANT: the tool definitions
 * are the same JSON each time and in both protocol eras; Daypass pins them by their hash.
 */
export function createForgeServer(forge: ForgeState): McpServer {
  const server = new McpServer({ name: 'clord-forge', version: '1.0.0' })
  registerRepoTools(server, forge)
  registerPullRequestTools(server, forge)
  registerOperationTools(server, forge)
  return server
}

function registerRepoTools(server: McpServer, forge: ForgeState): void {
  server.registerTool(
    'list_branches',
    {
      description: 'List the branches of a repository with the commits they point at.',
      inputSchema: z.strictObject({ repo }),
      outputSchema: z.object({
        branches: z.array(z.object({ name: z.string(), commit: z.string() })),
      }),
      annotations: READ,
    },
    (args) =>
      attempt(async () => {
        const branches = await forge.listBranches(args.repo)
        return answer(branches.map((each) => each.name).join('\n'), { branches })
      }),
  )
  server.registerTool(
    'run_tests',
    {
      description: "Check a branch out on the CI machine and run the project's own tests.",
      inputSchema: z.strictObject({ repo, branch }),
      outputSchema: z.object({
        commit: z.string(),
        passed: z.boolean(),
        tests: z.int(),
        pass: z.int(),
        fail: z.int(),
        output: z.string(),
      }),
      annotations: WRITE,
    },
    (args) =>
      attempt(async () => {
        const report = await forge.runTests(args.repo, args.branch)
        const { pass, fail, tests, commit } = report
        const verdict = report.passed ? 'passed' : 'failed'
        const at = `${args.branch} at ${commit.slice(0, 7)}`
        return answer(`tests ${verdict} on ${at}: ${pass} of ${tests} pass, ${fail} fail`, report)
      }),
  )
}

function registerPullRequestTools(server: McpServer, forge: ForgeState): void {
  server.registerTool(
    'list_pull_requests',
    {
      description: 'List the pull requests of a repository.',
      inputSchema: z.strictObject({ repo }),
      outputSchema: z.object({ pullRequests: z.array(pull) }),
      annotations: READ,
    },
    (args) =>
      attempt(() => {
        const pullRequests = forge.listPullRequests(args.repo)
        const lines = pullRequests.map((each) => `#${each.number} ${each.state}: ${each.title}`)
        return answer(lines.join('\n') || 'no pull requests', { pullRequests })
      }),
  )
  server.registerTool(
    'get_pull_request',
    {
      description: 'Read one pull request: branches, commits, changed files, state.',
      inputSchema: z.strictObject({ repo, number }),
      outputSchema: pull,
      annotations: READ,
    },
    (args) =>
      attempt(() => {
        const found = forge.getPullRequest(args.repo, args.number)
        return answer(`#${found.number} ${found.state}: ${found.title}\n${found.url}`, found)
      }),
  )
  server.registerTool(
    'create_pull_request',
    {
      description: 'Open a pull request that asks to merge the branch `head` into `base`.',
      inputSchema: z.strictObject({
        repo,
        head: branch.describe('Branch with the changes'),
        base: branch.describe('Branch to merge into'),
        title: z.string().min(1).max(200),
        body: z.string().max(10_000),
      }),
      outputSchema: pull,
      annotations: WRITE,
    },
    (args, context) =>
      attempt(async () => {
        await tellProgress(context, 'comparing the branches')
        await sleep(forge.latencyMs)
        const opened = await forge.createPullRequest(args)
        const files = opened.files.map((f) => `${f.path} | +${f.additions} -${f.deletions}`)
        return answer(`opened #${opened.number} ${opened.url}\n${files.join('\n')}`, opened)
      }),
  )
  server.registerTool(
    'merge_pull_request',
    {
      description: 'Merge an open pull request into its base branch.',
      inputSchema: z.strictObject({ repo, number }),
      outputSchema: pull,
      annotations: DESTROY,
    },
    (args) =>
      attempt(async () => {
        const merged = await forge.mergePullRequest(args.repo, args.number)
        return answer(`merged #${merged.number} into ${merged.base}`, merged)
      }),
  )
}

function registerOperationTools(server: McpServer, forge: ForgeState): void {
  server.registerTool(
    'deploy',
    {
      description: 'Deploy the main branch of a repository to an environment.',
      inputSchema: z.strictObject({
        repo,
        environment: z.string().min(1).max(50).describe('staging or production'),
      }),
      outputSchema: z.object({
        repo: z.string(),
        environment: z.string(),
        commit: z.string(),
        at: z.string(),
      }),
      annotations: DESTROY,
    },
    (args) =>
      attempt(async () => {
        const done = await forge.deploy(args.repo, args.environment)
        const text = `deployed ${done.repo} at ${done.commit.slice(0, 7)} to ${done.environment}`
        return answer(text, done)
      }),
  )
  server.registerTool(
    'read_secret',
    {
      description: 'Reveal the value of a secret of the organisation.',
      inputSchema: z.strictObject({ name: z.string().regex(/^[A-Z][A-Z0-9_]{0,99}$/) }),
      outputSchema: z.object({ name: z.string(), value: z.string() }),
      annotations: READ,
    },
    (args) =>
      attempt(() => {
        const value = forge.readSecret(args.name)
        return answer(`${args.name}=${value}`, { name: args.name, value })
      }),
  )
  server.registerTool(
    'invite_user',
    {
      description: 'Invite a person to a repository by e-mail.',
      inputSchema: z.strictObject({ email: z.email().max(254), repo }),
      outputSchema: user,
      annotations: WRITE,
    },
    (args) =>
      attempt(() => {
        const invited = forge.inviteUser(args.email, args.repo)
        return answer(`invited ${invited.email} to ${args.repo}`, invited)
      }),
  )
  server.registerTool(
    'list_users',
    {
      description: 'List everybody who has access to a repository or an invitation to one.',
      inputSchema: z.strictObject({}),
      outputSchema: z.object({ users: z.array(user) }),
      annotations: READ,
    },
    () =>
      attempt(() => {
        const users = forge.listUsers()
        return answer(users.map((each) => `${each.email} ${each.state}`).join('\n'), { users })
      }),
  )
}
