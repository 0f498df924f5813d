import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAst } from 'vitest/node'
import { ENDPOINTS } from '../src/authority/api/endpoints.ts'
import { shippedVocabulary } from '../src/authority/catalogs.ts'
import { OVERRIDES } from '../src/authority/config-env.ts'
import { configJsonSchema } from '../src/authority/config-schema.ts'
import { EXIT } from '../src/cli/exit.ts'
import { createProgram } from '../src/cli/program.ts'
import { RULES_VERSION } from '../src/core/limits.ts'
import { REASONS, REFUSALS } from '../src/core/reason.ts'
import { ENVELOPE_FIELDS } from '../src/lease-file/envelope-document.ts'
import { LEASE_FIELDS } from '../src/lease-file/lease-document.ts'
import { DEFAULT_LEASE_LIMITS } from '../src/lease-file/limits.ts'
import { parseLease } from '../src/lease-file/parse.ts'
import { GENESIS } from '../src/ledger/chain.ts'
import {
  ADDENDUM_DOMAIN,
  ADDENDUM_FORMAT,
  FORMAT_VERSION,
  RECEIPT_DOMAIN,
  RECEIPT_FORMAT,
} from '../src/ledger/receipt.ts'
import { LIMITS } from '../src/store/store.ts'

/* SPEC.md is normative. What it lists, the code has; what the code has, it lists. */

const ROOT = resolve(import.meta.dirname, '..')
const SPEC = read('SPEC.md')
const DOCUMENTS = readdirSync(ROOT).filter((file) => file.endsWith('.md'))

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** The text under a heading, up to the next heading of any level. */
function section(heading: string): string {
  const [, text] = new RegExp(`^#+ ${heading}\\n([\\s\\S]*?)(?=^#+ |(?![\\s\\S]))`, 'm').exec(SPEC)!
  return text!
}

/** The rows of the tables under a heading, without their heads. */
function rows(heading: string): string[][] {
  const lines = section(heading).split('\n')
  return lines.flatMap((line, index) => {
    const isRow = line.startsWith('|') && !/^\| (?:---|$)/.test(line)
    const isHead = lines[index + 1]?.startsWith('| ---') === true
    if (!isRow || isHead) return []
    return [
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    ]
  })
}

function names(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)
}

/** The names in the first column of the tables under a heading. */
function listed(heading: string): string[] {
  return rows(heading).flatMap(([first]) => names(first!))
}

interface Node {
  readonly type: string
  readonly [member: string]: unknown
}

function* nodesOf(value: unknown): Generator<Node> {
  if (typeof value !== 'object' || value === null) return
  if (typeof (value as Node).type === 'string') yield value as Node
  for (const member of Object.values(value)) yield* nodesOf(member)
}

function treeOf(path: string): Node {
  return parseAst(read(path), { lang: 'ts' }) as unknown as Node
}

/** The texts in a type: `'a' | 'b'`. */
function textsOf(type: unknown): string[] {
  return [...nodesOf(type)].flatMap((node) => {
    const literal = node.type === 'TSLiteralType' ? (node.literal as Node) : null
    return typeof literal?.value === 'string' ? [literal.value] : []
  })
}

/** The texts that members of this name can have, in all types of a file. */
function memberTexts(path: string, name: string): string[] {
  const found = [...nodesOf(treeOf(path))].flatMap((node) => {
    const isMember = node.type === 'TSPropertySignature' && (node.key as Node).name === name
    return isMember ? textsOf(node.typeAnnotation) : []
  })
  return [...new Set(found)]
}

function aliasTexts(path: string, name: string): string[] {
  const alias = [...nodesOf(treeOf(path))].find(
    (node) => node.type === 'TSTypeAliasDeclaration' && (node.id as Node).name === name,
  )
  return textsOf(alias!.typeAnnotation)
}

function membersOf(path: string, name: string): string[] {
  const type = [...nodesOf(treeOf(path))].find(
    (node) => node.type === 'TSInterfaceDeclaration' && (node.id as Node).name === name,
  )
  const members = (type!.body as { body: readonly Node[] }).body
  return members.map((member) => (member.key as Node).name as string)
}

