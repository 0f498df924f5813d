import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import {
  type ChangedFile,
  changedFiles,
  commitOf,
  commitsAhead,
  ForgeError,
  listBranches,
  mergeInto,
  type TestReport,
  testCommit,
} from './forge-git.ts'

const ENVIRONMENTS = ['staging', 'production']
/** State is kept in memory: a caller in a loop must not fill it. */
const RECORDS_MAX = 10_000

export interface PullRequest {
  readonly repo: string
  readonly number: number
  readonly url: string
  readonly title: string
  readonly body: string
  readonly head: string
  readonly base: string
  readonly headCommit: string
  readonly baseCommit: string
  readonly files: readonly ChangedFile[]
  readonly state: 'open' | 'merged'
  readonly mergeCommit: string | null
}

export interface Deployment {
  readonly repo: string
  readonly environment: string
  readonly commit: string
  readonly at: string
}

export interface User {
  readonly email: string
  readonly repos: readonly string[]
  readonly state: 'member' | 'invited'
}

/** Everything the forge remembers beside the git repositories. Plain JSON. */
export interface ForgeRecords {
  pullRequests: PullRequest[]
  deployments: Deployment[]
  users: User[]
  secrets: Record<string, string>
}

export interface ForgeOptions {
  /** Repository name → path of its bare git repository. */
  readonly repos: Readonly<Record<string, string>>
  /** JSON file that the records are loaded from and saved to; null: memory only. */
  readonly stateFile: string | null
  /** How long opening a pull request takes at least, as over a network. */
  readonly latencyMs?: number
}

/**
 * A code forge: branches, pull requests, tests, deployments, secrets and users of real
 * repositories.
 */
export class ForgeState {
  readonly #repos: ReadonlyMap<string, string>
  readonly #stateFile: string | null
  readonly records: ForgeRecords
  /** Changes run one after another: what one has checked, another must not change under it. */
  #tail: Promise<unknown> = Promise.resolve()

  readonly latencyMs: number

  constructor(options: ForgeOptions) {
    this.latencyMs = options.latencyMs ?? 0
    this.#repos = new Map(Object.entries(options.repos))
    this.#stateFile = options.stateFile
    this.records = loadRecords(options.stateFile, [...this.#repos.keys()])
  }

  /** Branches of a repository. */
  async listBranches(repo: string): Promise<{ name: string; commit: string }[]> {
    return listBranches(this.#bare(repo))
  }

  /** Pull requests of a repository, oldest first. */
  listPullRequests(repo: string): PullRequest[] {
    this.#bare(repo)
    return this.records.pullRequests.filter((each) => each.repo === repo)
  }

  /** One pull request. */
  getPullRequest(repo: string, number: number): PullRequest {
    const found = this.listPullRequests(repo).find((each) => each.number === number)
    if (found === undefined) throw new ForgeError(`${repo} has no pull request ${number}`)
    return found
  }

  /**
   * Opens a pull request. Its head must exist on the remote and have commits that its base lacks.
   */
  createPullRequest(
    draft: Pick<PullRequest, 'repo' | 'head' | 'base' | 'title' | 'body'>,
  ): Promise<PullRequest> {
    return this.#serially(async () => {
      const { repo, head, base } = draft
      const bare = this.#bare(repo)
      const headCommit = await this.#commit(repo, head)
      const baseCommit = await this.#commit(repo, base)
      const ofRepo = this.listPullRequests(repo)
      const same = ofRepo.find((p) => p.state === 'open' && p.head === head && p.base === base)
      if (same !== undefined) {
        throw new ForgeError(`pull request ${same.number} for ${head} into ${base} is already open`)
      }
      if ((await commitsAhead(bare, baseCommit, headCommit)) === 0) {
        throw new ForgeError(`no commits between ${base} and ${head}: there is nothing to review`)
      }
      const number = ofRepo.length + 1
      const pull: PullRequest = {
        ...draft,
        number,
        url: `https://forge.clord.example/${repo}/pulls/${number}`,
        headCommit,
        baseCommit,
        files: await changedFiles(bare, baseCommit, headCommit),
        state: 'open',
        mergeCommit: null,
      }
      this.#add(this.records.pullRequests, pull)
      return pull
    })
  }

  /** Merges an open pull request into its base with a merge commit. */
  mergePullRequest(repo: string, number: number): Promise<PullRequest> {
    return this.#serially(async () => {
      const pull = this.getPullRequest(repo, number)
      if (pull.state !== 'open') throw new ForgeError(`pull request ${number} is ${pull.state}`)
      const head = await this.#commit(repo, pull.head)
      const message = `Merge pull request ${number}: ${pull.title}`
      const mergeCommit = await mergeInto(this.#bare(repo), { base: pull.base, head, message })
      const merged: PullRequest = { ...pull, headCommit: head, state: 'merged', mergeCommit }
      this.records.pullRequests[this.records.pullRequests.indexOf(pull)] = merged
      this.#save()
      return merged
    })
  }

