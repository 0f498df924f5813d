import { createHmac } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Client, errors, type Interaction, type Provider } from 'oidc-provider'
import type { RunId } from '../../core/id.ts'
import type { Terms } from '../../core/lease.ts'
import { ok, type Result } from '../../core/result.ts'
import { readBody } from '../../gateway/http-guard.ts'
import { narrowTerms } from '../../lease-file/narrow.ts'
import { printable } from '../../lease-file/printable.ts'
import { type Prompt, promptHash } from '../../lease-file/prompt.ts'
import { idFrom } from '../../runs/new-id.ts'
import { StoreError } from '../../store/store.ts'
import { actorOf } from '../api/access.ts'
import type { Authority, RunRequest } from '../authority.ts'
import { type Csrf, csrfWith } from '../people/csrf.ts'
import { approveByPolicy, draftRun, TEMPLATE_LABEL } from '../requests.ts'
import { type Template, termsFor } from '../templates.ts'
import { destinationOf, LEASE_TYPE, type ShownClient } from './clients.ts'
import { type Fields, narrowBy } from './consent-form.ts'
import { choosePage, messagePage, promptPage, waitPage } from './consent-page.ts'
import { redirect, requestOf, sendPage } from './http.ts'
import { accountId, audienceOf, type OAuthParts, type Person } from './parts.ts'
import { readWish } from './wish.ts'

/** A form of ours is small. */
const FORM_BYTES_MAX = 64 * 1024

/** One request of one browser for one page. */
interface Visit {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly interaction: Interaction
  readonly client: Client
  readonly shown: ShownClient
  readonly person: Person
  readonly authority: Authority
  /** The run that this page opens, if somebody says yes. */
  readonly run: RunId
  readonly fields: Fields
}

/** What would be opened. */
interface Draft {
  readonly template: Template
  /** Before anybody at this page has taken anything away. */
  readonly terms: Terms
  readonly request: RunRequest
  readonly prompt: Prompt
  readonly hash: string
}

/**
 * The consent page: our prompt. It is bound to this browser by a signed cookie, to the person by
 * their session, and to one authorization request of one client (threat 43). Nothing is opened
 * before the yes, and the yes names the hash of what was shown.
 */
export class Consent {
  readonly #parts: OAuthParts
  readonly #provider: () => Provider
  readonly #csrf: Csrf
  readonly #runKey: Buffer

  constructor(parts: OAuthParts, provider: () => Provider) {
    this.#parts = parts
    this.#provider = provider
    this.#csrf = csrfWith(parts.keys.derive('consent forms'))
    this.#runKey = parts.keys.derive('consent runs')
  }

