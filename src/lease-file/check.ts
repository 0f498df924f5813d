import type { Terms } from '../core/lease.ts'
import { containsAction, containsDenial } from '../core/pattern.ts'
import { expandActions, type Vocabulary } from '../core/vocabulary.ts'
import { deniesAny, isKnown, isKnownDenial, knownActions, listsAction, pattern } from './actions.ts'
import type { EnvelopeDraft, LeaseDraft } from './draft.ts'
import { didYouMean } from './problem.ts'
import type { Located, Source } from './source.ts'

interface Checked {
  readonly lease: LeaseDraft | null
  readonly envelope: EnvelopeDraft | null
  readonly terms: Terms
  readonly vocabulary: Vocabulary
}

/** Notes what each part says about the others: what can never happen, and what nobody knows. */
export function checkTerms(source: Source, checked: Checked): void {
  warnUnknown(source, checked)
  warnSwallowed(source, checked)
  warnOutsideCeiling(source, checked)
  checkAsk(source, checked)
  checkUntil(source, checked)
  checkLimits(source, checked)
  if (checked.lease !== null && checked.terms.maxToolCalls === null) {
    source.warn(
      { offset: checked.lease.spot.offset, length: 1 },
      {
        code: 'no_call_limit',
        message: 'this lease has no limit of tool calls',
        hint: 'write max_tool_calls: 30',
        see: 'budget',
      },
    )
  }
}

function warnUnknown(source: Source, { lease, envelope, vocabulary }: Checked): void {
  const named = [
    ...(lease?.grants.flatMap((grant) => grant.actions) ?? []),
    ...(lease?.ask ?? []),
    ...(envelope?.allowed ?? []),
  ].filter(({ value }) => !isKnown(vocabulary, value))
  const denied = [...(lease?.deny ?? []), ...(envelope?.blocked ?? [])].filter(
    ({ value }) => !isKnownDenial(vocabulary, value),
  )
  for (const each of named) {
    noteUnknown(source, each, { vocabulary, effect: 'no tool can be known to do it' })
  }
  for (const each of denied)
    noteUnknown(source, each, { vocabulary, effect: 'it blocks nothing known' })
}

function noteUnknown(
  source: Source,
  { value, spot }: Located<string>,
  about: { readonly vocabulary: Vocabulary; readonly effect: string },
): void {
  const names = [...about.vocabulary.actions.keys(), ...about.vocabulary.aliases.keys()]
  const meant = didYouMean(value, names)
  source.warn(spot, {
    code: 'unknown_action',
    message: `unknown action \`${value}\`: ${about.effect}`,
    hint: meant === null ? 'the known ones: daypass catalog actions' : `did you mean ${meant}?`,
    see: 'actions',
  })
}

/** A grant all of which is denied permits nothing, and most likely one of the two is a mistake. */
function warnSwallowed(source: Source, { lease, terms, vocabulary }: Checked): void {
  const denials = terms.deny.map(pattern)
  const granted = [
    ...(lease?.grants.flatMap((grant) => grant.actions) ?? []),
    ...(lease?.ask ?? []),
  ]
  for (const { value, spot } of granted) {
    const stands = expandActions(vocabulary, [value])
    const swallowed = stands.every(
      (each) => denials.length > 0 && containsDenial(denials, pattern(each)),
    )
    if (!swallowed) continue
    const denial = terms.deny.find((text) => deniesAny([text], stands[0]!.replaceAll('*', 'x')))
    source.warn(spot, {
      code: 'grant_denied',
      message: `\`${value}\` is granted and denied: the denial \`${denial ?? terms.deny[0]}\` wins`,
      hint: 'remove one of them',
      see: 'denials',
    })
  }
}

