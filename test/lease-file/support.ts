import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { ActionWord, Vocabulary } from '../../src/core/vocabulary.ts'
import { DEFAULT_LEASE_LIMITS } from '../../src/lease-file/limits.ts'
import { type ParsedLease, type ParseOptions, parseLease } from '../../src/lease-file/parse.ts'
import type { PromptContext } from '../../src/lease-file/prompt.ts'

const ROOT = new URL('../../', import.meta.url)

/** A file of the checkout. */
export function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8')
}

/** The shipped vocabulary, read without the catalog loader, which lives beside this part. */
export const vocabulary: Vocabulary = (() => {
  const file = parse(read('catalog/actions.yaml')) as {
    actions: Record<string, Partial<ActionWord>>
    aliases: Record<string, string[]>
    resources: Record<string, string>
  }
  const nothing = { done: null, glance: null, sends: null, reaches: null, irreversible: null }
  const words = Object.entries(file.actions).map(([name, word]) => {
    return [name, { phrase: '', ...nothing, ...word }] as const
  })
  return {
    actions: new Map(words),
    aliases: new Map(Object.entries(file.aliases)),
    resourceTypes: new Map(Object.entries(file.resources)),
  }
})()

/** Ten minutes into the essay's run. */
export const NOW = Date.parse('2026-06-23T01:52:00Z')

export function options(more: Partial<ParseOptions> = {}): ParseOptions {
  return { file: 'lease.yaml', vocabulary, now: NOW, limits: DEFAULT_LEASE_LIMITS, ...more }
}

export function parseText(text: string, more: Partial<ParseOptions> = {}): ParsedLease {
  return parseLease(text, options(more))
}

export function parseFixture(path: string, more: Partial<ParseOptions> = {}): ParsedLease {
  return parseText(read(`test/fixtures/leases/${path}`), { file: path, ...more })
}

/** A lease that is good in itself, with lines added or replaced by their field name. */
export function lease(lines: Record<string, string | null> = {}): string {
  const fields: Record<string, string | null> = {
    agent: 'repo-maintenance-agent',
    purpose: 'update dependency and open PR',
    user: 'mira@clord.example',
    resources: '{ repos: [clord] }',
    actions: '[repo.read, pull_request.create]',
    expires_in: '30m',
    max_tool_calls: '30',
    ...lines,
  }
  const written = Object.entries(fields).filter(([, value]) => value !== null)
  return `lease:\n${written.map(([name, value]) => `  ${name}: ${value}\n`).join('')}`
}

export function context(more: Partial<PromptContext> = {}): PromptContext {
  return {
    run: 'agt_run_2026_06_23_1042',
    requester: 'mira@clord.example',
    agent: 'repo-maintenance-agent',
    client: 'Claude Code 2.1.330',
    hosts: {
      'ci.test.run': ['registry.npmjs.org'],
      'pull_request.create': ['forge.clord.example'],
    },
    warnings: [],
    vocabulary,
    outside: 'not_watched',
    ...more,
  }
}
