import { isMap, isNode, isScalar, parseDocument } from 'yaml'
import { ARGUMENT_TYPES, type ArgumentType } from './catalog.ts'
import { definitionHash, type ToolDefinition } from './pin.ts'
import { isRecord } from './yaml-reader.ts'

export interface DraftHead {
  readonly name: string
  readonly package: string
  readonly version: string
}

/**
 * Drafts a catalog from what a server presents: every tool with its arguments and pin, every rule
 * still a fault. A draft allows nothing until a person has written what each tool touches.
 */
export function draftCatalog(head: DraftHead, tools: readonly ToolDefinition[]): string {
  const lines = [
    `catalog: ${head.name}`,
    'version: 1',
    `title: ${JSON.stringify(head.name)}`,
    'server:',
    `  package: ${JSON.stringify(head.package)}`,
    `  version: ${JSON.stringify(head.version)}`,
    '',
    'actions: {}',
    '',
    tools.length === 0 ? 'tools: {}' : 'tools:',
  ]
  for (const tool of tools) {
    lines.push(`  ${tool.name}:`, `    definition: ${definitionHash(tool)}`)
    const args = draftArguments(tool)
    if (args.length > 0) lines.push('    args:', ...args.map((line) => `      ${line}`))
    lines.push('    rules:', '      - fault: nobody has written yet what this tool touches', '')
  }
  return `${lines.join('\n').trimEnd()}\n`
}

function draftArguments(tool: ToolDefinition): readonly string[] {
  const schema = isRecord(tool.inputSchema) ? tool.inputSchema : {}
  const required = Array.isArray(schema.required) ? schema.required : []
  return Object.entries(isRecord(schema.properties) ? schema.properties : {}).map(
    ([name, property]) => {
      const types = schemaTypes(property)
      const key = /^[A-Za-z_][\w-]*$/.test(name) ? name : JSON.stringify(name)
      const mark = required.includes(name) ? '!' : ''
      return `${key}: ${types.join('|') || 'string'}${mark}`
    },
  )
}

/** The argument types of the catalog that a JSON Schema property admits. */
export function schemaTypes(property: unknown): readonly ArgumentType[] {
  if (!isRecord(property)) return []
  if (Array.isArray(property.anyOf)) {
    return [...new Set(property.anyOf.flatMap((branch) => schemaTypes(branch)))]
  }
  if (property.type === 'array') {
    const items = isRecord(property.items) ? property.items.type : undefined
    return items === 'string' ? ['strings'] : items === 'object' ? ['objects'] : []
  }
  const type = property.type as ArgumentType
  return ARGUMENT_TYPES.includes(type) ? [type] : []
}

/**
 * The text of a catalog with its pins made new from the listings given (one per protocol era);
 * every other character stays. A tool that the catalog does not have is not added: pinning is not
 * mapping.
 */
export function pinCatalog(text: string, listings: readonly (readonly ToolDefinition[])[]): string {
  const tools = parseDocument(text).get('tools')
  if (!isMap(tools)) return text
  const edits: { from: number; to: number; with: string }[] = []
  for (const { key, value } of tools.items) {
    if (!isScalar(key) || !isMap(value)) continue
    const listed = listings.flat().filter((tool) => tool.name === key.value)
    const hashes = [...new Set(listed.map((tool) => definitionHash(tool)))]
    if (hashes.length === 0) continue
    const pin = hashes.length === 1 ? hashes[0]! : `[${hashes.join(', ')}]`
    const old = value.get('definition', true)
    if (isNode(old) && old.range) {
      edits.push({ from: old.range[0], to: old.range[1], with: pin })
    } else if (value.range) {
      const from = value.range[0]
      const indent = ' '.repeat(from - text.lastIndexOf('\n', from - 1) - 1)
      edits.push({ from, to: from, with: `definition: ${pin}\n${indent}` })
    }
  }
  return edits
    .sort((a, b) => b.from - a.from)
    .reduce((done, edit) => done.slice(0, edit.from) + edit.with + done.slice(edit.to), text)
}
