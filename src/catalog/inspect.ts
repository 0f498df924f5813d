import { isRecord } from './yaml-reader.ts'

/** Something in the texts of a tool that a person should see before pinning it (threat 30). */
export interface TextFlag {
  readonly flag: 'hidden_characters' | 'instructions'
  /** Where in the definition, e.g. `inputSchema.properties.path.description`. */
  readonly where: string
  readonly words: string
}

/**
 * Control, format (zero-width, bidi, tags), private use; runs of variation selectors carry bytes.
 */
const HIDDEN = /[^\P{C}\t\n\r]|[\u{e0100}-\u{e01ef}]|\p{Variation_Selector}{2,}/u

/** What a description says when it talks to the model about something else than the tool. */
const INSTRUCTIONS: readonly RegExp[] = [
  /ignore (?:all |any |the )*(?:previous|prior|above|earlier|other) (?:instruction|rule|prompt)/i,
  /<\/?(?:important|system|secret|instructions?|hidden|assistant|user)\b/i,
  /\bdo not (?:tell|mention|inform|show|reveal|notify|warn)\b/i,
  /\b(?:without|never|don'?t) (?:tell|mention|ask|inform)(?:ing)? (?:it |this |to )*the user/i,
  /\b(?:system prompt|hidden instruction|developer message)\b/i,
  /\b(?:you must|always) (?:first |also )?(?:call|invoke|use|read|send|include|pass|forward)\b/i,
  /\b(?:id_rsa|\.ssh\/|api[_ ]?key|private key)[^.]{0,80}\b(?:send|pass|include|upload|attach)/i,
  /(?:[A-Za-z0-9+/]{120,}={0,2})/,
]

/** A definition is bounded; the scan is too. */
const DEPTH_MAX = 32

/** Looks through every text of a definition, keys included. Flags only: a person decides. */
export function inspectText(definition: unknown): readonly TextFlag[] {
  const flags: TextFlag[] = []
  scan(definition, '', 0, flags)
  return flags
}

function scan(value: unknown, where: string, depth: number, flags: TextFlag[]): void {
  if (depth > DEPTH_MAX) {
    flags.push({ flag: 'hidden_characters', where, words: 'nested too deep to be looked through' })
    return
  }
  if (typeof value === 'string') {
    inspectOne(value, where, flags)
  } else if (Array.isArray(value)) {
    value.forEach((item, index) => {
      scan(item, `${where}[${index}]`, depth + 1, flags)
    })
  } else if (isRecord(value)) {
    for (const [key, item] of Object.entries(value)) {
      const path = where === '' ? key : `${where}.${key}`
      inspectOne(key, path, flags)
      scan(item, path, depth + 1, flags)
    }
  }
}

function inspectOne(text: string, where: string, flags: TextFlag[]): void {
  const hidden = HIDDEN.exec(text)
  if (hidden !== null) {
    const code = hidden[0].codePointAt(0)!.toString(16)
    flags.push({ flag: 'hidden_characters', where, words: `has the invisible character U+${code}` })
  }
  const instruction = INSTRUCTIONS.map((pattern) => pattern.exec(text)).find(
    (found) => found !== null,
  )
  if (instruction) {
    const words = `reads like instructions to the model: \`${instruction[0].slice(0, 80)}\``
    flags.push({ flag: 'instructions', where, words })
  }
}
