import { createHash, hash } from 'node:crypto'
import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { canonicalJson } from '../core/canonical-json.ts'

/** What stands behind the name of a server, as its configuration says. */
export type Program =
  | { readonly kind: 'http'; readonly url: string }
  | {
      readonly kind: 'stdio'
      readonly command: string
      readonly args: readonly string[]
      readonly cwd: string
      /** As written: a secret that `env:NAME` stands for may change, what stands for it may not. */
      readonly env: Readonly<Record<string, string>>
    }

/** Reading more at each start would be felt. What is larger is known by its path and size. */
const FILE_BYTES_MAX = 64 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024

interface Known {
  readonly state: string
  readonly hash: string
}

/** Hashes of the programs of servers. Files that have not changed are not read again. */
export class ProgramHasher {
  readonly #files = new Map<string, Known>()

  /**
   * SHA-256 (hex) over what is started, and the content of the files that the command names by
   * their paths: the executable and, say, its script. What is found through `PATH` belongs to
   * whoever owns the machine, and is known by its name. Throws when a file cannot be read.
   */
  hash(program: Program): string {
    if (program.kind === 'http') return hash('sha256', canonicalJson(program), 'hex')
    const { command, args, cwd } = program
    const files = [
      ...(isPath(command) ? [this.#file(resolve(cwd, command))] : []),
      ...args.flatMap((word) => pathsIn(word).map((path) => this.#file(resolve(cwd, path)))),
    ]
    return hash('sha256', canonicalJson({ ...program, files }), 'hex')
  }

  /** Null: there is no such file, so the word means something else. */
  #file(path: string): string | null {
    let stat: ReturnType<typeof statSync>
    let real: string
    try {
      real = realpathSync(path)
      stat = statSync(real)
    } catch {
      return null
    }
    if (!stat.isFile()) return null
    if (stat.size > FILE_BYTES_MAX) return `size ${stat.size}`
    const state = `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`
    const known = this.#files.get(real)
    if (known?.state === state) return known.hash
    const digest = hashFile(real)
    this.#files.set(real, { state, hash: digest })
    return digest
  }
}

/** Words such as `--config=server.json` name a file as well. */
function pathsIn(word: string): string[] {
  const value = /^--?[\w-]+=(.+)$/s.exec(word)?.[1]
  return value === undefined ? [word] : [word, value]
}

function isPath(command: string): boolean {
  return isAbsolute(command) || /[/\\]/.test(command)
}

function hashFile(path: string): string {
  const sum = createHash('sha256')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  const fd = openSync(path, 'r')
  try {
    for (;;) {
      const read = readSync(fd, chunk)
      if (read === 0) return sum.digest('hex')
      sum.update(chunk.subarray(0, read))
    }
  } finally {
    closeSync(fd)
  }
}
