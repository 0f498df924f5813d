import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAst } from 'vitest/node'

/*
 * The conventions that a reader relies on, enforced. The design's import law is the order of
 * `LAYERS`: a folder of `src` imports from folders above it in this list, and from no other.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['badge', 'catalog', 'ledger', 'lease-file', 'owner.ts', 'version.ts'],
  ['verify'],
  ['store'],
  ['runs'],
  ['gateway'],
  ['authority'],
  ['console'],
  ['engine.ts'],
  ['surface.ts'],
  ['server.ts'],
  ['client'],
  ['adapters', 'cli'],
]

const FUNCTION_LINES_MAX = 70
const FILE_LINES_MAX = 400
const COLUMNS_MAX = 100

const ROOT = resolve(import.meta.dirname, '..')
const SOURCES = filesOf('src')
const OWN = [...SOURCES, ...filesOf('examples'), ...filesOf('bench')]
const ALL = [...OWN, ...filesOf('test')]

interface Source {
  /** Relative to the repository. */
  readonly path: string
  readonly text: string
  readonly tree: Node
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [member: string]: unknown
}

function filesOf(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map((file) => {
      const path = join(folder, file)
      return sourceOf(path, readFileSync(join(ROOT, path), 'utf8'))
    })
}

function sourceOf(path: string, text: string): Source {
  return { path, text, tree: parseAst(text, { lang: 'ts' }) as unknown as Node }
}

/** Every node of a syntax tree, parents before children. */
function* nodesOf(value: unknown): Generator<Node> {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) yield* nodesOf(item)
    return
  }
  if (typeof (value as Node).type === 'string') yield value as Node
  for (const member of Object.values(value)) yield* nodesOf(member)
}

function lineAt(source: Source, offset: number): number {
  return source.text.slice(0, offset).split('\n').length
}

function place(source: Source, node: Node): string {
  return `${source.path}:${lineAt(source, node.start)}`
}

/** What a file imports or exports from elsewhere, dynamic imports and worker files included. */
function importsOf(source: Source): string[] {
  return [...nodesOf(source.tree)].flatMap((node) => {
    const isImport = /^(?:Import|ExportNamed|ExportAll)(?:Declaration|Expression)$/.test(node.type)
    const specifier = isImport ? (node.source as Node | null) : null
    return typeof specifier?.value === 'string' ? [specifier.value] : []
  })
}

/** The files that a file imports, relative to the repository. */
function filesImportedBy(source: Source): string[] {
  return importsOf(source)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => relative(ROOT, resolve(ROOT, dirname(source.path), specifier)))
}

function layerOf(path: string): number {
  const top = path.split('/')[1]!
  return LAYERS.findIndex((names) => names.includes(top))
}

function lawFaults(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => {
    const own = layerOf(source.path)
    if (own === -1) return [`${source.path} belongs to no layer: give its folder one`]
    return filesImportedBy(source)
      .filter((path) => {
        const isOutside = !path.startsWith('src/')
        const isSameFolder = path.split('/')[1] === source.path.split('/')[1]
        return isOutside || (!isSameFolder && layerOf(path) >= own)
      })
      .map((path) => `${source.path} imports ${path}`)
  })
}

function coreFaults(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => {
    const foreign = importsOf(source).filter((specifier) => !/^\.\/[^/]+$/.test(specifier))
    const impure = [...nodesOf(source.tree)].filter(isImpure)
    return [
      ...foreign.map((specifier) => `${source.path} imports ${specifier}`),
      ...impure.map((node) => `${place(source, node)} is not pure`),
    ]
  })
}

const IMPURE_NAMES = new Set([
  ...['crypto', 'fetch', 'globalThis', 'performance', 'process', 'Promise', 'queueMicrotask'],
  ...['setImmediate', 'setInterval', 'setTimeout', 'Intl', 'console'],
])

/** A clock, randomness, I/O, or something that happens later. */
function isImpure(node: Node): boolean {
  if (node.type === 'AwaitExpression' || node.async === true) return true
  if (node.type === 'Identifier') return IMPURE_NAMES.has(node.name as string)
  if (node.type === 'NewExpression') return (node.callee as Node).name === 'Date'
  if (node.type !== 'MemberExpression') return false
  const { object, property } = node as unknown as { object: Node; property: Node }
  return (
    object.name === 'Date' ||
    (object.name === 'Math' && property.name === 'random') ||
    /^toLocale|^localeCompare$/.test(String(property.name))
  )
}

/**
 * A cycle of files, from a file to itself; null if there is none. Types count: they bind readers.
 */
function cycleOf(edges: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): string[] | null => {
    const at = trail.indexOf(path)
    if (at !== -1) return [...trail.slice(at), path]
    if (done.has(path)) return null
    for (const next of edges.get(path) ?? []) {
      const cycle = visit(next, [...trail, path])
      if (cycle !== null) return cycle
    }
    done.add(path)
    return null
  }
  for (const path of edges.keys()) {
    const cycle = visit(path, [])
    if (cycle !== null) return cycle
  }
  return null
}

