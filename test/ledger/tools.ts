import { painter } from '../../src/lease-file/paint.ts'
import { printable } from '../../src/lease-file/printable.ts'
import { doneOf, phraseOf, resourceWord } from '../../src/lease-file/words.ts'
import { columnsOf, wrapSpans } from '../../src/lease-file/wrap.ts'
import type { TextTools } from '../../src/ledger/layout.ts'
import { vocabulary } from '../lease-file/support.ts'

/** The tools that the command line hands to the renderers. */
export function tools(color = false): TextTools {
  return {
    paint: painter({ color }),
    printable,
    columnsOf,
    wrapSpans,
    phraseOf: (action) => phraseOf(vocabulary, action),
    doneOf: (action) => doneOf(vocabulary, action),
    resourceWord: (type) => resourceWord(vocabulary, type),
  }
}
