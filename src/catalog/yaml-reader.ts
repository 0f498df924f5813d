import { type Document, isMap, isPair, LineCounter, type Node, parseDocument } from 'yaml'

/** What is wrong in a catalog file, where a person finds it. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message: string
}

/** `catalog/git.yaml:12:5: unknown action …` */
export function formatProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`
}

/** A position in the document: keys and indices from the root. */
export type Path = readonly (string | number)[]

/**
 * Catalogs are read at start, from disk: a bound against a file that was swapped for a huge one.
 */
const CATALOG_BYTES_MAX = 2_000_000

/** Reads plain data out of YAML and collects problems with their positions. */
export class YamlReader {
  readonly problems: Problem[] = []
  readonly #file: string
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed | null

  constructor(text: string, file: string) {
    this.#file = file
    if (text.length > CATALOG_BYTES_MAX) {
      this.#document = null
      this.#add(0, `larger than ${CATALOG_BYTES_MAX} bytes`)
      return
    }
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    for (const error of this.#document.errors) this.#add(error.pos[0], error.message)
  }

  /**
   * The document as plain data; null when it is not YAML. Aliases are refused: they can explode.
   */
  root(): unknown {
    if (this.#document === null || this.problems.length > 0) return null
    try {
      return this.#document.toJS({ maxAliasCount: 0 })
    } catch {
      this.#add(0, 'anchors and aliases are not supported: write the value out')
      return null
    }
  }

  /** Records a problem at the value of a path, or at the key of it. */
  fail(path: Path, message: string, at: 'value' | 'key' = 'value'): undefined {
    this.#add(this.#offset(path, at), message)
    return undefined
  }

  map(path: Path, value: unknown): Record<string, unknown> | undefined {
    if (isRecord(value)) return value
    return this.fail(path, `must be a map${shown(value)}`)
  }

  text(path: Path, value: unknown): string | undefined {
    if (typeof value === 'string' && value.trim() !== '') return value
    return this.fail(path, `must be a text${shown(value)}`)
  }

  /**
   * Reports members that a map must not have. Unknown is refused: a misspelt rule would not apply.
   */
  known(path: Path, map: Record<string, unknown>, names: readonly string[]): void {
    for (const key of Object.keys(map)) {
      if (names.includes(key)) continue
      this.fail([...path, key], `unknown member \`${key}\`: write ${oneOf(names)}`, 'key')
    }
  }

  choice<T extends string>(path: Path, value: unknown, names: readonly T[]): T | undefined {
    if (typeof value === 'string' && (names as readonly string[]).includes(value)) return value as T
    return this.fail(path, `must be ${oneOf(names)}${shown(value)}`)
  }

  #offset(path: Path, at: 'value' | 'key'): number {
    let node: Node | null = (this.#document?.contents ?? null) as Node | null
    let key: Node | null = null
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find((item) => isPair(item) && String(item.key) === String(step))
        if (pair === undefined) break
        key = pair.key as Node | null
        node = pair.value as Node | null
      } else {
        const next: unknown = (
          node as { get?: (k: unknown, keep: boolean) => unknown } | null
        )?.get?.(step, true)
        if (next === undefined) break
        key = node = next as Node | null
      }
    }
    const target = at === 'key' ? key : (node ?? key)
    return target?.range?.[0] ?? key?.range?.[0] ?? 0
  }

  #add(offset: number, message: string): void {
    const { line, col } = this.#lines.linePos(offset)
    this.problems.push({ file: this.#file, line: line || 1, column: col || 1, message })
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function oneOf(names: readonly string[]): string {
  return names.length === 1
    ? `\`${names[0]}\``
    : `one of ${names.map((n) => `\`${n}\``).join(', ')}`
}

function shown(value: unknown): string {
  if (value === undefined) return ', and is missing'
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? ', not a list' : ', not a map'
  return `, not \`${String(value)}\``
}
