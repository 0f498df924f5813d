import type { OrgId } from '../core/id.ts'
import { INSTALLATION } from '../store/store.ts'
import { Authority } from './authority.ts'

/**
 * The operator's organisation: the only one, unless the configuration maps people to others. What
 * all of them share, such as the servers and their pins, is changed from here.
 */
export const LOCAL_ORG: OrgId = 'local'

/**
 * One authority for each organisation. They share the store, which keeps their keys apart, and
 * nothing else: whoever has the authority of an organisation reaches no other one.
 */
export class Authorities {
  readonly #shared: Omit<ConstructorParameters<typeof Authority>[0], 'org'>
  readonly #byOrg = new Map<OrgId, Authority>()

  constructor(shared: Omit<ConstructorParameters<typeof Authority>[0], 'org'>) {
    this.#shared = shared
  }

  /**
   * The authority of an organisation. `org` comes from a proof of who calls, never from a request,
   * so there are as many as the configuration names.
   */
  of(org: OrgId): Authority {
    if (org === INSTALLATION) throw new Error('the installation as a whole has no runs')
    let authority = this.#byOrg.get(org)
    if (authority === undefined) {
      authority = new Authority({ ...this.#shared, org })
      this.#byOrg.set(org, authority)
    }
    return authority
  }
}
