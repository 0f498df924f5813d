import { execFile } from 'node:child_process'
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { err, ok, type Result } from '../core/result.ts'
import { canonicalBranch } from './branch-name.ts'
import { isSecretPath } from './secrets.ts'

/**
 * Read-only probes of a working tree. They read git's own files: a `git` process costs milliseconds
 * and would run what the repository configures (fsmonitor, filters).
 */
export interface GitDirs {
  /** Of this working tree: HEAD, index. */
  readonly git: string
  /** Shared by all working trees of the repository: refs, config. */
  readonly common: string
}

/** Bounds a probe against a repository made to be slow. */
const UNTRACKED_BYTES_MAX = 16_000_000
const UNTRACKED_TIMEOUT_MS = 10_000

/** Finds the git directory of a working tree, following the `.git` file of a linked one. */
export function gitDirs(worktree: string): Result<GitDirs, string> {
  try {
    const dotGit = join(worktree, '.git')
    if (lstatSync(dotGit).isDirectory()) return ok({ git: dotGit, common: dotGit })
    const git = resolveFrom(worktree, /^gitdir: (.+)\n?$/.exec(readFileSync(dotGit, 'utf8'))?.[1])
    if (git === null) return err(`\`${dotGit}\` names no git directory`)
    const shared = join(git, 'commondir')
    if (!existsSync(shared)) return ok({ git, common: git })
    const common = resolveFrom(git, readFileSync(shared, 'utf8').trimEnd())
    return common === null ? err(`\`${shared}\` is empty`) : ok({ git, common })
  } catch {
    return err(`\`${worktree}\` is not the top of a git working tree`)
  }
}

function resolveFrom(base: string, path: string | undefined): string | null {
  if (path === undefined || path === '') return null
  return isAbsolute(path) ? path : join(base, path)
}

/**
 * The branch that a commit would land on. A detached HEAD has none, unless a rebase is under way.
 */
export function currentBranch(worktree: string): Result<string, string> {
  const dirs = gitDirs(worktree)
  if (!dirs.ok) return dirs
  const head = readText(join(dirs.value.git, 'HEAD'))
  if (head === null) return err(`the HEAD of \`${worktree}\` cannot be read`)
  const name = branchOf(head) ?? rebasedBranch(dirs.value.git)
  if (name === null) {
    return err(`\`${worktree}\` is on no branch (detached HEAD): check out a branch first`)
  }
  const branch = canonicalBranch(name)
  if (!branch.ok) return err(`the branch of \`${worktree}\` has an unusable name: ${branch.error}`)
  if (isSymbolic(dirs.value, branch.value)) {
    return err(`branch \`${branch.value}\` stands for another ref, so a commit would move that one`)
  }
  return branch
}

function branchOf(head: string): string | null {
  return /^ref: refs\/heads\/(.+)\n$/.exec(head)?.[1] ?? null
}

/** A rebase detaches HEAD and moves the branch it names when it is done. */
function rebasedBranch(git: string): string | null {
  for (const dir of ['rebase-merge', 'rebase-apply']) {
    const text = readText(join(git, dir, 'head-name'))
    const name = text === null ? null : /^refs\/heads\/(.+)\n$/.exec(text)?.[1]
    if (name) return name
  }
  return null
}

