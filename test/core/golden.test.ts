import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decide } from '../../src/core/decide.ts'
import type { Entry } from '../../src/core/entry.ts'
import { evolve } from '../../src/core/evolve.ts'
import { replay } from '../../src/core/replay.ts'
import type { Tree } from '../../src/core/tree.ts'
import { sortedJson } from './support.ts'

const FOLDER = new URL('../fixtures/ledgers/', import.meta.url)
const FILES = readdirSync(FOLDER).filter((name) => name.startsWith('v1-'))

const read = (name: string) => readFileSync(new URL(name, FOLDER), 'utf8')

/** What this build records for the commands of a ledger, at their times. */
function again(entries: readonly Entry[]): readonly Entry[] {
  let tree: Tree | null = null
  const recorded: Entry[] = []
  for (const entry of entries) {
    if (!('command' in entry)) continue
    const decided = decide(tree, entry.command, entry.at)
    if (!decided.ok) throw new Error(`${entry.seq}: ${decided.error.code}`)
    for (const each of decided.value.entries) {
      tree = evolve(tree, each)
      recorded.push(each)
    }
  }
  return recorded
}

describe('golden ledgers of rules version 1', () => {
  test('are three', () => {
    expect(FILES).toEqual(['v1-dependency-update.json', 'v1-team.json', 'v1-trouble.json'])
  })

  test.each(FILES)('%s is recorded again byte for byte', (name) => {
    const text = read(name)
    expect(sortedJson(again(JSON.parse(text)))).toBe(text)
  })

  test.each(FILES)('%s replays, and its tree is closed', (name) => {
    const replayed = replay(JSON.parse(read(name)))
    expect(replayed).toMatchObject({ ok: true, value: { tree: { phase: 'closed' } } })
  })

  test('together have every type of entry', () => {
    const all = FILES.flatMap((name) => JSON.parse(read(name)) as Entry[])
    const types = [...new Set(all.map(({ type }) => type))].sort()
    expect(types).toEqual(
      `ask.approved ask.opened ask.refused call.allowed call.denied call.denied_again call.resolved
      call.resumed call.settled escalation.opened escalation.refused lease.amended lease.approved
      lease.ended lease.requested lease.resumed lease.suspended run.delegated run.suspended
      tree.closed tree.closing tree.opened`.split(/\s+/u),
    )
  })

  test.each(FILES)('%s with rules of another version cannot be re-computed', (name) => {
    const other = read(name).replace('"rules":1', '"rules":2')
    expect(replay(JSON.parse(other))).toMatchObject({ error: { kind: 'unknown_rules', seq: 1 } })
  })
})
