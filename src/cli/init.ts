import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { visible } from '../lease-file/printable.ts'
import { wrapWords } from '../lease-file/wrap.ts'
import { EXIT, Failure } from './exit.ts'
import { type ImportedServer, importServers } from './import-servers.ts'
import { CONFIG_NAME, FOLDER_NAME } from './project.ts'
import { type Proposal, proposeFor } from './propose.ts'
import { openTerminal } from './terminal.ts'
import { yamlText } from './yaml-text.ts'

const HEAD = `# Servers that stand behind the door, and what their calls are about (SPEC.md#configuration).
# Secrets are not written here: \`env:NAME\` and \`file:PATH\` stand for them.
version: 1
`
const EXAMPLE = `servers: {}
#  files:
#    command: [npx, -y, "@modelcontextprotocol/server-filesystem@2026.8.31", .]
#    catalog: filesystem
#    bind: { roots: [{ path: ., name: work }] }
`
const TAIL = `
# approvals:
#   self: true            # you may allow what you asked for
#   read_only_under: 30m  # a lease that only reads, for at most this long, needs nobody
#   answer_within: 5m
# limits: { max_expires_in: 8h }
`

/**
 * `daypass init`: writes `daypass.yaml` here, with the servers of an existing client configuration.
 */
export function init(options: { readonly json?: boolean }): number {
  const terminal = openTerminal()
  const folder = process.cwd()
  const file = join(folder, CONFIG_NAME)
  if (existsSync(file)) {
    throw new Failure(`\`${CONFIG_NAME}\` is there already; nothing was written`, EXIT.usage)
  }
  const imported = importServers(folder)
  const servers = imported?.servers ?? []
  const proposals = servers.map((server) => ({ server, proposal: proposeFor(server, folder) }))
  const entries = proposals.map(({ server, proposal }) => entryOf(server, proposal))
  const body = servers.length === 0 ? EXAMPLE : entries.join('')
  const text = `${HEAD}${servers.length === 0 ? '' : 'servers:\n'}${body}${TAIL}`
  writeFileSync(file, text, { flag: 'wx' })
  const ignored = ignoreFolder(folder)
  const notes = [...(imported?.notes ?? []), ...proposals.flatMap(({ proposal }) => proposal.notes)]
  if (options.json) {
    const names = servers.map(({ name }) => name)
    terminal.json({ file, imported: imported?.file ?? null, servers: names, notes })
    return EXIT.ok
  }
  const from = imported === null ? '' : ` with ${servers.length} of ${imported.file}`
  terminal.say(`${terminal.paint('green', '+')} Wrote ${CONFIG_NAME}${from}`)
  for (const { server, proposal } of proposals) {
    terminal.say(`  ${server.name.padEnd(14)} ${proposal.catalog ?? 'no catalog'}`)
  }
  if (ignored) terminal.say(`${terminal.paint('green', '+')} ${FOLDER_NAME}/ is in .gitignore`)
  for (const note of notes) {
    const lines = wrapWords(visible(note), terminal.columns - 2, '  ')
    terminal.say(`${terminal.paint('magenta', '!')} ${lines.join('\n')}`)
  }
  terminal.say('\nLook it over, then: daypass doctor, daypass run -- CMD')
  return EXIT.ok
}

function entryOf(server: ImportedServer, { catalog, bind }: Proposal): string {
  const { name, command, url, env, headers } = server
  const entry = {
    ...(command === null ? { url } : { command }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    ...(catalog === null ? {} : { catalog }),
    ...(bind === null ? {} : { bind }),
  }
  const yaml = yamlText({ [name]: entry })
  const note =
    catalog === null
      ? `    # no catalog: denied, unless a lease names a tool; then each call asks\n`
      : ''
  return `${yaml.replace(/^(?=.)/gm, '  ')}${note}`
}

/** Keys, database and receipts belong to this machine. True: the line is there now. */
function ignoreFolder(folder: string): boolean {
  const file = join(folder, '.gitignore')
  const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const line = `${FOLDER_NAME}/`
  if (before.split(/\r?\n/).some((each) => each.trim().replace(/^\//, '') === line)) return true
  const gap = before === '' || before.endsWith('\n') ? '' : '\n'
  writeFileSync(file, `${before}${gap}${line}\n`)
  return true
}
