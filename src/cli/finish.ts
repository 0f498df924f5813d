import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Receipt } from '../ledger/receipt.ts'
import { renderReceipt } from '../ledger/render.ts'
import type { Daypass } from '../server.ts'
import type { TreeKey } from '../store/store.ts'
import type { Project } from './project.ts'
import type { Terminal } from './terminal.ts'
import { layoutOf } from './text-tools.ts'

/** Where receipts are kept, below `.daypass`. */
export const RECEIPTS = 'receipts'

/** Saves a receipt, readable by its user only. Returns the file. */
export function saveReceipt(project: Project, receipt: Receipt): string {
  const folder = join(project.folder, RECEIPTS)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${receipt.body.run}.json`)
  writeFileSync(file, `${JSON.stringify(receipt, null, 1)}\n`, { mode: 0o600 })
  return file
}

/** A path as a person types it from here. */
export function shownPath(file: string): string {
  const path = relative(process.cwd(), file)
  return path.startsWith('..') ? file : path
}

/** Closes a run tree whose root has ended, saves its receipt and prints it. */
export async function finishRun(of: {
  readonly terminal: Terminal
  readonly daypass: Daypass
  readonly project: Project
  readonly key: TreeKey
}): Promise<{ receipt: Receipt; file: string }> {
  const receipt = await of.daypass.authority.close(of.key)
  const file = saveReceipt(of.project, receipt)
  const layout = layoutOf(of.terminal, of.daypass.vocabulary)
  const text = renderReceipt(receipt.body, { ...layout, all: false, saved: shownPath(file) })
  of.terminal.say(`\n${text}`)
  return { receipt, file }
}