/** The numeric constants of a module: `const A_MAX = 8 * 1024`. */
function constantsOf(path: string): Map<string, number> {
  const text = read(path)
  const found = text.matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]*) = ([\d_]+(?: \* [\d_]+)*)$/gm)
  return new Map(
    [...found].map(([, name, product]) => {
      const factors = product!.split(' * ').map((factor) => Number(factor.replaceAll('_', '')))
      return [name!, factors.reduce((one, other) => one * other)]
    }),
  )
}

const UNITS: Readonly<Record<string, number>> = {
  ...{ B: 1, KiB: 1024, MiB: 1_048_576 },
  ...{ ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 },
}

/** `64 KiB` in bytes, `10 min` in milliseconds, `1,000` as it stands. */
function amountOf(cell: string): number {
  const [, digits, unit] = /^([\d,]+)(?: (\w+))?$/.exec(cell)!
  return Number(digits!.replaceAll(',', '')) * (unit === undefined ? 1 : UNITS[unit]!)
}

function inBase(name: string, value: number): number {
  return /seconds/i.test(name) ? value * 1000 : value
}

/** The names of all fields in a JSON Schema. */
function fieldsOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([key, value]) => [
    ...(key === 'properties' ? Object.keys(value) : []),
    ...fieldsOf(value),
  ])
}