  /** Serves `/consent/:uid`. */
  async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method !== 'GET' && req.method !== 'POST') {
      return sendPage(res, 405, messagePage('Not here', 'This page is opened or answered.'))
    }
    const url = new URL(req.url ?? '/', this.#parts.url)
    const interaction = await this.#interactionOf(req, res, url.pathname)
    if (interaction === null) {
      const why =
        'It was opened in another browser, was answered, or is too old. Nothing was allowed. ' +
        'Start again in the program that sent you here.'
      return sendPage(res, 400, messagePage('This request is not open here', why))
    }
    const caller = await this.#parts.authenticate(requestOf(req, this.#parts.url))
    if (caller === null && req.method === 'GET') {
      return redirect(res, `/sign-in?return=${encodeURIComponent(url.pathname + url.search)}`)
    }
    if (caller?.kind !== 'person' || !caller.roles.has('requester')) {
      const why = 'Only a signed-in person with the role requester can say yes to a run.'
      return sendPage(res, 403, messagePage('Not yours to answer', why))
    }
    const body = req.method === 'POST' ? await readBody(req, FORM_BYTES_MAX) : null
    if (body?.ok === false) {
      return sendPage(res, body.error.status, messagePage('Not read', body.error.message))
    }
    const fields = body === null ? url.searchParams : new URLSearchParams(body.value.toString())
    const visit = await this.#visitOf({ req, res, interaction, person: caller, fields })
    return req.method === 'POST' ? this.#answer(visit) : this.#show(visit)
  }

  /** The authorization request that waits in this browser under this address; null: none. */
  async #interactionOf(
    req: IncomingMessage,
    res: ServerResponse,
    path: string,
  ): Promise<Interaction | null> {
    try {
      const interaction = await this.#provider().interactionDetails(req, res)
      return path === `/consent/${interaction.uid}` ? interaction : null
    } catch (error) {
      if (error instanceof errors.SessionNotFound) return null
      throw error
    }
  }

  async #visitOf(
    visit: Pick<Visit, 'req' | 'res' | 'interaction' | 'person' | 'fields'>,
  ): Promise<Visit> {
    const { interaction, person } = visit
    const client = await this.#provider().Client.find(String(interaction.params.client_id))
    if (client === undefined) throw new errors.InvalidClient('the client is gone')
    const digest = createHmac('sha256', this.#runKey).update(interaction.uid).digest()
    return {
      ...visit,
      client,
      shown: shownClient(client, interaction),
      authority: this.#parts.authorityOf(person.org),
      run: idFrom('run', digest),
    }
  }

  async #show(visit: Visit): Promise<void> {
    if ((await visit.authority.find(visit.run)) !== null) return this.#goOn(visit)
    return this.#showDraft(visit, { status: 200, note: null })
  }

  async #answer(visit: Visit): Promise<void> {
    const { fields, res, interaction } = visit
    const csrf = fields.get('csrf')
    if (!this.#csrf.isValid(csrf, sessionOf(visit.person), interaction.uid)) {
      const why = 'The form is not from this page, or somebody else has signed in. Open it again.'
      return sendPage(res, 403, messagePage('Nothing was allowed', why))
    }
    const opened = await visit.authority.find(visit.run)
    switch (fields.get('answer')) {
      case 'refuse':
        return opened === null ? this.#refuse(visit, 'refused') : this.#takeBack(visit)
      case 'allow':
        return opened === null ? this.#allow(visit) : this.#goOn(visit)
      default:
        return opened === null
          ? this.#showDraft(visit, { status: 200, note: null })
          : this.#goOn(visit)
    }
  }

  /** The page for what the fields say now: a choice of templates, or the prompt. */
  async #showDraft(
    visit: Visit,
    { status, note }: { readonly status: number; readonly note: string | null },
  ): Promise<void> {
    const { res, shown, person, interaction, fields } = visit
    const about = {
      ...{ client: shown, person: person.person, action: `/consent/${interaction.uid}` },
      csrf: this.#csrf.token(sessionOf(person), interaction.uid),
    }
    const offered = this.#offered(visit)
    const template = offered.length === 1 ? offered[0]! : this.#chosen(offered, fields)
    const formTarget = cspSource(interaction)
    if (template === null) {
      return sendPage(res, 200, choosePage({ ...about, templates: offered }), formTarget)
    }
    const draft = this.#draft(visit, template)
    if (draft.ok) {
      const { vocabulary } = this.#parts
      const page = promptPage({ ...about, ...draft.value, vocabulary, note, offered })
      return sendPage(res, status, page, formTarget)
    }
    // What was filled in makes no lease: the page again, without it.
    const plain = this.#draft({ ...visit, fields: onlyTemplate(template) }, template)
    if (!plain.ok) throw new Error(`an offered template makes no lease: ${plain.error}`)
    const { vocabulary } = this.#parts
    const page = promptPage({ ...about, ...plain.value, vocabulary, note: draft.error, offered })
    return sendPage(res, 422, page, formTarget)
  }

  /** Templates that the client asked for, or any, as far as this person may use them. */
  #offered(visit: Visit): Template[] {
    const { scope, authorization_details: text } = visit.interaction.params as Params
    const wish = readWish(scope, text === undefined ? undefined : JSON.parse(text))
    if (!wish.ok) return []
    const { templates } = wish.value
    return this.#parts.templates
      .all()
      .filter(({ name }) => templates === null || templates.includes(name))
      .filter((template) => this.#draft({ ...visit, fields: onlyTemplate(template) }, template).ok)
  }

  #chosen(offered: readonly Template[], fields: Fields): Template | null {
    return offered.find(({ name }) => name === fields.get('template')) ?? null
  }

  #draft(visit: Visit, template: Template): Result<Draft, string> {
    const { vocabulary } = this.#parts
    const { scope, authorization_details: text } = visit.interaction.params as Params
    const wish = readWish(scope, text === undefined ? undefined : JSON.parse(text))
    if (!wish.ok) return wish
    const whole = termsFor(template, visit.person.person)
    const terms = narrowTerms(whole, wish.value.less, vocabulary)
    if (!terms.ok) return terms
    // Before the form was filled in, everything is ticked.
    const isForm = visit.fields.has('answer')
    const left = isForm ? narrowBy(terms.value, visit.fields, vocabulary) : terms
    if (!left.ok) return left
    const drafted = draftRun(
      { ...this.#parts, authority: visit.authority },
      {
        caller: visit.person,
        terms: left.value,
        template: template.name,
        agent: null,
        client: visit.shown.name,
        warnings: template.warnings,
      },
    )
    if (!drafted.ok) return { ok: false, error: drafted.error.message }
    const prompt = drafted.value.prompt(visit.run)
    const request = { ...drafted.value, run: visit.run }
    return ok({ template, terms: terms.value, request, prompt, hash: promptHash(prompt) })
  }

  /** The yes: opens the run, and approves it as far as the rule of it lets this person. */
  async #allow(visit: Visit): Promise<void> {
    const { authority, person, fields, res, interaction } = visit
    const template = this.#chosen(this.#offered(visit), fields)
    const draft = template === null ? null : this.#draft(visit, template)
    if (draft === null || !draft.ok || draft.value.hash !== fields.get('prompt')) {
      const note = 'What you saw has changed, so your yes was not used. Look again.'
      return this.#showDraft(visit, { status: 409, note })
    }
    try {
      const opened = await authority.open(draft.value.request)
      if (!opened.ok) {
        return sendPage(res, 409, messagePage('Not opened', opened.error.message))
      }
      const byPolicy = await approveByPolicy(authority, opened.value)
      if (!byPolicy.ok || !byPolicy.value) {
        // Refused: somebody else must say yes, for whom it waits now.
        const { promptHash: hash } = opened.value
        const by = { person: person.person, via: person.via, roles: [...person.roles] }
        await authority.approve(visit.run, { by, promptHash: hash })
      }
    } catch (error) {
      // A second press of the button: the first one has opened the run.
      if (!(error instanceof StoreError && error.code === 'constraint')) throw error
    }
    return redirect(res, `/consent/${interaction.uid}`)
  }

  /** The run is open: it waits for somebody, is over, or has a lease. */
  async #goOn(visit: Visit): Promise<void> {
    const { authority, run, person, res } = visit
    const found = await authority.find(run)
    const lease = found?.run.lease
    if (found == null || lease == null) return this.#refuse(visit, 'its lease was not requested')
    if (found.run.envelope.requester !== person.person) {
      const why = `${found.run.envelope.requester} has asked for this run.`
      return sendPage(res, 403, messagePage('Not yours to answer', printable(why)))
    }
    if (lease.state === 'requested') {
      const csrf = this.#csrf.token(sessionOf(person), visit.interaction.uid)
      const action = `/consent/${visit.interaction.uid}`
      const prompt = await authority.prompt(lease.promptHash)
      const page = waitPage({ run, csrf, action, lease, prompt, client: visit.shown })
      return sendPage(res, 200, page, cspSource(visit.interaction))
    }
    if (lease.state === 'ended') {
      const end = (await authority.entries(found.key)).findLast((e) => e.type === 'lease.ended')
      return this.#refuse(visit, end?.note ?? 'refused')
    }
    return this.#finish(visit, lease.terms)
  }

  async #takeBack(visit: Visit): Promise<void> {
    const by = actorOf(visit.person)
    await visit.authority.refuse(visit.run, { by, reason: 'taken back by the requester' })
    return this.#goOn(visit)
  }

  async #refuse({ req, res }: Visit, reason: string): Promise<void> {
    const result = { error: 'access_denied', error_description: descriptionOf(reason) }
    const provider = this.#provider()
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false })
  }

  /** Back to the client, with a grant for exactly this run. */
  async #finish({ req, res, interaction, client, person, run }: Visit, terms: Terms) {
    const provider = this.#provider()
    const audience = audienceOf(this.#parts.url)
    const account = accountId(person)
    const grant = new provider.Grant({ accountId: account, clientId: client.clientId })
    const scope = `lease:${terms.labels[TEMPLATE_LABEL]}`
    grant.addResourceScope(audience, scope)
    grant.addRar({ type: LEASE_TYPE, locations: [audience], run })
    const grantId = await grant.save()
    // What was granted, in place of what was asked for: the token response says so (RFC 6749 §3.3).
    interaction.params = { ...interaction.params, scope, resource: audience }
    await interaction.persist()
    const result = { login: { accountId: account, remember: false }, consent: { grantId } }
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false })
  }
}

