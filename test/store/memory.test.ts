import { describe, expect, test } from 'vitest'
import { MemoryDisk, openMemory } from '../../src/store/memory.ts'
import { contract } from './contract.ts'
import { key, next, opening, seqs } from './fixtures.ts'

contract('memory', async () => {
  const disk = new MemoryDisk()
  return { open: async () => openMemory({ disk }), dispose: async () => {} }
})

describe('a crash', () => {
  test('loses what waits, keeps what was acknowledged', async () => {
    const disk = new MemoryDisk()
    const store = openMemory({ disk })
    await store.append(opening('a'))
    const waiting = store.append(next('a', 1))
    store.crash()
    await expect(waiting).rejects.toMatchObject({ code: 'broken' })
    await expect(store.append(next('a', 1))).rejects.toMatchObject({ code: 'broken' })
    await expect(store.head(key('a'))).rejects.toMatchObject({ code: 'broken' })
    expect(await seqs(openMemory({ disk }), 'a')).toEqual([1])
  })
})