function warnOutsideCeiling(source: Source, { lease, terms, vocabulary }: Checked): void {
  if (lease === null || terms.ceiling === null) return
  const ceiling = terms.ceiling.map(pattern)
  for (const { value, spot } of lease.grants.flatMap((grant) => grant.actions)) {
    const stands = expandActions(vocabulary, [value])
    const outside = stands.filter((each) => !containsAction(ceiling, pattern(each)))
    if (outside.length === 0) continue
    const part = outside.length === stands.length ? '' : ` in part (${outside.join(', ')})`
    source.warn(spot, {
      code: 'outside_ceiling',
      message: `\`${value}\` is outside \`allowed_tools\` of the envelope${part}`,
      hint: 'the envelope wins: such a call is denied',
      see: 'envelope',
    })
  }
}

/** What the terms can permit: known actions, and literal names that nobody knows. */
export function permittedActions(terms: Terms, vocabulary: Vocabulary): string[] {
  const names = terms.grants.flatMap((grant) =>
    grant.actions.flatMap((text) => (text.includes('*') ? knownActions(vocabulary, text) : [text])),
  )
  return [...new Set(names)].filter((action) => isPermitted(terms, action))
}

/** Whether neither a denial nor the ceiling takes away what a grant gives. */
export function isPermitted(terms: Terms, action: string): boolean {
  return (
    !deniesAny(terms.deny, action) && (terms.ceiling === null || listsAction(terms.ceiling, action))
  )
}

function checkAsk(source: Source, { lease, terms, vocabulary }: Checked): void {
  const granted = terms.grants.flatMap((grant) => grant.actions)
  const known = granted.flatMap((text) => [text, ...knownActions(vocabulary, text)])
  for (const { value, spot } of lease?.ask ?? []) {
    if (!value.includes('*') || known.some((action) => listsAction([value], action))) continue
    source.error(spot, {
      code: 'ask_not_granted',
      message: `\`ask\` names \`${value}\`, and nothing that it matches is granted`,
      hint: 'write each action in full: with `*` it only marks what is granted',
      see: 'ask',
    })
  }
}

function checkUntil(source: Source, { lease, terms, vocabulary }: Checked): void {
  const permitted = permittedActions(terms, vocabulary)
  for (const { value, spot } of lease?.until ?? []) {
    const stands = expandActions(vocabulary, [value])
    if (permitted.some((action) => listsAction(stands, action))) continue
    const meant = didYouMean(value, permitted)
    source.error(spot, {
      code: 'until_not_granted',
      message: `\`until\` names \`${value}\`, which this lease does not permit`,
      hint:
        meant === null ? 'it would never end the lease; grant it too' : `did you mean ${meant}?`,
      see: 'until',
    })
  }
}

function checkLimits(source: Source, { lease, terms, vocabulary }: Checked): void {
  const seen = new Set<string>()
  const permitted = permittedActions(terms, vocabulary)
  const granted = terms.grants.flatMap((grant) => grant.actions)
  for (const { action } of lease?.limits ?? []) {
    const stands = expandActions(vocabulary, [action.value])
    const name = stands[0]!
    if (stands.length > 1 || name.includes('*')) {
      source.error(action.spot, {
        code: 'limit_not_exact',
        message: `\`limits\` counts one action, and \`${action.value}\` is several`,
        hint: `write one of them in full, such as ${knownActions(vocabulary, name)[0] ?? name}: 1`,
        see: 'budget',
      })
    } else if (seen.has(name)) {
      const message = `\`${action.value}\` is limited twice`
      source.error(action.spot, { code: 'duplicate_key', message, hint: 'keep one', see: 'budget' })
    } else if (!permitted.includes(name) && !listsAction(granted, name)) {
      const meant = didYouMean(name, permitted)
      source.warn(action.spot, {
        code: 'limit_not_granted',
        message: `\`limits\` names \`${action.value}\`, which this lease does not permit`,
        hint: meant === null ? 'remove it, or grant it too' : `did you mean ${meant}?`,
        see: 'budget',
      })
    }
    seen.add(name)
  }
}
