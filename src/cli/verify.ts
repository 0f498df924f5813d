import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { renderVerify } from '../ledger/render-verify.ts'
import type { PublicKeyInfo } from '../ledger/sign.ts'
import { parseReceipt, RECEIPT_BYTES_MAX } from '../ledger/structure.ts'
import { verifyReceipt } from '../ledger/verify.ts'
import { EXIT, Failure } from './exit.ts'
import { RECEIPTS } from './finish.ts'
import { findProject, vocabularyIn } from './project.ts'
import { openTerminal } from './terminal.ts'
import { layoutOf } from './text-tools.ts'
import { ownKeys, pinnedKeys, readKeyFile } from './trust.ts'

export interface VerifyOptions {
  readonly key?: string
  readonly config?: string
  readonly json?: boolean
}

/** `daypass verify`: checks a receipt offline. Nothing is asked of any server. */
export function verify(file: string, options: VerifyOptions): number {
  const terminal = openTerminal()
  const json = readReceiptFile(file, options)
  const report = verifyReceipt(json, { keys: keysFor(options) })
  if (options.json) terminal.json(report)
  else {
    const layout = layoutOf(terminal, vocabularyIn(findProject(options.config)))
    const text = renderVerify(report, { ...layout, name: basename(file) })
    terminal.say(options.key === undefined ? text : text.replaceAll(', pinned,', ', given,'))
  }
  return report.exit
}

/** With `--key`, that key and no other; otherwise this project's own and the pinned ones. */
function keysFor(options: VerifyOptions): PublicKeyInfo[] {
  if (options.key !== undefined) return [readKeyFile(options.key)]
  const project = findProject(options.config)
  if (project === null) return []
  return [...ownKeys(project.folder), ...pinnedKeys(project.folder)]
}

/** The file as it is named, or a receipt of this project by its name or run. */
function readReceiptFile(file: string, options: VerifyOptions): unknown {
  const path = existsSync(file) ? file : savedReceipt(file, options)
  if (path === null) throw new Failure(`can't read the receipt \`${file}\``, EXIT.usage)
  const bytes = readFileSync(path)
  if (bytes.length > RECEIPT_BYTES_MAX) {
    throw new Failure(`\`${file}\` is larger than any receipt`, EXIT.usage)
  }
  const parsed = parseReceipt(bytes.toString('utf8'))
  // Verification has an answer for everything that is no receipt.
  return parsed.ok ? parsed.value : null
}

function savedReceipt(name: string, options: VerifyOptions): string | null {
  const project = findProject(options.config)
  if (project === null || name.includes('/')) return null
  const tries = [name, `${name}.json`].map((each) => join(project.folder, RECEIPTS, each))
  return tries.find((each) => existsSync(each)) ?? null
}
