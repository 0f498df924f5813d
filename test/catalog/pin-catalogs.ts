/**
 * Makes the pins of the catalogs that ship with Daypass new, from the real servers:
 *
 *   node test/catalog/pin-catalogs.ts
 *
 * Read what changed in the server before you commit the result.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pinCatalog } from '../../src/catalog/draft.ts'
import { catalogText, listings, ROOT } from './servers.ts'

for (const name of ['filesystem', 'git', 'forge']) {
  const text = pinCatalog(catalogText(name), await listings(name))
  writeFileSync(join(ROOT, 'catalog', `${name}.yaml`), text)
}
