import type { Vocabulary } from '../core/vocabulary.ts'
import { printable } from '../lease-file/printable.ts'
import { doneOf, phraseOf, resourceWord } from '../lease-file/words.ts'
import { columnsOf, wrapSpans } from '../lease-file/wrap.ts'
import type { LayoutOptions } from '../ledger/layout.ts'
import type { Terminal } from './terminal.ts'

/** What the ledger's renderers need of terminal and vocabulary. */
export function layoutOf(terminal: Terminal, vocabulary: Vocabulary): LayoutOptions {
  return {
    columns: terminal.columns,
    tools: {
      paint: terminal.paint,
      printable,
      columnsOf,
      wrapSpans,
      phraseOf: (action) => phraseOf(vocabulary, action),
      doneOf: (action) => doneOf(vocabulary, action),
      resourceWord: (type) => resourceWord(vocabulary, type),
    },
  }
}
