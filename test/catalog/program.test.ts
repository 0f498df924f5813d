import { mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { type Program, ProgramHasher } from '../../src/catalog/program.ts'

const folder = mkdtempSync(join(tmpdir(), 'daypass-program-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Stdio = Extract<Program, { kind: 'stdio' }>
const env = { TOKEN: 'env:TOKEN' }
const program: Stdio = {
  ...{ kind: 'stdio', command: './server', args: ['--config=my.json', 'main.js'] },
  ...{ cwd: folder, env },
}

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text)
}

beforeEach(() => {
  write('server', 'one')
  write('main.js', 'two')
  write('my.json', '{}')
})

describe('the hash of a program', () => {
  test.each<[string, Program]>([
    ['another command', { ...program, command: './main.js' }],
    ['another argument', { ...program, args: [...program.args, '--all'] }],
    ['arguments in another order', { ...program, args: program.args.toReversed() }],
    ['one word for two', { ...program, args: ['--config=my.json main.js'] }],
    ['another folder', { ...program, cwd: tmpdir() }],
    ['another variable', { ...program, env: { ...env, NODE_OPTIONS: '--import ./x.js' } }],
    ['another source of a secret', { ...program, env: { TOKEN: 'env:OTHER' } }],
    ['a URL', { kind: 'http', url: 'https://notes.example/mcp' }],
  ])('threat 32: is another for %s', (_name, other) => {
    const hasher = new ProgramHasher()
    expect(hasher.hash(other)).not.toBe(hasher.hash(program))
  })

  test.each(['server', 'main.js', 'my.json'])(
    'threat 32: is another for other content of %s',
    (name) => {
      const hasher = new ProgramHasher()
      const before = hasher.hash(program)
      expect(before).toMatch(/^[0-9a-f]{64}$/)
      // Of the same length, and with the old time: neither says that a file is the same.
      write(name, name === 'my.json' ? '[]' : 'six')
      utimesSync(join(folder, name), 1, 1)
      const after = hasher.hash(program)
      expect(after).not.toBe(before)
      expect(new ProgramHasher().hash(program)).toBe(after)
    },
  )

  test('threat 32: is another for a link that leads elsewhere', () => {
    const hasher = new ProgramHasher()
    const linked = { ...program, command: './link' }
    symlinkSync(join(folder, 'server'), join(folder, 'link'))
    const before = hasher.hash(linked)
    rmSync(join(folder, 'link'))
    symlinkSync(join(folder, 'main.js'), join(folder, 'link'))
    expect(hasher.hash(linked)).not.toBe(before)
    rmSync(join(folder, 'link'))
  })

  test('is another for another URL', () => {
    const hasher = new ProgramHasher()
    const at = (url: string) => hasher.hash({ kind: 'http', url })
    expect(at('https://notes.example/mcp')).not.toBe(at('https://notes.example.evil/mcp'))
  })

  test('is the same for a file that is written again, and for what PATH finds', () => {
    const hasher = new ProgramHasher()
    const before = hasher.hash(program)
    write('main.js', 'two')
    utimesSync(join(folder, 'main.js'), 5, 5)
    expect(hasher.hash(program)).toBe(before)
    const named = { ...program, command: 'server' }
    const found = hasher.hash(named)
    write('server', 'an update')
    expect(hasher.hash(named)).toBe(found)
  })
})
