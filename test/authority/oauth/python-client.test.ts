import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PYTHON_SETUP_MS, pythonWith } from '../../support/python.ts'
import { Browser, type Place, startPlace } from './support.ts'

const PROGRAM = fileURLToPath(new URL('./python-client.py', import.meta.url))

let place: Place
let python: string
beforeAll(async () => {
  python = pythonWith('mcp-2.3.0', ['mcp==2.3.0'])
  place = await startPlace()
}, PYTHON_SETUP_MS)
afterAll(() => place.stop())

interface Said {
  readonly redirect?: string
  readonly tools?: string[]
  readonly result?: { name: string; error: boolean; text: string }
}

/** Runs the program, with a person who chooses a template for each time that they are asked. */
async function run(steps: readonly string[], templates: string[]): Promise<Said[]> {
  const child = spawn(python, [PROGRAM, `${place.url}/mcp`, ...steps], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 60_000,
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  const said: Said[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const words = JSON.parse(line) as Said
    said.push(words)
    if (words.redirect === undefined) continue
    const browser = new Browser(place)
    const page = await browser.open(words.redirect)
    const prompt = await browser.open(`${page.url.pathname}?template=${templates.shift()}`)
    const { url: led } = await browser.press(prompt, 'answer=allow')
    child.stdin.write(`${led.href}\n`)
  }
  expect(await closed).toBe(0)
  return said
}

describe('the client of the MCP Python SDK, as it is', () => {
  test('connects to /mcp, registers, has its user asked, steps up, and calls tools', async () => {
    const write = { entities: [{ name: 'py', entityType: 'x', observations: [] }] }
    const create = `notes.create_entities=${JSON.stringify(write)}`
    const steps = ['notes.read_graph={}', create, 'again', create]
    const said = await run(steps, ['read-notes', 'write-notes'])
    const results = said.flatMap(({ result }) => (result === undefined ? [] : [result]))
    expect(results.map(({ name, error }) => [name, error])).toEqual([
      ['notes.read_graph', false],
      ['notes.create_entities', true],
      ['notes.create_entities', false],
    ])
    expect(results[1]!.text).toContain('Denied: memory.write')
    expect(said.filter(({ redirect }) => redirect !== undefined)).toHaveLength(2)
    const [first, second] = said.flatMap(({ tools }) => (tools === undefined ? [] : [tools]))
    expect(first).not.toContain('notes.create_entities')
    expect(second).toContain('notes.create_entities')
  }, 60_000)
})
