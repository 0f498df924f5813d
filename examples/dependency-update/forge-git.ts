import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A git command that hangs (a lock, a huge diff) must not hold the forge. */
const GIT_TIMEOUT_MS = 30_000
const GIT_OUTPUT_BYTES_MAX = 8 * 1024 * 1024
/** The code under test is the agent's: it gets a minute and a bounded output, not more. */
const TESTS_TIMEOUT_MS = 60_000
const TESTS_OUTPUT_BYTES_MAX = 1024 * 1024
/** What a report keeps of the output: the end, where the summary stands. */
const TESTS_OUTPUT_KEPT = 16 * 1024
const BRANCH_LENGTH_MAX = 200

/** Something the caller of a tool did wrong or cannot have; its message is the tool's answer. */
export class ForgeError extends Error {}

export interface ChangedFile {
  readonly path: string
  readonly additions: number
  readonly deletions: number
}

export interface TestReport {
  readonly commit: string
  readonly passed: boolean
  readonly tests: number
  readonly pass: number
  readonly fail: number
  readonly output: string
}

/**
 * A branch name the forge accepts: a strict subset of what git accepts, so that no name can be an
 * option, a refspec, a revision expression or a path out of `refs/heads/`.
 */
export function isBranchName(name: string): boolean {
  return (
    name.length <= BRANCH_LENGTH_MAX &&
    name !== 'HEAD' &&
    name.split('/').every((part) => /^\w[\w.+-]*$/.test(part) && !part.endsWith('.lock')) &&
    !name.includes('..') &&
    !name.endsWith('.')
  )
}

/** Reads nothing of the machine's git configuration, runs no hook, asks nobody for a password. */
const GIT_ENV = {
  PATH: process.env.PATH ?? '',
  LC_ALL: 'C',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Clord Forge',
  GIT_AUTHOR_EMAIL: 'forge@clord.example',
  GIT_COMMITTER_NAME: 'Clord Forge',
  GIT_COMMITTER_EMAIL: 'forge@clord.example',
}

function git(dir: string, ...args: string[]): Promise<string> {
  const argv = ['-c', 'core.hooksPath=/dev/null', '-c', 'commit.gpgSign=false', ...args]
  const options = {
    cwd: dir,
    env: GIT_ENV,
    timeout: GIT_TIMEOUT_MS,
    maxBuffer: GIT_OUTPUT_BYTES_MAX,
  }
  return new Promise((resolve, reject) => {
    execFile('git', argv, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else
        reject(
          new ForgeError(`git ${args[0]} failed: ${(stderr || stdout || error.message).trim()}`),
        )
    })
  })
}

/** Branches of a bare repository with the commits they point at, in the order of their names. */
export async function listBranches(bare: string): Promise<{ name: string; commit: string }[]> {
  const format = '--format=%(refname:lstrip=2) %(objectname)'
  const lines = (await git(bare, 'for-each-ref', format, 'refs/heads')).split('\n')
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [name = '', commit = ''] = line.split(' ')
      return { name, commit }
    })
}

/** The commit a branch points at, or null if there is no such branch. */
export async function commitOf(bare: string, branch: string): Promise<string | null> {
  if (!isBranchName(branch)) throw new ForgeError(`\`${branch}\` is not a branch name`)
  const found = (await listBranches(bare)).find((each) => each.name === branch)
  return found === undefined ? null : found.commit
}

/** How many commits `head` has that `base` does not have. Both are commit ids. */
export async function commitsAhead(bare: string, base: string, head: string): Promise<number> {
  return Number(await git(bare, 'rev-list', '--count', `${base}..${head}`, '--'))
}

/** What `head` changes since it left `base`, as a pull request shows it. Both are commit ids. */
export async function changedFiles(
  bare: string,
  base: string,
  head: string,
): Promise<ChangedFile[]> {
  const flags = ['--numstat', '-z', '--no-renames', '--no-ext-diff', '--no-textconv']
  const out = await git(bare, 'diff', ...flags, `${base}...${head}`, '--')
  return out
    .split('\0')
    .filter((record) => record !== '')
    .map((record) => {
      // A path may hold tabs itself: only the first two separate.
      const [, additions, deletions, path = ''] = /^(\S+)\t(\S+)\t(.+)$/s.exec(record) ?? []
      // A binary file has "-" instead of counts.
      return { path, additions: Number(additions) || 0, deletions: Number(deletions) || 0 }
    })
}

/**
 * Merges commit `head` into branch `base` with a merge commit and returns its id. Fails on a
 * conflict, and when the base moved meanwhile: the push at the end is then not a fast-forward.
 */
export async function mergeInto(
  bare: string,
  merge: { base: string; head: string; message: string },
): Promise<string> {
  const { base, head, message } = merge
  const baseCommit = await commitOf(bare, base)
  if (baseCommit === null) throw new ForgeError(`branch \`${base}\` does not exist`)
  return withCheckout(bare, baseCommit, async (dir) => {
    await git(dir, 'merge', '--no-ff', '--quiet', '-m', message, head)
    await git(dir, 'push', '--quiet', 'origin', `HEAD:refs/heads/${base}`)
    return (await git(dir, 'rev-parse', 'HEAD')).trim()
  })
}

/** Checks a commit out into a fresh directory and runs the project's own tests there. */
export function testCommit(bare: string, commit: string): Promise<TestReport> {
  return withCheckout(bare, commit, async (dir) => {
    const { code, output } = await runNodeTests(dir)
    const count = (word: string) =>
      Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
    const tests = count('tests')
    // A project without tests has proven nothing, so that is no pass.
    const passed = code === 0 && tests > 0
    const kept = output.slice(-TESTS_OUTPUT_KEPT)
    return { commit, passed, tests, pass: count('pass'), fail: count('fail'), output: kept }
  })
}

async function withCheckout<T>(
  bare: string,
  commit: string,
  work: (dir: string) => Promise<T>,
): Promise<T> {
  const parent = await mkdtemp(join(tmpdir(), 'forge-'))
  const dir = join(parent, 'checkout')
  try {
    await git(parent, 'clone', '--quiet', '--shared', '--no-checkout', '--template=', bare, dir)
    await git(dir, 'checkout', '--quiet', '--detach', commit)
    return await work(dir)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

function runNodeTests(dir: string): Promise<{ code: number | null; output: string }> {
  // The environment is built from nothing: the code under test must not see the forge's token.
  const env = { PATH: process.env.PATH ?? '', HOME: dir, LC_ALL: 'C' }
  const child = spawn(process.execPath, ['--test', '--test-reporter=tap'], {
    cwd: dir,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  // Its own process group, so that what the tests have started dies with them.
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The group is gone already.
    }
  }
  const timer = setTimeout(kill, TESTS_TIMEOUT_MS)
  let output = ''
  const collect = (chunk: Buffer) => {
    if (output.length < TESTS_OUTPUT_BYTES_MAX) output += chunk.toString()
    else kill()
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => {
      clearTimeout(timer)
      kill()
    })
    child.once('close', (code) => resolve({ code, output }))
  })
}