function longFunctions(sources: readonly Source[]): string[] {
  return sources.flatMap((source) =>
    [...nodesOf(source.tree)].flatMap((node) => {
      const isFunction = /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/
      if (!isFunction.test(node.type)) return []
      const lines = lineAt(source, node.end) - lineAt(source, node.start) + 1
      return lines > FUNCTION_LINES_MAX ? [`${place(source, node)} has ${lines} lines`] : []
    }),
  )
}

function longFiles(sources: readonly Source[]): string[] {
  return sources
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > FILE_LINES_MAX)
    .map(({ path, lines }) => `${path} has ${lines} lines`)
}

/** Comments that run too wide. Code is broken by the formatter, which leaves long texts whole. */
function wideComments(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      const isWide = [...line].length > COLUMNS_MAX && /^\s*(?:\/\/(?! biome-)|\/?\*)/.test(line)
      return isWide ? [`${path}:${index + 1} has ${[...line].length} columns`] : []
    }),
  )
}

/** Promises to the reader that nobody keeps. */
const PROMISES = /\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b/
/** Ways around the compiler. */
const BYPASSES = /@ts-(?:i[g]nore|n[o]check|e[x]pect-error)/

function markedLines(sources: readonly Source[], mark: RegExp): string[] {
  return sources.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (mark.test(line) ? [`${path}:${index + 1}`] : [])),
  )
}

function nodesThat(sources: readonly Source[], is: (node: Node) => boolean): string[] {
  return sources.flatMap((source) =>
    [...nodesOf(source.tree)].filter(is).map((node) => place(source, node)),
  )
}

/** `test.only`, `describe.skip` and their like: a run that leaves tests out must not be green. */
function isLeftOut(node: Node): boolean {
  if (node.type !== 'MemberExpression') return false
  const { object, property } = node as unknown as { object: Node; property: Node }
  const isRunner = /^(?:test|it|describe|suite|bench)$/.test(String(object.name))
  return isRunner && /^(?:only|skip|skipIf|runIf|todo|fails)$/.test(String(property.name))
}

function isKebab(path: string): boolean {
  return /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test)?\.ts$/.test(basename(path))
}

function packageOf(specifier: string): string {
  const [first, second] = specifier.split('/')
  return specifier.startsWith('@') ? `${first}/${second}` : first!
}

describe('the import law', () => {
  test('a folder imports only from the layers below it', () => {
    expect(lawFaults(SOURCES)).toEqual([])
  })

  test('core imports nothing, and has no clock, randomness, I/O or async', () => {
    expect(coreFaults(SOURCES.filter(({ path }) => path.startsWith('src/core/')))).toEqual([])
  })

  test('no file imports itself by way of others', () => {
    const edges = new Map(SOURCES.map((source) => [source.path, filesImportedBy(source)]))
    expect(cycleOf(edges)).toBeNull()
  })

  test('sources import installed dependencies only, never development tools', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const faults = SOURCES.flatMap((source) =>
      importsOf(source)
        .filter((specifier) => !/^(?:\.|node:)/.test(specifier))
        .filter((specifier) => !Object.hasOwn(dependencies, packageOf(specifier)))
        .map((specifier) => `${source.path} imports ${specifier}`),
    )
    expect(faults).toEqual([])
  })

  test('relative imports name the file that Node runs', () => {
    const faults = ALL.flatMap((source) =>
      importsOf(source)
        .filter((specifier) => specifier.startsWith('.') && !/\.(?:ts|json)$/.test(specifier))
        .map((specifier) => `${source.path} imports ${specifier}`),
    )
    expect(faults).toEqual([])
  })
})

describe('size and style', () => {
  test(`functions have at most ${FUNCTION_LINES_MAX} lines`, () => {
    expect(longFunctions(OWN)).toEqual([])
  })

  test(`files have at most ${FILE_LINES_MAX} lines`, () => {
    expect(longFiles(OWN)).toEqual([])
  })

  test(`comments have at most ${COLUMNS_MAX} columns`, () => {
    expect(wideComments(ALL)).toEqual([])
  })

  test('names of files are kebab-case', () => {
    expect(ALL.map(({ path }) => path).filter((path) => !isKebab(path))).toEqual([])
  })

  test('exports have names', () => {
    expect(nodesThat(ALL, ({ type }) => type === 'ExportDefaultDeclaration')).toEqual([])
  })

  test('no source is typed `any`, and no line goes around the compiler', () => {
    expect(nodesThat(SOURCES, ({ type }) => type === 'TSAnyKeyword')).toEqual([])
    expect(markedLines(ALL, BYPASSES)).toEqual([])
  })

  test('nothing is left for later, and no test is left out', () => {
    expect(markedLines(ALL, PROMISES)).toEqual([])
    expect(nodesThat(ALL, isLeftOut)).toEqual([])
  })
})

