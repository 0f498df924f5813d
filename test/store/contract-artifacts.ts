import { describe, expect, test } from 'vitest'
import { type Artifact, LIMITS, type Store } from '../../src/store/store.ts'
import { OK, ORG } from './fixtures.ts'

const GONE = { ok: false, error: 'gone' }
const key = (id: string, kind = 'AuthorizationCode', org = ORG) => ({ org, kind, id })
const artifact = (id: string, more: Partial<Artifact> = {}): Artifact => ({
  ...key(id),
  grant: null,
  handle: null,
  expiresAt: 100,
  body: `{"id":"${id}"}`,
  ...more,
})

/** Codes, tokens, sessions and clients of the authorization server. */
export function artifacts(store: () => Store, another: () => Promise<Store>): void {
  describe('artifacts of the authorization server', () => {
    test('come back as they were, the last one put, per organisation and kind', async () => {
      const first = artifact('a', { grant: 'g', handle: 'h', body: 'ä€😀' })
      await store().putArtifact(first)
      expect(await store().getArtifact(key('a'))).toEqual({ ...first, consumedAt: null })
      const second = artifact('a', { expiresAt: 7 })
      await store().putArtifact(second)
      expect(await store().getArtifact(key('a'))).toEqual({ ...second, consumedAt: null })
      expect(await store().getArtifact(key('a', 'RefreshToken'))).toBeNull()
      expect(await store().getArtifact(key('a', 'AuthorizationCode', 'other'))).toBeNull()
      expect(await store().getArtifact(key('b'))).toBeNull()
    })

    test('one that is consumed is consumed once, and stays so when it is put again', async () => {
      const other = await another()
      await store().putArtifact(artifact('a'))
      const answers = await Promise.all([
        store().consumeArtifact(key('a'), 5),
        other.consumeArtifact(key('a'), 6),
        store().consumeArtifact(key('a'), 7),
      ])
      expect(answers.filter((answer) => answer.ok)).toEqual([OK])
      await store().putArtifact(artifact('a', { body: 'again' }))
      const found = await other.getArtifact(key('a'))
      expect(found?.consumedAt).toBe([5, 6, 7][answers.findIndex((answer) => answer.ok)])
      expect(found?.body).toBe('again')
      expect(await other.consumeArtifact(key('a'), 8)).toEqual(GONE)
      expect(await store().consumeArtifact(key('none'), 8)).toEqual(GONE)
    })

    test('are found by their handle, which no other of their kind has', async () => {
      await store().putArtifact(artifact('a', { handle: 'CODE' }))
      await store().putArtifact(artifact('s', { kind: 'Session', handle: 'CODE' }))
      const handle = { org: ORG, kind: 'AuthorizationCode', handle: 'CODE' }
      expect((await store().findArtifact(handle))?.id).toBe('a')
      expect(await store().findArtifact({ ...handle, org: 'other' })).toBeNull()
      expect(await store().findArtifact({ ...handle, handle: 'CODE2' })).toBeNull()
      const thief = store().putArtifact(artifact('b', { handle: 'CODE' }))
      await expect(thief).rejects.toMatchObject({ code: 'constraint' })
      expect(await store().getArtifact(key('b'))).toBeNull()
      await store().putArtifact(artifact('a', { handle: 'CODE', body: 'same' }))
      expect((await store().findArtifact(handle))?.body).toBe('same')
    })

    test('are dropped alone, or with everything of their grant', async () => {
      await store().putArtifact(artifact('a', { grant: 'g' }))
      await store().putArtifact(artifact('r', { kind: 'RefreshToken', grant: 'g' }))
      await store().putArtifact(artifact('b', { grant: 'other' }))
      await store().putArtifact(artifact('c', { grant: 'g', org: 'other' }))
      await store().putArtifact(artifact('d'))
      await store().dropArtifactsOf(ORG, 'g')
      await store().dropArtifact(key('d'))
      const left = [key('a'), key('r', 'RefreshToken'), key('d'), key('b')].map((item) =>
        store().getArtifact(item),
      )
      expect((await Promise.all(left)).map((item) => item?.id)).toEqual([
        ...[undefined, undefined, undefined, 'b'],
      ])
      expect(await store().getArtifact(key('c', 'AuthorizationCode', 'other'))).not.toBeNull()
    })

    test('are swept when they have expired', async () => {
      await store().putArtifact(artifact('a', { expiresAt: 50 }))
      await store().putArtifact(artifact('b', { expiresAt: 51 }))
      await store().sweep(49)
      expect(await store().getArtifact(key('a'))).not.toBeNull()
      await store().sweep(50)
      expect(await store().getArtifact(key('a'))).toBeNull()
      expect(await store().getArtifact(key('b'))).not.toBeNull()
    })

    test('one that is too large or has the wrong shape is refused', async () => {
      const wrong: Partial<Artifact>[] = [
        { body: 'x'.repeat(LIMITS.artifactBytes + 1) },
        { id: 'x'.repeat(LIMITS.nameBytes + 1) },
        { handle: '\ud800' },
        { expiresAt: -1 },
      ]
      for (const more of wrong) {
        await expect(store().putArtifact(artifact('a', more))).rejects.toThrow(TypeError)
      }
      expect(await store().getArtifact(key('a'))).toBeNull()
    })
  })
}
