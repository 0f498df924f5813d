import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Instant } from '../../core/id.ts'
import type { Authenticate } from '../caller.ts'
import type { PeopleConfig } from '../config.ts'
import type { Seal } from '../oauth/seal.ts'
import { type Html, pageHeaders } from '../pages/layout.ts'
import { type Claims, personOf } from './claims.ts'
import type { Cookie } from './cookies.ts'
import { type Csrf, isFromOwnPage } from './csrf.ts'
import type { Attempt, Idp, IdpFault } from './idp.ts'
import type { SignInLinks } from './links.ts'
import { ownPath } from './return-path.ts'
import type { Person, Sessions } from './sessions.ts'
import {
  askForLinkPage,
  brokenPage,
  confirmLinkPage,
  idpFaultPage,
  lostAttemptPage,
  noPage,
  notAdmittedPage,
  signedInPage,
  signedOutPage,
  staleFormPage,
  usedLinkPage,
} from './sign-in-pages.ts'

/** Forms here are a code and a token. */
const BODY_BYTES_MAX = 8 * 1024
/** How long somebody may take at the identity provider, or on the way to the terminal. */
const ATTEMPT_MS = 10 * 60_000
/** Purposes: of a token in a form, and of what is sealed in a cookie. */
const SIGN_OUT = 'sign-out'
const SIGN_IN = 'sign-in'
const FORBIDDEN = [403, 'role_missing'] as const

/** How people prove who they are. */
export type SignInMode =
  /** One person, by a link from the terminal. */
  | { readonly kind: 'local'; readonly links: SignInLinks; readonly person: Person }
  | { readonly kind: 'team'; readonly idp: Idp; readonly config: PeopleConfig }

export interface SignInParts {
  /** Public URL without a path. */
  readonly url: string
  readonly clock: () => Instant
  readonly mode: SignInMode
  readonly sessions: Sessions
  readonly csrf: Csrf
  readonly authenticate: Authenticate
  /** Holds what a sign-in must come back with, sealed: a stranger makes us store nothing. */
  readonly attempts: { readonly cookie: Cookie; readonly seal: Seal }
  /** The organisation of people where the configuration names none. */
  readonly defaultOrg: string
}

/** What this browser is about to do, in its cookie. */
interface Pending {
  /** A page of ours to go on with. */
  readonly back: string | null
  /** At the identity provider; null: a link is awaited. */
  readonly attempt: Attempt | null
  readonly until: Instant
}

/** `/sign-in/*`: how a browser becomes a person's, and stops being so. */
export function createSignIn(parts: SignInParts): Hono {
  const { sessions, csrf, mode } = parts
  const app = new Hono()
  app.use('*', bodyLimit({ maxSize: BODY_BYTES_MAX, onError: (c) => show(c, noPage(), 413) }))
  app.notFound((c) => show(c, noPage(), 404))
  app.onError((_, c) => show(c, brokenPage(), 500))
  app.get('/sign-in', async (c) => {
    const back = ownPath(c.req.query('return'))
    const session = await sessions.of(c.req.raw.headers)
    const anew = c.req.query('anew') !== undefined
    if (session !== null && !anew) {
      if (back !== null) return c.redirect(back, 303)
      return show(c, signedInPage(session, { csrf: csrf.token(session, SIGN_OUT) }))
    }
    if (mode.kind === 'team') return toProvider(c, parts, mode, { back, anew })
    if (back !== null) remember(c, parts, { back, attempt: null })
    return show(c, askForLinkPage())
  })
  app.get('/sign-in/out', (c) => show(c, signedOutPage({ team: mode.kind === 'team' })))
  app.post('/sign-in/out', async (c) => {
    const { headers } = c.req.raw
    const session = await sessions.of(headers)
    // Nobody to sign out: the same page, whoever sent it.
    if (session === null) return c.redirect('/sign-in/out', 303)
    const { csrf: given } = await formOf(c)
    const isOurs = isFromOwnPage(headers, parts.url) && csrf.isValid(given, session, SIGN_OUT)
    if (!isOurs) return show(c, staleFormPage(parts.url), 403)
    return answer(c.redirect('/sign-in/out', 303), [await sessions.end(headers)])
  })
  if (mode.kind === 'local') linkPages(app, parts, mode)
  else callback(app, parts, mode)
  return app
}

