import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const OWNER_FILE = 'server.json'
/**
 * One that is gone refuses at once; one that is busy is waited for, because it cancels calls in
 * flight.
 */
const ANSWER_MS = 10_000

/** Where the process that owns a database is reached: loopback URL and operator token (0600). */
export interface Owner {
  readonly url: string
  readonly token: string
  readonly pid: number
}

/** Writes the owner file unless a living process has done so. The returned function removes it. */
export async function own(
  folder: string,
  daypass: { readonly url: string; readonly operatorToken: string },
): Promise<(() => void) | null> {
  if ((await ownerOf(folder)) !== null) return null
  const file = join(folder, OWNER_FILE)
  const owner: Owner = { url: daypass.url, token: daypass.operatorToken, pid: process.pid }
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(owner), { mode: 0o600 })
  renameSync(`${file}.${process.pid}`, file)
  return () => {
    const current = readOwner(folder)
    if (current?.token === owner.token) rmSync(file, { force: true })
  }
}

/** The living owner of a folder; null: nobody owns it, whatever the file says. */
export async function ownerOf(folder: string): Promise<Owner | null> {
  const owner = readOwner(folder)
  if (owner === null) return null
  try {
    const response = await fetch(`${owner.url}/v1/status`, {
      headers: { authorization: `Bearer ${owner.token}` },
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    return response.ok ? owner : null
  } catch {
    return null
  }
}

function readOwner(folder: string): Owner | null {
  try {
    return JSON.parse(readFileSync(join(folder, OWNER_FILE), 'utf8')) as Owner
  } catch {
    return null
  }
}
