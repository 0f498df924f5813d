import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Browser, discover, register, startPlace } from '../authority/oauth/support.ts'
import { type Check, SUITE } from './suite.ts'

/** A person's part takes milliseconds here. */
const RUN_MAX_MS = 60_000

/**
 * Runs the suite's scenarios for authorization servers against ours, with a person who says yes
 * at the address that the suite prints.
 */
export async function runAuthorization(): Promise<Check[]> {
  const place = await startPlace()
  const folder = mkdtempSync(join(tmpdir(), 'daypass-conformance-'))
  try {
    const port = await freePort()
    const redirect_uris = [`http://127.0.0.1:${port}/callback`]
    const client = await register(await discover(place), { redirect_uris } as never)
    const child = spawn(
      process.execPath,
      [
        ...[SUITE, 'authorization', '--url', place.url, '--client-id', client.client_id],
        ...['--resource', `${place.url}/mcp`, '--port', String(port), '-o', folder],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], timeout: RUN_MAX_MS },
    )
    const closed = new Promise((resolve) => child.once('close', resolve))
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith(`${place.url}/oauth/authorize?`)) await sayYes(new Browser(place), line)
    }
    await closed
    return readdirSync(folder).flatMap((name) => {
      const file = join(folder, name, 'checks.json')
      return JSON.parse(readFileSync(file, 'utf8')) as Check[]
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
    await place.stop()
  }
}

async function sayYes(browser: Browser, url: string): Promise<void> {
  const choice = await browser.open(url)
  const prompt = await browser.open(`${choice.url.pathname}?template=read-notes`)
  const { url: led } = await browser.press(prompt, 'answer=allow')
  await fetch(led)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}
