import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { formatProblem, isRecord, type Path, YamlReader } from '../catalog/yaml-reader.ts'
import type { Vocabulary } from '../core/vocabulary.ts'
import { isKnownDenial } from '../lease-file/actions.ts'
import { didYouMean } from '../lease-file/problem.ts'
import { deskOf, vocabularyOf } from './catalogs.ts'
import { type Config, loadConfig } from './config.ts'
import { applyOverrides } from './config-env.ts'
import { isReference, looksSecret } from './secret.ts'
import { Templates } from './templates.ts'

/**
 * Everything that is wrong with a configuration, its catalogs and its templates, each with file,
 * line and column, and what to write. Secrets are resolved, as they would be at start; no server is
 * started.
 */
export function checkConfig(file: string): string[] {
  const loaded = loadConfig(file)
  if (!loaded.ok) return loaded.error
  const config = loaded.value
  const folder = resolve(file, '..')
  const reader = new YamlReader(readFileSync(file, 'utf8'), file)
  const elsewhere: string[] = []
  const desks = config.servers.flatMap((server) => {
    const desk = deskOf(server, folder)
    if (desk.ok) return [desk.value]
    for (const problem of desk.error) {
      // What is wrong within a catalog has a place there.
      if (/^\S+:\d+:\d+: /.test(problem)) elsewhere.push(problem)
      else reader.fail(['servers', server.name, partOf(problem)], problem)
    }
    return []
  })
  const vocabulary = vocabularyOf(desks)
  const templates = new Templates({
    ...{ folder, vocabulary, limits: config.limits, clock: Date.now },
    onExceed: config.policy.on_exceed,
  })
  checkTemplates(config, templates, reader)
  checkActions(config, vocabulary, reader)
  return [...reader.problems.map(formatProblem), ...elsewhere, ...templates.problems()]
}

function partOf(problem: string): string {
  return /\bcatalog\b/.test(problem) && !/\bbind\b/.test(problem) ? 'catalog' : 'bind'
}

type Named = readonly [path: Path, names: readonly string[] | undefined]

/** A rule about a template that is not there would never apply. */
function checkTemplates(config: Config, templates: Templates, reader: YamlReader): void {
  const { policy, machines } = config
  const known = templates.all().map(({ name }) => name)
  const named: Named[] = [
    [['policy', 'read_only', 'templates'], policy.read_only?.templates],
    ...Object.entries(policy.templates ?? {}).map(
      ([role, names]): Named => [['policy', 'templates', role], names],
    ),
    ...rulesOf(policy).map(([path, rule]): Named => [[...path, 'templates'], rule.templates]),
    ...machines.map((machine, index): Named => {
      return [['machines', index, 'templates'], machine.templates ?? undefined]
    }),
  ]
  for (const [path, names] of named) {
    for (const [index, name] of (names ?? []).entries()) {
      if (known.includes(name)) continue
      const meant = didYouMean(name, known)
      const hint = meant === null ? `write templates/${name}.yaml` : `did you mean \`${meant}\`?`
      reader.fail([...path, index], `no template \`${name}\`; ${hint}`)
    }
  }
}

/** A rule about an action that nobody knows would never apply. */
function checkActions({ policy }: Config, vocabulary: Vocabulary, reader: YamlReader): void {
  const named: Named[] = [
    [['policy', 'person'], policy.person],
    ...rulesOf(policy).map(([path, rule]): Named => [[...path, 'actions'], rule.actions]),
  ]
  for (const [path, names] of named) {
    for (const [index, name] of (names ?? []).entries()) {
      if (isKnownDenial(vocabulary, name)) continue
      const meant = didYouMean(name, [...vocabulary.actions.keys(), ...vocabulary.aliases.keys()])
      const hint =
        meant === null ? 'daypass catalog actions lists them' : `did you mean \`${meant}\`?`
      reader.fail([...path, index], `no known action is \`${name}\`; ${hint}`)
    }
  }
}

function rulesOf({ approve = [], longest = [] }: Config['policy']) {
  return [
    ...approve.map((rule, index) => [['policy', 'approve', index], rule] as const),
    ...longest.map((rule, index) => [['policy', 'longest', index], rule] as const),
  ]
}

const HIDDEN = '[secret]'

/**
 * The configuration as it is in force, with what the environment overrides, as plain data to be
 * printed. References to secrets stay; what is no reference, and could be a secret, is hidden.
 */
export function shownConfig(file: string, env: NodeJS.ProcessEnv): Record<string, unknown> {
  const root = new YamlReader(readFileSync(file, 'utf8'), file).root()
  const { values } = applyOverrides(isRecord(root) ? root : {}, env)
  if (!isRecord(values.servers)) return values
  const servers = Object.entries(values.servers).map(([name, server]) => [
    name,
    isRecord(server) ? shownServer(server) : server,
  ])
  return { ...values, servers: Object.fromEntries(servers) }
}

function shownServer(server: Record<string, unknown>): Record<string, unknown> {
  const { env, headers, url, command } = server
  return {
    ...server,
    ...(isRecord(env) ? { env: shownTexts(env) } : {}),
    ...(isRecord(headers) ? { headers: shownTexts(headers) } : {}),
    ...(typeof url === 'string' ? { url: shownUrl(url) } : {}),
    ...(Array.isArray(command) ? { command: shownWords(command.map(String)) } : {}),
  }
}

function shownTexts(texts: Record<string, unknown>): Record<string, unknown> {
  const show = (text: unknown) => {
    const named = String(text)
    return isReference(named) || /^[A-Za-z]+ env:\w+$/.test(named) ? named : HIDDEN
  }
  return Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, show(text)]))
}

function shownUrl(text: string): string {
  if (!URL.canParse(text)) return HIDDEN
  const { origin, pathname, search } = new URL(text)
  return `${origin}${pathname}${search === '' ? '' : `?${HIDDEN}`}`
}

function shownWords(words: readonly string[]): string[] {
  return words.map((word, index) => {
    const secret = looksSecret(word, words[index - 1])
    if (secret === 'value') return HIDDEN
    return secret === 'assigned' ? `${word.slice(0, word.indexOf('='))}=${HIDDEN}` : word
  })
}