type Params = { readonly [name: string]: string | undefined }

/** A form is good for the person that it was shown to. */
function sessionOf({ org, person }: Person): { id: string } {
  return { id: accountId({ org, person }) }
}

function onlyTemplate({ name }: Template): Fields {
  return new URLSearchParams({ template: name })
}

function shownClient(client: Client, { params }: Interaction): ShownClient {
  const { clientId, clientName } = client
  const url = clientId.startsWith('https:') ? new URL(clientId) : null
  const redirectUri = (params as Params).redirect_uri
  return {
    name: printable(clientName || url?.host || 'a program without a name'),
    publishedBy: url?.host ?? null,
    destination: redirectUri === undefined ? null : destinationOf(redirectUri),
  }
}

/**
 * Where the answer of this form may lead: browsers hold redirects after a form against
 * `form-action` (CSP3 §6.4.1). IPv6 addresses have no source expression, so the scheme stands.
 */
function cspSource({ params }: Interaction): string | null {
  const url = URL.parse((params as Params).redirect_uri ?? '')
  if (url === null) return null
  const isPlain = /^https?:$/.test(url.protocol) && !url.hostname.startsWith('[')
  return isPlain ? url.origin : url.protocol
}

/** RFC 6749 §4.1.2.1: a few characters of ASCII are not for this field. */
function descriptionOf(reason: string): string {
  return printable(reason).replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?')
}