/** The anchor of a heading, as GitHub makes it. */
function anchors(document: string): string[] {
  return [...read(document).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('the lease language', () => {
  test('the fields of each document are those that the parser knows', () => {
    expect(listed('Lease')).toEqual([...LEASE_FIELDS])
    expect(listed('Envelope')).toEqual([...ENVELOPE_FIELDS])
    expect(listed('Grants').toSorted()).toEqual(membersOf('src/core/lease.ts', 'Grant').toSorted())
    expect(listed('Constraints')).toEqual(membersOf('src/core/lease.ts', 'Constraint'))
  })

  test('its example is a lease without a warning', () => {
    const [, text] = /```yaml\n([\s\S]*?)```/.exec(section('Lease'))!
    const { terms, problems } = parseLease(text!, {
      file: 'SPEC.md',
      vocabulary: shippedVocabulary(),
      now: 0,
      limits: DEFAULT_LEASE_LIMITS,
    })
    expect(problems).toEqual([])
    expect(terms?.maxToolCalls).toBe(30)
  })

  test('every section that an error points to is there', () => {
    const texts = readdirSync(join(ROOT, 'src/lease-file')).map((file) =>
      read(`src/lease-file/${file}`),
    )
    const found = texts.flatMap((text) => [
      ...text.matchAll(/\b(?:see(?::| =)|SEE =) '([a-z_]+)'/g),
    ])
    const wanted = [...new Set(found.map(([, anchor]) => anchor!))]
    expect(wanted.length).toBeGreaterThan(10)
    expect(wanted.filter((anchor) => !anchors('SPEC.md').includes(anchor))).toEqual([])
  })

  test('the resource types with rules of their own are those of the canonicaliser', () => {
    const cases = [...nodesOf(treeOf('src/core/canonical.ts'))].flatMap((node) => {
      const test = node.type === 'SwitchCase' ? (node.test as Node | null) : null
      return typeof test?.value === 'string' ? [test.value] : []
    })
    const types = rows('Resources').flatMap(([first]) => names(first!))
    expect(types.toSorted()).toEqual(cases.toSorted())
    const known = shippedVocabulary().resourceTypes
    expect(types.filter((type) => !known.has(type))).toEqual([])
  })
})

describe('decisions', () => {
  test('every reason stands in the decision order, in the order that decides', () => {
    expect(listed('Decision order')).toEqual([...REASONS])
  })

  test('what the agent reads is what the gateway says', () => {
    const said = read('src/gateway/denial.ts').replaceAll(/\$\{[^}]*\}/g, '…')
    const missing = rows('Decision order').flatMap(([code, , text]) => {
      if (code === '') return []
      const pieces = text!.slice(1, -1).split('…')
      return pieces.filter((piece) => !said.includes(piece)).map((piece) => `${code}: ${piece}`)
    })
    expect(missing).toEqual([])
  })

  test('the words for programs are those that the gateway uses', () => {
    const words = ['denial', 'notice'].flatMap((file) =>
      [...read(`src/gateway/${file}.ts`).matchAll(/\b(?:decision|outcome): '(\w+)'/g)].map(
        ([, word]) => word!,
      ),
    )
    expect(words.length).toBeGreaterThan(4)
    const named = names(section('What the agent reads'))
    expect(words.filter((word) => !named.includes(word))).toEqual([])
  })

  test('every refusal is listed', () => {
    expect(listed('Refusals')).toEqual([...REFUSALS])
  })

  test('the facts are the recorded ones', () => {
    expect(listed('Facts')).toEqual(membersOf('src/core/facts.ts', 'Facts'))
    expect(section('Facts')).toContain(
      aliasTexts('src/core/facts.ts', 'Effect')
        .map((effect) => `\`${effect}\``)
        .join(', ')
        .replace(/, (?=[^,]*$)/, ' or '),
    )
  })
})

describe('the record', () => {
  test('every command and every entry type is listed', () => {
    expect(listed('Commands')).toEqual(memberTexts('src/core/command.ts', 'do'))
    expect(listed('Entries').toSorted()).toEqual(
      memberTexts('src/core/entry.ts', 'type').toSorted(),
    )
  })

  test('entries name the commands that lead to them', () => {
    const commands = memberTexts('src/core/command.ts', 'do')
    const named = rows('Entries').flatMap(([, second]) => names(second!))
    expect([...new Set(named)].toSorted()).toEqual(commands.toSorted())
  })

  test('ends, suspensions and outcomes have the words of the code', () => {
    expect(listed('The run tree')).toEqual(aliasTexts('src/core/entry.ts', 'EndReason'))
    const text = section('The run tree')
    for (const why of memberTexts('src/core/entry.ts', 'why')) expect(text).toContain(`\`${why}\``)
    for (const outcome of aliasTexts('src/core/command.ts', 'Outcome')) {
      expect(text).toContain(`\`${outcome}\``)
    }
  })

  test('formats, domains and versions are those that are written', () => {
    expect(listed('Receipt')).toEqual(membersOf('src/ledger/receipt.ts', 'Receipt'))
    const text = section('Receipt')
    for (const word of [RECEIPT_FORMAT, ADDENDUM_FORMAT, RECEIPT_DOMAIN, ADDENDUM_DOMAIN]) {
      expect(text).toContain(word)
    }
    for (const part of membersOf('src/ledger/receipt-body.ts', 'ReceiptBody')) {
      expect(text).toContain(`\`${part}\``)
    }
    const [, domain] = /ENTRY_DOMAIN = '([^']+)'/.exec(read('src/ledger/chain.ts'))!
    expect(section('Chain')).toContain(`"${domain}" LF`)
    expect(section('Chain')).toContain(`${GENESIS.length} zeros`)
    const versions = rows('Versions').map(([, version]) => version)
    expect(versions).toEqual(Array(5).fill('`1`'))
    expect([RULES_VERSION, FORMAT_VERSION]).toEqual([1, 1])
  })

  test('checks, verdicts and exit statuses of verify are those of the code', () => {
    const names = listed('Verification')
    const checks = aliasTexts('src/ledger/verify.ts', 'Check')
    const verdicts = aliasTexts('src/ledger/verify.ts', 'Verdict')
    expect(names.toSorted()).toEqual([...checks, ...verdicts].toSorted())
    const [, table] = /const EXITS = \{([^}]*)\}/.exec(read('src/ledger/verify.ts'))!
    const exits = rows('Verification').flatMap(([name, exit]) =>
      /^\d$/.test(exit!) ? [`${name!.replaceAll('`', '')}: ${exit}`] : [],
    )
    expect(exits.join(', ')).toBe(table!.trim())
  })
})

