import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSqlite } from '../../src/store/sqlite.ts'
import { key, next, opening, seqs, upTo } from './fixtures.ts'

const CHILD = join(import.meta.dirname, 'child.ts')

let directory: string
let file: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'daypass-store-'))
  file = join(directory, 'new', 'daypass.db')
})
afterEach(() => rm(directory, { recursive: true }))

interface Run {
  readonly lines: string[]
  readonly code: number | null
  readonly signal: string | null
  readonly errors: string
}

/** Runs a job of `child.ts`; `onLine` may end it. */
async function run(options: {
  job: string
  name?: string
  count?: number
  wrap?: string
  onLine?: (line: string, kill: () => void) => void
}): Promise<Run> {
  const { job, name = 'p', count = 0, wrap, onLine } = options
  const command = [process.execPath, CHILD, job, file, name, `${count}`]
  const shell = ['/bin/sh', '-c', `${wrap}; exec "$@"`, 'sh', ...command]
  const [program, ...parameters] = wrap === undefined ? command : shell
  const child = spawn(program as string, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  let errors = ''
  child.stderr.on('data', (data) => {
    errors += data
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    onLine?.(line, () => child.kill('SIGKILL'))
  })
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ lines, code, signal, errors }))
  })
}

function integrity(): unknown {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    const foreign = db.prepare('PRAGMA foreign_key_check').all()
    return [db.prepare('PRAGMA integrity_check').get()?.integrity_check, foreign]
  } finally {
    db.close()
  }
}

const numbers = (lines: readonly string[], word: string): number[] =>
  lines.filter((line) => line.startsWith(`${word} `)).map((line) => Number(line.split(' ').at(-1)))

describe('processes on one file', () => {
  test('three that race for one tree: each sequence number has one winner', async () => {
    const store = await openSqlite({ file })
    const names = ['p1', 'p2', 'p3']
    let ready = 0
    const onLine = (line: string): void => {
      if (line === 'open' && ++ready === names.length) void store.append(opening('race'))
    }
    const runs = await Promise.all(
      names.map((name) => run({ job: 'race', name, count: 60, onLine })),
    )
    expect(runs.map(({ code, errors }) => [code, errors])).toEqual(names.map(() => [0, '']))
    const stored = await store.load(key('race'), 0)
    await store.close()
    expect(stored.map(({ seq }) => seq)).toEqual(upTo(181))
    const won = runs.flatMap(({ lines }) => numbers(lines, 'won'))
    expect(won.toSorted((a, b) => a - b)).toEqual(upTo(181).slice(1))
    for (const [i, { lines }] of runs.entries()) {
      for (const seq of numbers(lines, 'won')) {
        expect(JSON.parse(stored[seq - 1]?.body ?? '').note).toBe(names[i])
      }
    }
    expect(integrity()).toEqual(['ok', []])
  })

  test('killed right after an acknowledgement: what was acknowledged is there', async () => {
    const acknowledged = new Map<string, number>()
    for (const after of [1, 40, 700]) {
      const name = `k${after}_`
      let count = 0
      const { lines, signal } = await run({
        job: 'flood',
        name,
        onLine: (line, kill) => {
          if (line.startsWith('stored') && ++count === after) kill()
        },
      })
      expect(signal).toBe('SIGKILL')
      for (const line of lines.filter((text) => text.startsWith('stored'))) {
        const [, tree, seq] = line.split(' ')
        acknowledged.set(tree as string, Number(seq))
      }
      const store = await openSqlite({ file })
      for (const [tree, seq] of acknowledged) {
        const found = await seqs(store, tree)
        expect(found.length).toBeGreaterThanOrEqual(seq)
        expect(found).toEqual(upTo(found.length))
        expect(await store.treeOfRun('acme', `run_${tree}`)).toBe(`tree_${tree}`)
      }
      await store.close()
      expect(integrity()).toEqual(['ok', []])
    }
    expect(acknowledged.size).toBeGreaterThan(16)
  })

  test('a disk that refuses: not acknowledged, then nothing more is written', async () => {
    // A file size limit makes write(2) fail for real; the signal that comes with it is ignored.
    const { lines, code, errors } = await run({ job: 'fill', wrap: 'trap "" XFSZ; ulimit -f 1000' })
    expect([code, errors]).toEqual([0, ''])
    expect(lines.slice(-2)).toEqual(['failed io', 'then broken'])
    const last = numbers(lines, 'stored').at(-1) ?? 0
    expect(last).toBeGreaterThan(10)
    const store = await openSqlite({ file })
    const found = (await store.head(key('fill')))?.seq ?? 0
    expect([last, last + 1]).toContain(found)
    expect((await store.append(next('fill', found))).ok).toBe(true)
    expect(await seqs(store, 'fill')).toEqual(upTo(found + 1))
    await store.close()
    expect(integrity()).toEqual(['ok', []])
  })

  test('a process leaves by itself, but not before a write is answered', async () => {
    const { lines, code, errors } = await run({ job: 'leave' })
    expect([code, errors]).toEqual([0, ''])
    expect(lines).toEqual(['open', 'stored', 'beat'])
    const store = await openSqlite({ file })
    expect(await store.lastBeat('e')).toBe(1)
    await store.close()
    expect(existsSync(`${file}-wal`)).toBe(false)
  })

  test('several that make the database at once', async () => {
    const stores = await Promise.all(upTo(4).map(() => openSqlite({ file })))
    const answers = await Promise.all(stores.map((store) => store.append(opening('a'))))
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
    await Promise.all(stores.map((store) => store.close()))
    expect(integrity()).toEqual(['ok', []])
  })
})
