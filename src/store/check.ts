import type { Artifact, ArtifactKey, StoredReceipt, StoredResult, TreeKey } from './store.ts'
import { type Batch, LIMITS, type Row, type SettingChange, type Snapshot } from './store.ts'

const HASH = /^[0-9a-f]{64}$/

/** Refuses a batch that no store could keep faithfully. Throws TypeError: the caller is wrong. */
export function checkBatch(batch: Batch): void {
  const { expectedSeq, rows, opened, closedAt, runs = [], unless = [] } = batch
  checkTree(batch)
  checkCount(expectedSeq, 'expectedSeq')
  if (rows.length < 1 || rows.length > LIMITS.rowsPerBatch) {
    throw new TypeError(`a batch has 1 to ${LIMITS.rowsPerBatch} rows, not ${rows.length}`)
  }
  for (let i = 0; i < rows.length; i++) checkRow(rows[i] as Row, expectedSeq + 1 + i)
  if ((opened === undefined) !== (expectedSeq !== 0)) {
    throw new TypeError('`opened` belongs to the batch that opens the tree, and only to it')
  }
  if (opened !== undefined) {
    checkName(opened.root, 'root')
    checkCount(opened.openedAt, 'openedAt')
    checkName(opened.requester, 'requester')
    checkName(opened.agent, 'agent')
    checkText(opened.purpose, 'purpose', LIMITS.bodyBytes)
  }
  if (closedAt !== undefined) checkCount(closedAt, 'closedAt')
  if (runs.length > LIMITS.runsPerBatch) {
    throw new TypeError(`a batch opens at most ${LIMITS.runsPerBatch} runs`)
  }
  for (const run of runs) checkName(run, 'run')
  if (unless.length > LIMITS.locksPerBatch) {
    throw new TypeError(`a batch names at most ${LIMITS.locksPerBatch} locks`)
  }
  for (const key of unless) checkName(key, 'unless')
}

function checkRow(row: Row, seq: number): void {
  if (row.seq !== seq) throw new TypeError(`row ${row.seq} stands where ${seq} belongs`)
  checkCount(row.at, 'at')
  checkName(row.type, 'type')
  checkText(row.body, 'body', LIMITS.bodyBytes)
  checkHash(row.hash)
}

/** Refuses keys that would not come back as they went in. */
export function checkTree(key: TreeKey): void {
  checkName(key.org, 'org')
  checkName(key.tree, 'tree')
}

export function checkName(name: string, what: string): void {
  checkText(name, what, LIMITS.nameBytes)
}

/** A non-negative safe integer: what every number of the store is. */
export function checkCount(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new TypeError(`\`${what}\` must be an integer from 0, not ${value}`)
  }
}

export function checkLimit(limit: number): void {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIMITS.pageItems) {
    throw new TypeError(`\`limit\` must be from 1 to ${LIMITS.pageItems}, not ${limit}`)
  }
}

/** A lone surrogate has no UTF-8: it would come back as another character, with another hash. */
function checkText(text: string, what: string, bytesMax: number): void {
  if (typeof text !== 'string') throw new TypeError(`\`${what}\` must be a string`)
  // A UTF-16 unit is one to three bytes: only long strings need counting.
  if (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax) {
    throw new TypeError(`\`${what}\` is longer than ${bytesMax} bytes`)
  }
  if (!text.isWellFormed()) throw new TypeError(`\`${what}\` is not well-formed Unicode`)
}

function checkHash(hash: string): void {
  if (!HASH.test(hash)) throw new TypeError(`\`hash\` must be 64 hex digits in lower case`)
}

export function checkSnapshot(key: TreeKey, snapshot: Snapshot): void {
  checkTree(key)
  checkCount(snapshot.seq, 'seq')
  checkHash(snapshot.hash)
  checkCount(snapshot.rules, 'rules')
  checkText(snapshot.body, 'body', LIMITS.snapshotBytes)
}

export function checkResult(key: TreeKey & { readonly call: string }, result: StoredResult): void {
  checkTree(key)
  checkName(key.call, 'call')
  checkCount(result.expiresAt, 'expiresAt')
  if (!(result.bytes instanceof Uint8Array)) throw new TypeError('`bytes` must be a Uint8Array')
}

export function checkReceipt(key: TreeKey, receipt: StoredReceipt): void {
  checkTree(key)
  checkCount(receipt.number, 'number')
  checkCount(receipt.at, 'at')
  checkText(receipt.body, 'body', LIMITS.receiptBytes)
}

export function checkSetting(change: SettingChange): void {
  checkName(change.org, 'org')
  checkName(change.key, 'key')
  if (change.expected !== null) checkText(change.expected, 'expected', LIMITS.settingBytes)
  if (change.value !== null) checkText(change.value, 'value', LIMITS.settingBytes)
}

export function checkArtifact(artifact: Artifact): void {
  checkArtifactKey(artifact)
  if (artifact.grant !== null) checkName(artifact.grant, 'grant')
  if (artifact.handle !== null) checkName(artifact.handle, 'handle')
  checkCount(artifact.expiresAt, 'expiresAt')
  checkText(artifact.body, 'body', LIMITS.artifactBytes)
}

export function checkArtifactKey(key: ArtifactKey): void {
  checkName(key.org, 'org')
  checkName(key.kind, 'kind')
  checkName(key.id, 'id')
}
