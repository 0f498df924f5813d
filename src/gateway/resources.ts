import { err, ok, type Result } from '../core/result.ts'
import type { Upstreams } from './upstreams.ts'

/**
 * Which server a resource URI belongs to. URIs are passed on as they are, because results and links
 * refer to them; so the owner is found, and never guessed: the server that lists the URI, else the
 * one whose template begins like it, else the only one that offers resources. A URI that two
 * servers claim belongs to neither, so no server can take another's by listing it too.
 */
export async function ownerOfResource(
  upstreams: Upstreams,
  uri: string,
): Promise<Result<string, string>> {
  const offering = [...upstreams.all()].filter((upstream) => upstream.offers('resources'))
  if (offering.length === 0) return err('no server offers resources')
  const only = offering[0]
  if (offering.length === 1 && only !== undefined) return ok(only.name)
  const claims = await Promise.all(
    offering.map(async (upstream) => {
      const [resources, templates] = await Promise.all([
        upstream.list('resources'),
        upstream.list('resourceTemplates'),
      ])
      return {
        server: upstream.name,
        // Completion names a template, reading a resource.
        listed:
          resources.some((r) => r.uri === uri) || templates.some((t) => t.uriTemplate === uri),
        templated: templates.some((t) => beginsLike(uri, t.uriTemplate)),
      }
    }),
  )
  const listed = claims.filter((claim) => claim.listed)
  const owners = listed.length > 0 ? listed : claims.filter((claim) => claim.templated)
  const owner = owners[0]
  if (owner === undefined) return err('no server lists this resource or a template for it')
  if (owners.length > 1) {
    const names = owners.map(({ server }) => `\`${server}\``).join(' and ')
    return err(`${names} claim this resource: it is denied, since it cannot be told whose it is`)
  }
  return ok(owner.server)
}

/** The literal beginning of a template, if it reaches past the scheme, begins the URI. */
function beginsLike(uri: string, template: unknown): boolean {
  if (typeof template !== 'string') return false
  const literal = template.split('{', 1)[0] ?? ''
  return /^[a-z][a-z0-9+.-]*:/i.test(literal) && uri.startsWith(literal)
}
