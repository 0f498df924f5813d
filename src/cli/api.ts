import type { Entry } from '../core/entry.ts'
import type { Json, RunId } from '../core/id.ts'
import { fromSnapshot } from '../core/snapshot.ts'
import type { Ask, Run, Tree } from '../core/tree.ts'
import type { Prompt } from '../lease-file/prompt.ts'
import type { Receipt } from '../ledger/receipt.ts'
import { type Owner, ownerOf } from '../owner.ts'
import { EXIT, Failure } from './exit.ts'
import type { Project } from './project.ts'

/** A request of the CLI that nobody answers in this time is given up. */
const REQUEST_TIMEOUT_MS = 60_000
const FULL_RUN_ID = /^run_[a-z0-9]{20}$/

/**
 * The operator's API of the project: of the process that owns the database, or of one that is
 * started here, without servers, when nobody does.
 */
export class Api implements AsyncDisposable {
  readonly url: string
  /** Another process answers; it may execute calls. */
  readonly isRemote: boolean
  readonly #token: string
  readonly #person: string
  readonly #close: () => Promise<void>

  private constructor(of: {
    url: string
    token: string
    person: string
    isRemote: boolean
    close: () => Promise<void>
  }) {
    this.url = of.url
    this.isRemote = of.isRemote
    this.#token = of.token
    this.#person = of.person
    this.#close = of.close
  }

  /** The API of a process that is known to live. */
  static of({ url, token }: Pick<Owner, 'url' | 'token'>, person: string): Api {
    const close = async (): Promise<void> => {}
    return new Api({ url, token, person, isRemote: true, close })
  }

  static async open(project: Project, person: string): Promise<Api> {
    const owner = await ownerOf(project.folder)
    if (owner !== null) return Api.of(owner, person)
    // Loaded only when it is needed: the whole of Daypass takes a second to load.
    const { startDaypass } = await import('../server.ts')
    // Questions about runs need no servers, so the secrets of their configuration need not be
    // there.
    const started = await startDaypass({
      folder: project.folder,
      configFile: null,
      operator: person,
      servers: false,
    })
    if (!started.ok) throw new Failure(started.error.join('\n'))
    const { url, operatorToken: token } = started.value
    return new Api({ url, token, person, isRemote: false, close: () => started.value.close() })
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#request('GET', path)) as T
  }

  async post<T>(path: string, body: Json): Promise<T> {
    return (await this.#request('POST', path, body)) as T
  }

  async trees(options: { all: boolean }): Promise<Tree[]> {
    const open = options.all ? '' : '?open=true'
    const { trees } = await this.get<{ trees: Json[] }>(`/v1/trees${open}`)
    return trees.map(fromSnapshot)
  }

  async show(run: RunId): Promise<{ tree: Tree; run: Run; prompt: Prompt | null }> {
    const found = await this.get<{ tree: Json; run: RunId; prompt: Prompt | null }>(
      `/v1/runs/${run}/tree`,
    )
    const tree = fromSnapshot(found.tree)
    return { tree, run: tree.runs.get(found.run)!, prompt: found.prompt }
  }

  async entries(run: RunId): Promise<Entry[]> {
    const all: Entry[] = []
    for (let after: number | null = 0; after !== null; ) {
      const path = `/v1/runs/${run}/entries?after=${after}`
      const page: { entries: Entry[]; next: number | null } = await this.get(path)
      all.push(...page.entries)
      after = page.next
    }
    return all
  }

  /** Null while the run tree is not closed. */
  async receipt(run: RunId): Promise<Receipt | null> {
    const response = await this.#send('GET', `/v1/runs/${run}/receipt`)
    if (response.status === 409) return null
    return (await this.#read(response)) as Receipt
  }

  /**
   * The run that a person means: an id, an unambiguous beginning of one, or a label of its lease.
   */
  async findRun(text: string): Promise<{ tree: Tree; run: Run }> {
    if (FULL_RUN_ID.test(text)) return this.show(text as RunId)
    for (const all of [false, true]) {
      const found = (await this.trees({ all })).flatMap((tree) =>
        [...tree.runs.values()].filter((run) => isMeant(run, text)).map((run) => ({ tree, run })),
      )
      if (found.length === 1) return found[0]!
      if (found.length > 1)
        throw ambiguous(
          text,
          found.map(({ run }) => run.id),
        )
    }
    throw new Failure(`no run \`${text}\` here\n  daypass ps --all lists them`, EXIT.usage)
  }

  /** The ask that a person means. */
  async findAsk(text: string): Promise<{ tree: Tree; ask: Ask }> {
    const found = (await this.trees({ all: false })).flatMap((tree) =>
      [...tree.asks.values()]
        .filter((ask) => ask.id.startsWith(text))
        .map((ask) => ({ tree, ask })),
    )
    if (found.length === 1) return found[0]!
    if (found.length > 1)
      throw ambiguous(
        text,
        found.map(({ ask }) => ask.id),
      )
    throw new Failure(`no ask \`${text}\` in an open run\n  daypass ps lists the runs`, EXIT.usage)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }

  async #request(method: 'GET' | 'POST', path: string, body?: Json): Promise<unknown> {
    return this.#read(await this.#send(method, path, body))
  }

  async #send(method: 'GET' | 'POST', path: string, body?: Json): Promise<Response> {
    try {
      return await fetch(this.url + path, {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          'daypass-person': encodeURIComponent(this.#person),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
    } catch {
      throw new Failure(`the process that owns this project does not answer at ${this.url}`)
    }
  }

  async #read(response: Response): Promise<unknown> {
    const body = (await response.json().catch(() => ({}))) as { detail?: string; title?: string }
    if (response.ok) return body
    const code = body.title === undefined ? '' : ` (${body.title})`
    const exit = response.status === 404 ? EXIT.usage : EXIT.failed
    const message = `${body.detail ?? `the answer was ${response.status}`}${code}`
    throw new Failure(message, exit, body.title ?? null)
  }
}

function isMeant(run: Run, text: string): boolean {
  if (run.id.startsWith(text) || run.id.startsWith(`run_${text}`)) return true
  return run.lease?.terms.labels.run_id === text
}

function ambiguous(text: string, ids: readonly string[]): Failure {
  const shown = ids.slice(0, 8).map((id) => `\n  ${id}`)
  return new Failure(`\`${text}\` means ${ids.length} runs; write more of it${shown.join('')}`, 2)
}
