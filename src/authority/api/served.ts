import type { Json } from '../../core/id.ts'
import { LOCAL_ORG } from '../authorities.ts'
import type { Caller } from '../caller.ts'
import type { Template } from '../templates.ts'
import { orgOf } from './access.ts'
import type { ApiParts, Handlers } from './parts.ts'
import { Problem } from './problem.ts'

type Served = 'getStatus' | 'getCatalog' | 'getTool' | 'pinTool' | 'listTemplates' | 'getTemplate'

/** The server itself: its health, the tools that are presented to it, its templates. */
export function serverHandlers(parts: ApiParts): Handlers<Served> {
  const { pinning, templates } = parts
  const toolUnknown = () => new Problem(404, 'tool_unknown', 'no server presents that tool now')
  return {
    getStatus: async (_, { caller }) => {
      const status = (await parts.status()) as Record<string, Json>
      if (orgOf(caller) === LOCAL_ORG) return status
      // The machine, and what its servers say, are the installation's.
      const { version = null, now = null, key = null } = status
      return { version, now, key }
    },
    getCatalog: async () => parts.catalog() as { servers: Record<string, never[]> },
    getTool: async ({ params: { server, tool } }) => {
      const presented = pinning.look(server, tool)
      if (presented === null) throw toolUnknown()
      const { check, definition, accepted } = presented
      return { check, definition: definition as unknown as Json, accepted: accepted as Json | null }
    },
    pinTool: async ({ params: { server, tool }, body }, { caller }) => {
      checkInstallation(caller)
      const hash = body.hash.replace(/^sha256:/, '')
      const pinned = pinning.pin(server, tool, hash)
      if (pinned.ok) return { definition: hash }
      if (pinned.error.code === 'tool_unknown') throw toolUnknown()
      const now = `the server presents another definition now: sha256:${pinned.error.presented}`
      throw new Problem(409, pinned.error.code, now)
    },
    listTemplates: async () => ({ items: templates.all().map(templateView) }),
    getTemplate: async ({ params: { template } }) => {
      const found = templates.get(template)
      if (found !== null) return templateView(found)
      throw new Problem(404, 'template_unknown', `no template \`${template}\``)
    },
  }
}

/** What is accepted here holds for every organisation, so one of them cannot accept it. */
function checkInstallation(caller: Caller): void {
  if (orgOf(caller) === LOCAL_ORG) return
  const message = 'organisations share the servers here; only the operator accepts definitions'
  throw new Problem(403, 'role_missing', message)
}

function templateView({ name, title, scope, terms, warnings }: Template) {
  const said = warnings.filter(({ severity }) => severity === 'warning')
  return { name, title, scope, terms, warnings: said.map(({ message }) => message) }
}