  /** Runs the project's own tests on what a branch holds on the remote. */
  runTests(repo: string, branch: string): Promise<TestReport> {
    return this.#serially(async () =>
      testCommit(this.#bare(repo), await this.#commit(repo, branch)),
    )
  }

  /** Deploys the main branch to an environment. */
  deploy(repo: string, environment: string): Promise<Deployment> {
    return this.#serially(async () => {
      if (!ENVIRONMENTS.includes(environment)) {
        throw new ForgeError(`no environment \`${environment}\`: ${ENVIRONMENTS.join(' or ')}`)
      }
      const commit = await this.#commit(repo, 'main')
      const deployment = { repo, environment, commit, at: new Date().toISOString() }
      this.#add(this.records.deployments, deployment)
      return deployment
    })
  }

  /** The value of a secret. */
  readSecret(name: string): string {
    if (!Object.hasOwn(this.records.secrets, name)) throw new ForgeError(`no secret \`${name}\``)
    return this.records.secrets[name]!
  }

  /** Invites somebody to a repository. */
  inviteUser(email: string, repo: string): User {
    this.#bare(repo)
    if (this.records.users.some((user) => user.email === email && user.repos.includes(repo))) {
      throw new ForgeError(`${email} has access to ${repo} already`)
    }
    const user: User = { email, repos: [repo], state: 'invited' }
    this.#add(this.records.users, user)
    return user
  }

  /** Everybody who has access or an invitation. */
  listUsers(): readonly User[] {
    return this.records.users
  }

  #bare(repo: string): string {
    const bare = this.#repos.get(repo)
    if (bare === undefined) throw new ForgeError(`no repository \`${repo}\``)
    return bare
  }

  async #commit(repo: string, branch: string): Promise<string> {
    const commit = await commitOf(this.#bare(repo), branch)
    if (commit === null) throw new ForgeError(`${repo} has no branch \`${branch}\` on the remote`)
    return commit
  }

  #add<T>(list: T[], record: T): void {
    if (list.length >= RECORDS_MAX) throw new ForgeError('the forge is full')
    list.push(record)
    this.#save()
  }

  #save(): void {
    if (this.#stateFile === null) return
    const next = `${this.#stateFile}.next`
    writeFileSync(next, `${JSON.stringify(this.records, null, 2)}\n`, { mode: 0o600 })
    renameSync(next, this.#stateFile)
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.catch(() => undefined)
    return result
  }
}

function loadRecords(file: string | null, repos: string[]): ForgeRecords {
  const fresh: ForgeRecords = {
    pullRequests: [],
    deployments: [],
    users: [{ email: 'maintainer@clord.example', repos, state: 'member' }],
    secrets: { NPM_TOKEN: `npm_${randomBytes(18).toString('hex')}` },
  }
  if (file === null || !existsSync(file)) return fresh
  return { ...fresh, ...(JSON.parse(readFileSync(file, 'utf8')) as Partial<ForgeRecords>) }
}