/** A branch file that holds `ref: …` makes writes to the branch land elsewhere. */
function isSymbolic(dirs: GitDirs, branch: string): boolean {
  return readText(join(dirs.common, 'refs/heads', branch))?.startsWith('ref:') ?? false
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Whether the repository has this full ref, loose or packed. */
export function hasRef(dirs: GitDirs, ref: string): boolean {
  try {
    if (lstatSync(join(dirs.common, ref)).isFile()) return true
  } catch {
    // Not loose; it may be packed.
  }
  const packed = readText(join(dirs.common, 'packed-refs'))
  return (packed ?? '').split('\n').some((line) => line.slice(41) === ref)
}

/**
 * A local branch that its name alone reaches: git resolves a name as a tag before a branch, so a
 * name that both carry would push or read something other than what the facts say.
 */
export function localBranch(worktree: string, name: string): Result<string, string> {
  const branch = canonicalBranch(name)
  if (!branch.ok) return branch
  const dirs = gitDirs(worktree)
  if (!dirs.ok) return dirs
  if (!hasRef(dirs.value, `refs/heads/${branch.value}`)) {
    return err(`\`${branch.value}\` is not a branch of this working tree: create it first`)
  }
  if (hasRef(dirs.value, `refs/tags/${branch.value}`)) {
    return err(`\`${branch.value}\` is a branch and a tag: rename one, then repeat the call`)
  }
  if (isSymbolic(dirs.value, branch.value)) {
    return err(`branch \`${branch.value}\` stands for another ref`)
  }
  return branch
}

/** `null`: the revision can show any branch of the repository. */
export type Revision = readonly string[] | null

/**
 * The branches that a revision expression reads. Whatever is not provably a revision is refused:
 * `git diff` and `git checkout` take the same argument as a path, `git diff` even outside the
 * repository.
 */
export function revisionBranches(worktree: string, text: string): Result<Revision, string> {
  const dirs = gitDirs(worktree)
  if (!dirs.ok) return dirs
  const sides = text.split(/\.{2,3}/)
  if (sides.length > 2) return err(`\`${text}\` is not one range of revisions`)
  const found = new Set<string>()
  let any = false
  for (const side of sides) {
    const one = oneRevision(worktree, dirs.value, side === '' && sides.length === 2 ? 'HEAD' : side)
    if (!one.ok) return one
    if (one.value === null) any = true
    else found.add(one.value)
  }
  return ok(any ? null : [...found])
}

function oneRevision(worktree: string, dirs: GitDirs, side: string): Result<string | null, string> {
  const base = side.replace(/(?:[~^]\d*)+$/, '')
  if (base === 'HEAD') {
    return currentBranch(worktree)
  }
  const name = canonicalBranch(base)
  if (name.ok) {
    if (hasRef(dirs, `refs/tags/${name.value}`)) return ok(null)
    if (hasRef(dirs, `refs/heads/${name.value}`)) return name
    const remote = /^[^/]+\/(.+)$/.exec(name.value)?.[1]
    if (remote !== undefined && hasRef(dirs, `refs/remotes/${name.value}`)) {
      return canonicalBranch(remote)
    }
  }
  // A hash may belong to any branch. It holds no `/`, so it cannot be a path out of the repository.
  if (/^[0-9a-f]{7,64}$/.test(base)) return ok(null)
  return err(`\`${side}\` is no branch, tag or commit hash of this repository`)
}

/**
 * The folder of the working tree from which git runs hooks, if the repository's config names one: a
 * file written there is code that the next commit runs.
 */
export function hooksFolder(worktree: string): string | null {
  const dirs = gitDirs(worktree)
  const text = dirs.ok ? readText(join(dirs.value.common, 'config')) : null
  const named = /^\s*hooksPath\s*=\s*"?([^"\n]+?)"?\s*$/im.exec(text ?? '')?.[1]
  if (named === undefined) return null
  const inside = relative(worktree, resolve(worktree, named))
  return inside.startsWith('..') || isAbsolute(inside) ? null : inside
}

/** Whether the repository's config holds credentials, which `git remote -v` would print. */
export function configSecrets(worktree: string): Result<readonly string[], string> {
  const dirs = gitDirs(worktree)
  if (!dirs.ok) return dirs
  const text = readText(join(dirs.value.common, 'config'))
  if (text === null) return err(`the git config of \`${worktree}\` cannot be read`)
  const holds = /:\/\/[^/\s"]*@|extraheader|password|token/i.test(text)
  return ok(holds ? ['.git/config'] : [])
}

/**
 * Secrets among the files that git does not track: what `git add --all` would stage, or with
 * `ignored` what `git clean -x` would delete. The one probe that needs a `git` process.
 */
export function untrackedSecrets(options: {
  worktree: string
  ignored: boolean
}): Promise<Result<readonly string[], string>> {
  const args = ['-c', 'core.fsmonitor=false', 'ls-files', '-z', '--others']
  if (!options.ignored) args.push('--exclude-standard')
  return new Promise((resolve) => {
    execFile(
      'git',
      args,
      {
        cwd: options.worktree,
        maxBuffer: UNTRACKED_BYTES_MAX,
        timeout: UNTRACKED_TIMEOUT_MS,
        encoding: 'utf8',
        env: {
          PATH: process.env.PATH ?? '',
          HOME: process.env.HOME ?? '',
          GIT_OPTIONAL_LOCKS: '0',
        },
      },
      (error, stdout) => {
        if (error !== null) resolve(err('the untracked files of the working tree cannot be listed'))
        else resolve(ok(stdout.split('\0').filter((path) => path !== '' && isSecretPath(path))))
      },
    )
  })
}
