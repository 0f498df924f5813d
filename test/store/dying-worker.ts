import { parentPort } from 'node:worker_threads'
import { OP } from '../../src/store/sqlite-protocol.ts'

/**
 * A writer that says it is ready, and dies of the first heartbeat; other writes it never answers.
 */
parentPort?.on('message', (flat: unknown[]) => {
  if (flat.includes(OP.beat)) throw new Error('out of memory, say')
})
parentPort?.postMessage({ kind: 'ready' })
