import type { Instant, OrgId } from '../core/id.ts'
import { err, ok, type Result } from '../core/result.ts'
import {
  type Artifact,
  type ArtifactHandle,
  type ArtifactKey,
  type StoredArtifact,
  StoreError,
} from './store.ts'

/** The artifacts of the store without a disk. Synchronous: `memory.ts` says when it happens. */
export class MemoryArtifacts {
  readonly #byKey = new Map<string, StoredArtifact>()

  put(artifact: Artifact): void {
    const { org, kind, handle } = artifact
    const other = handle === null ? null : this.find({ org, kind, handle })
    if (other !== null && other.id !== artifact.id) {
      throw new StoreError('constraint', `another ${kind} has this handle`)
    }
    const consumedAt = this.get(artifact)?.consumedAt ?? null
    this.#byKey.set(keyOf(artifact), { ...artifact, consumedAt })
  }

  get(key: ArtifactKey): StoredArtifact | null {
    const found = this.#byKey.get(keyOf(key))
    return found === undefined ? null : { ...found }
  }

  find({ org, kind, handle }: ArtifactHandle): StoredArtifact | null {
    for (const item of this.#byKey.values()) {
      if (item.org === org && item.kind === kind && item.handle === handle) return { ...item }
    }
    return null
  }

  consume(key: ArtifactKey, at: Instant): Result<void, 'gone'> {
    const found = this.#byKey.get(keyOf(key))
    if (found === undefined || found.consumedAt !== null) return err('gone')
    this.#byKey.set(keyOf(key), { ...found, consumedAt: at })
    return ok(undefined)
  }

  drop(key: ArtifactKey): void {
    this.#byKey.delete(keyOf(key))
  }

  dropOf(org: OrgId, grant: string): void {
    for (const item of this.#byKey.values()) {
      if (item.org === org && item.grant === grant) this.drop(item)
    }
  }

  sweep(now: Instant): void {
    for (const item of this.#byKey.values()) if (item.expiresAt <= now) this.drop(item)
  }
}

function keyOf({ org, kind, id }: ArtifactKey): string {
  return JSON.stringify([org, kind, id])
}
