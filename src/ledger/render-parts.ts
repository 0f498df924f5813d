import type { Actor } from '../core/command.ts'
import type { RunId } from '../core/id.ts'
import { type Page, plain, row } from './layout.ts'
import type { ReceiptBody, ResourcePart } from './receipt-body.ts'
import { actorWords } from './words.ts'

/** What the parts of a rendered receipt share. */
export interface Sheet {
  readonly body: ReceiptBody
  readonly page: Page
  readonly all: boolean
}

export const LABEL_COLUMN = 22
export const LIST_COLUMN = 24

/** A longer list is not read; it ends with how many more there are. */
export const LIST_ITEMS_MAX = 8

/** The lines of the first items of a list, and how to see the rest. */
export function fewOf<T>(
  { all, page, body }: Sheet,
  items: readonly T[],
  lines: (item: T) => string[],
): string[] {
  const shown = all ? items : items.slice(0, LIST_ITEMS_MAX)
  const more = items.length - shown.length
  const rest =
    more === 0
      ? []
      : row(
          { left: [], right: [plain(`and ${more} more: daypass receipt ${body.run} --all`)] },
          { left: 0, right: LIST_COLUMN },
          page,
        )
  return [...shown.flatMap(lines), ...rest]
}

/** Makes values of agents and tools safe to print. */
export function safe(page: Page): (text: string) => string {
  return (text) => page.tools.printable(text)
}

export function quoted(text: string, page: Page): string {
  return `"${safe(page)(text)}"`
}

export function printActor(actor: Actor | null, page: Page): string {
  return safe(page)(actorWords(actor))
}

/** What a run is called in its receipt: `parent`, or its agent. */
export function nameOf(body: ReceiptBody, run: RunId, page: Page): string {
  if (run === body.run) return 'parent'
  const part = body.runs.find((each) => each.run === run)
  if (part === undefined) return safe(page)(run)
  const isAlone = body.runs.filter(({ agent }) => agent === part.agent).length === 1
  return isAlone ? safe(page)(part.agent) : `${safe(page)(part.agent)} ${safe(page)(run)}`
}

/** `repo clord, branch agent/x`. `max` values of a type; null: all. */
export function describeResources(
  resources: readonly ResourcePart[],
  page: Page,
  max: number | null = LIST_ITEMS_MAX,
): string {
  return resources
    .map(({ type, values }) => {
      const word = safe(page)(page.tools.resourceWord(type))
      const shown = max === null ? values : values.slice(0, max)
      const more = values.length - shown.length
      const rest = more === 0 ? '' : ` and ${more} more`
      return `${word} ${shown.map(safe(page)).join(', ')}${rest}`
    })
    .join(resources.some(({ values }) => values.length > 1) ? '; ' : ', ')
}

/** The first eight and last four hex digits, for eyes only. */
export function shortHash(hash: string): string {
  return `${hash.slice(0, 4)} ${hash.slice(4, 8)} ... ${hash.slice(-4)}`
}
