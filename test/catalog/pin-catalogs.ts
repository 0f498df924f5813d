/**
 * Makes the pins of the catalogs that ship with Daypass new, from the real servers:
 *
 *   node test/catalog/pin-catalogs.ts [CATALOG…]
 *
 * Read what changed in the server before you commit the result.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pinCatalog } from '../../src/catalog/draft.ts'
import { CATALOGS, catalogText, listings, ROOT } from './servers.ts'

const wanted = process.argv.slice(2)
for (const name of wanted.length > 0 ? wanted : CATALOGS) {
  const text = pinCatalog(catalogText(name), await listings(name))
  writeFileSync(join(ROOT, 'catalog', `${name}.yaml`), text)
}
