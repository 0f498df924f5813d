import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSqlite } from '../../src/store/sqlite.ts'
import { contract } from './contract.ts'

contract('SQLite', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'daypass-store-'))
  return {
    open: () => openSqlite({ file: join(directory, 'daypass.db') }),
    dispose: () => rm(directory, { recursive: true }),
  }
})
