import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const ROOT = join(import.meta.dirname, '../..')

/** The program of a victim, ready to be started many times. */
export interface VictimProgram {
  readonly file: string
  /** For `NODE_COMPILE_CACHE`. */
  readonly compiled: string
  close(): void
}

/**
 * Bundles the victim, and the thread in which its store writes, from the sources as they are. Two
 * hundred processes would otherwise spend most of their lives on finding the same three hundred
 * modules. The files lie to each other as in the published package.
 */
export async function buildVictim(): Promise<VictimProgram> {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-victim-'))
  const dist = join(folder, 'package', 'dist')
  const build = await rolldown({
    input: {
      victim: join(import.meta.dirname, 'victim.ts'),
      'sqlite-worker': join(ROOT, 'src/store/sqlite-worker.ts'),
    },
    platform: 'node',
  })
  await build.write({ dir: join(dist, 'victim'), format: 'esm' })
  await build.close()
  cpSync(join(ROOT, 'package.json'), join(dist, 'package.json'))
  symlinkSync(join(ROOT, 'catalog'), join(folder, 'package', 'catalog'), 'junction')
  // A module one folder deeper than the bundle looks for it.
  symlinkSync(join(ROOT, 'assets'), join(folder, 'assets'), 'junction')
  return {
    file: join(dist, 'victim', 'victim.js'),
    compiled: join(folder, 'compiled'),
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
