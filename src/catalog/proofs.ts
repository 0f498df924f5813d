import type { Proof } from './catalog.ts'
import { isClassicIndex, namesOthers, readsOnly } from './mongo.ts'
import { isOneStatement, isReadStatement } from './sql.ts'
import { isRecord } from './yaml-reader.ts'

/**
 * Answers what a rule asks of an argument. Never throws: rules are chosen before facts are kept.
 */
export function isProven(proof: Proof, value: unknown): boolean {
  switch (proof) {
    case 'url_unsafe':
      return !isUrlSafe(value)
    case 'branch_unsafe':
      // The server puts `refs/heads/` before it once more.
      return !isUrlSafe(value) || String(value).startsWith('refs/')
    case 'github_acts':
      return [value].flat().some(githubActs)
    case 'sql_unclear':
      return !isOneStatement(value)
    case 'sql_reads':
      return isReadStatement(value)
    case 'mongo_unclear':
      return !readsOnly(value)
    case 'mongo_joins':
      return namesOthers(value)
    case 'mongo_classic':
      return isClassicIndex(value)
  }
}

/** Workflows, their actions, code owners. A file that names no path is not known to be harmless. */
function githubActs(file: unknown): boolean {
  const path = isRecord(file) ? file.path : file
  return typeof path !== 'string' || /(?:^|\/)\.github(?:\/|$)/i.test(path)
}

/**
 * Servers paste names into URLs as they are. `?`, `#` and `&` cut or add, `%2e%2e` climbs, `\` is a
 * slash to the URL parser, `+` a space, and white space at an end is dropped (threats 2, 12).
 */
function isUrlSafe(value: unknown): boolean {
  if (typeof value !== 'string' || /[?#&%+;\\\p{Cc}]|^\s|\s$/u.test(value)) return false
  return value === '.' || !/(?:^|\/)(?:\.{0,2})(?:\/|$)/.test(value)
}