describe('limits', () => {
  const constants = rows('Limits').flatMap(([first, value]) => {
    const [file, name] = names(first!)
    return name === undefined ? [] : [{ file: file!, name, value: value! }]
  })

  test('every listed constant has the listed value', () => {
    expect(constants.length).toBeGreaterThan(40)
    const faults = constants.flatMap(({ file, name, value }) => {
      const constant = constantsOf(file).get(name)
      if (constant === undefined) return [`${file} has no ${name}`]
      return inBase(name, constant) === amountOf(value) ? [] : [`${name} is ${constant}`]
    })
    expect(faults).toEqual([])
  })

  test.each(['core', 'lease-file', 'ledger'])('every limit of %s is listed', (folder) => {
    const files = readdirSync(join(ROOT, 'src', folder))
      // Widths of a screen bound nothing.
      .filter((file) => !/^(?:render|layout)/.test(file))
      .map((file) => `src/${folder}/${file}`)
    const missing = files.flatMap((file) =>
      [...constantsOf(file).keys()]
        .filter((name) => /_MAX$|_SECONDS$/.test(name))
        .filter((name) => !constants.some((each) => each.file === file && each.name === name))
        .map((name) => `${file} ${name}`),
    )
    expect(missing).toEqual([])
  })

  test('the limits of the store and of a lease are listed', () => {
    const members = rows('Limits').flatMap(([first, value]) => {
      const [member, other] = names(first!)
      return other === undefined ? [[member!, amountOf(value!)] as const] : []
    })
    const expected = Object.entries({ ...LIMITS, ...DEFAULT_LEASE_LIMITS })
    expect(members).toEqual(expected.map(([name, value]) => [name, inBase(name, value)]))
  })
})

test('every operation of the API is listed, with its request', () => {
  const said = rows('HTTP API').map(([first, request]) => [names(first!)[0], names(request!)[0]])
  const there = Object.entries(ENDPOINTS).map(([id, { method, path }]) => [
    id,
    `${method.toUpperCase()} ${path}`,
  ])
  expect(said).toEqual(there)
})

describe('the configuration', () => {
  test('every field that is read is listed', () => {
    const fields = fieldsOf(configJsonSchema())
    expect(fields.length).toBeGreaterThan(50)
    const text = section('Configuration') + section('Policy')
    const named = new Set(names(text).flatMap((name) => name.split(/[.:]/)))
    expect(fields.filter((field) => !named.has(field))).toEqual([])
    for (const name of Object.keys(OVERRIDES)) expect(text).toContain(`\`${name}\``)
  })
})

describe('the command line', () => {
  test('every command and every exit status is listed', () => {
    const commands = createProgram({ exit: () => {} }).commands.map((command) => command.name())
    expect(listed('Command line')).toEqual(commands)
    const statuses = rows('Command line').flatMap(([first]) =>
      /^\d+$/.test(first!) ? [Number(first)] : [],
    )
    expect(statuses).toEqual(Object.values(EXIT))
  })

  test('the README runs commands that are there', () => {
    const commands = createProgram({ exit: () => {} }).commands.map((command) => command.name())
    const used = [...read('README.md').matchAll(/run -s daypass -- (\w+)/g)].map(([, name]) => name)
    expect(used.length).toBeGreaterThan(0)
    expect(used.filter((name) => !commands.includes(name!))).toEqual([])
  })
})

describe('links', () => {
  test.each(DOCUMENTS)('%s points to what is there', (document) => {
    const links = [...read(document).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)]
    const broken = links.flatMap(([, link]) => {
      const [path, anchor] = link!.split('#')
      const target = path === '' ? document : join(dirname(document), path!)
      try {
        if (anchor === undefined) readdirOrFile(target)
        else if (!anchors(target).includes(anchor)) return [link]
        return []
      } catch {
        return [link]
      }
    })
    expect(broken).toEqual([])
  })

  test.each(DOCUMENTS)('%s names files that are there', (document) => {
    const paths = [
      ...read(document).matchAll(/`((?:src|test|catalog|schemas|examples)\/[^`*…]+)`/g),
    ]
    const absent = paths.map(([, path]) => path!).filter((path) => !exists(path))
    expect(absent).toEqual([])
  })
})

function readdirOrFile(path: string): void {
  if (!exists(path)) throw new Error(`${path} is not there`)
}

function exists(path: string): boolean {
  try {
    readFileSync(join(ROOT, path))
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR'
  }
}