describe('threats', () => {
  const list = readFileSync(join(ROOT, 'docs/threats.md'), 'utf8')
  const known = new Map([...list.matchAll(/^(\d+)\. (.+)$/gm)].map(([, id, text]) => [id!, text!]))

  test('are numbered without a gap', () => {
    expect([...known.keys()]).toEqual([...known.keys()].map((_, index) => String(index + 1)))
  })

  test('have the numbers that comments and tests name', () => {
    const named = threatsNamedIn(ALL)
    expect(named.size).toBeGreaterThan(40)
    expect([...named].filter((id) => !known.has(id))).toEqual([])
  })

  test('are named by a test, or marked', () => {
    const named = threatsNamedIn(ALL.filter(({ path }) => path.endsWith('.test.ts')))
    const silent = [...known].filter(([id, text]) => !named.has(id) && !/\*\(no/.test(text))
    expect(silent.map(([id]) => id)).toEqual([])
    const wrong = [...known].filter(([id, text]) => named.has(id) && /no test names it/.test(text))
    expect(wrong.map(([id]) => id)).toEqual([])
  })
})

/** `threat 27`, `threats 6, 7`, `Threats 18 and 80`. */
function threatsNamedIn(sources: readonly Source[]): Set<string> {
  const mentions = sources.flatMap(({ text }) => [
    ...text.matchAll(/\bthreats? (\d+(?:(?:, | and )\d+)*)/gi),
  ])
  return new Set(mentions.flatMap(([, numbers]) => numbers!.match(/\d+/g)!))
}

/** Each rule finds what it is there for: a scanner that sees nothing would be green for ever. */
describe('the scanner', () => {
  const core = (text: string) => coreFaults([sourceOf('src/core/sample.ts', text)])

  test.each([
    ['a clock', 'export const now = Date.now()'],
    ['a date', 'export const now = new Date()'],
    ['randomness', 'export const dice = Math.random()'],
    ['async', 'export const later = async () => 1'],
    ['a promise', 'export const later = Promise.resolve(1)'],
    ['a locale', 'export const text = (1).toLocaleString()'],
    ['a module of Node', "import { hash } from 'node:crypto'\nexport const h = hash"],
    ['another folder', "import type { Row } from '../store/store.ts'\nexport type R = Row"],
  ])('sees %s in core', (_what, text) => {
    expect(core(text)).not.toEqual([])
  })

  test('sees nothing where there is nothing', () => {
    expect(core("import { ok } from './result.ts'\nexport const one = ok(1)")).toEqual([])
  })

  test('sees an import against the law, and a folder without a layer', () => {
    const against = sourceOf('src/ledger/sample.ts', "import { a } from '../store/store.ts'\na()")
    const homeless = sourceOf('src/elsewhere/sample.ts', 'export const a = 1')
    const sideways = sourceOf('src/badge/sample.ts', "export { a } from '../ledger/chain.ts'")
    expect(lawFaults([against, homeless, sideways])).toHaveLength(3)
  })

  test('sees a cycle', () => {
    const edges = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b']],
    ])
    expect(cycleOf(edges)).toEqual(['b', 'c', 'b'])
  })

  test('sees functions, files and lines that are too long', () => {
    const body = '  one()\n'.repeat(FUNCTION_LINES_MAX)
    const method = sourceOf('src/a.ts', `export class A {\n  run() {\n${body}  }\n}\n`)
    const arrow = sourceOf('src/b.ts', `export const b = () => {\n${body}}\n`)
    expect(longFunctions([method, arrow])).toHaveLength(2)
    expect(longFiles([sourceOf('src/c.ts', 'one()\n'.repeat(FILE_LINES_MAX + 1))])).toHaveLength(1)
    expect(wideComments([sourceOf('src/d.ts', `// ${'x'.repeat(COLUMNS_MAX)}\n`)])).toHaveLength(1)
  })

  test('sees tests that are left out, `any`, default exports and marks', () => {
    const skipped = sourceOf('test/a.test.ts', `test${'.'}skip('a', () => {})`)
    expect(nodesThat([skipped], isLeftOut)).toHaveLength(1)
    const loose = sourceOf('src/a.ts', 'export default 1\nexport const a = 1 as any\n')
    expect(nodesThat([loose], ({ type }) => type === 'TSAnyKeyword')).toHaveLength(1)
    expect(nodesThat([loose], ({ type }) => type === 'ExportDefaultDeclaration')).toHaveLength(1)
    const marks = ['T', 'ODO', '@ts-', 'ignore']
    const marked = sourceOf('src/b.ts', `// ${marks[0]}${marks[1]}\n// ${marks[2]}${marks[3]}\n`)
    expect(markedLines([marked], PROMISES)).toHaveLength(1)
    expect(markedLines([marked], BYPASSES)).toHaveLength(1)
    expect(isKebab('src/callKey.ts')).toBe(false)
  })
})