/** The link from the terminal: opening it shows a button, and the button uses it up. */
function linkPages(
  app: Hono,
  parts: SignInParts,
  { links, person }: Extract<SignInMode, { kind: 'local' }>,
): void {
  app.post('/sign-in/links', async (c) => {
    const caller = await parts.authenticate(c.req.raw)
    // A browser that is signed in makes no links: its session would then have no longest life.
    const isOperator = caller?.kind === 'person' && caller.via === 'terminal'
    if (isOperator) return c.json(await links.make(), 201, { 'cache-control': 'no-store' })
    const [status, title] = caller === null ? ([401, 'unauthorized'] as const) : FORBIDDEN
    const detail = 'only the operator makes links to sign in with'
    const headers = { 'content-type': 'application/problem+json' }
    return c.json({ type: `urn:daypass:${title}`, title, status, detail }, status, headers)
  })
  app.get('/sign-in/link', async (c) => {
    const code = c.req.query('code') ?? ''
    if (!(await links.isGood(code))) return show(c, usedLinkPage(), 410)
    return show(c, confirmLinkPage({ person: person.person, code }))
  })
  app.post('/sign-in/link', async (c) => {
    if (!isFromOwnPage(c.req.raw.headers, parts.url)) return show(c, staleFormPage(parts.url), 403)
    const { code } = await formOf(c)
    if (typeof code !== 'string' || !(await links.use(code))) return show(c, usedLinkPage(), 410)
    return admit(c, parts, person, pendingOf(c, parts)?.back ?? null)
  })
}

async function toProvider(
  c: Context,
  parts: SignInParts,
  { idp, config }: Extract<SignInMode, { kind: 'team' }>,
  { back, anew }: { back: string | null; anew: boolean },
): Promise<Response> {
  const begun = await idp.begin({ anew })
  if (!begun.ok) return fault(c, begun.error, config)
  remember(c, parts, { back, attempt: begun.value.attempt })
  return c.redirect(begun.value.url, 303)
}

/** Where the identity provider sends the browser back to. */
function callback(
  app: Hono,
  parts: SignInParts,
  { idp, config }: Extract<SignInMode, { kind: 'team' }>,
): void {
  app.get('/sign-in/callback', async (c) => {
    const pending = pendingOf(c, parts)
    // One attempt, one answer.
    forget(c, parts)
    if (pending === null || pending.attempt === null) return show(c, lostAttemptPage(), 400)
    const told = await idp.finish(new URL(c.req.url).search, pending.attempt)
    if (!told.ok) return fault(c, told.error, config)
    const person = personOf(told.value as Claims, config, parts.defaultOrg)
    if (person.ok) return admit(c, parts, person.value, pending.back)
    const claims = { person: config.personClaim, roles: config.roles.claim }
    const at = { ...claims, org: config.org?.claim ?? '' }
    return show(c, notAdmittedPage(person.error, { provider: hostOf(config), claims: at }), 403)
  })
}

async function admit(
  c: Context,
  { sessions, attempts }: SignInParts,
  person: Person,
  back: string | null,
): Promise<Response> {
  const started = await sessions.start(person, c.req.raw.headers)
  return answer(c.redirect(back ?? '/sign-in', 303), [started, attempts.cookie.clear()])
}

function fault(c: Context, error: IdpFault, config: PeopleConfig): Response | Promise<Response> {
  const status = error.kind === 'unreachable' ? 503 : error.kind === 'refused' ? 403 : 400
  return show(c, idpFaultPage(error, hostOf(config)), status)
}

function hostOf({ issuer }: PeopleConfig): string {
  return new URL(issuer).host
}

function remember(c: Context, parts: SignInParts, what: Omit<Pending, 'until'>): void {
  const { cookie, seal } = parts.attempts
  const pending: Pending = { ...what, until: parts.clock() + ATTEMPT_MS }
  const sealed = seal.close(JSON.stringify(pending), SIGN_IN)
  c.header('set-cookie', cookie.set(sealed, ATTEMPT_MS / 1000), { append: true })
}

function forget(c: Context, { attempts }: SignInParts): void {
  c.header('set-cookie', attempts.cookie.clear(), { append: true })
}

/** What this browser was about to do; null: nothing, or too long ago. */
function pendingOf(c: Context, { attempts, clock }: SignInParts): Pending | null {
  const sealed = attempts.cookie.read(c.req.raw.headers)
  const text = sealed === null ? null : attempts.seal.open(sealed, SIGN_IN)
  if (text === null) return null
  const pending = JSON.parse(text) as Pending
  return clock() < pending.until ? pending : null
}

/** The fields of a form; none of a body that is no form. */
async function formOf(c: Context): Promise<Record<string, unknown>> {
  return c.req.parseBody().catch(() => ({}))
}

function show(
  c: Context,
  html: Html,
  status: 200 | 400 | 403 | 404 | 410 | 413 | 500 | 503 = 200,
): Response | Promise<Response> {
  return c.html(html, status, pageHeaders())
}

function answer(response: Response, cookies: readonly string[]): Response {
  for (const cookie of cookies) response.headers.append('set-cookie', cookie)
  return response
}
