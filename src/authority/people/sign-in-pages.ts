import { html } from 'hono/html'
import { type Html, page } from '../pages/layout.ts'
import type { ClaimFault } from './claims.ts'
import type { IdpFault } from './idp.ts'
import type { Session } from './sessions.ts'

/** The pages on which people sign in: what they say, and nothing of how it works. */

/** What each role may do, in the words of a person who has it. */
const MAY = {
  requester: 'ask for runs, and see and end your own',
  approver: 'answer requests of others, and suspend or revoke runs',
  auditor: 'see every run and receipt, and change nothing',
  admin: 'accept tools, revoke in bulk, and see everything',
} as const

export function signedInPage(session: Session, form: { csrf: string }): Html {
  const roles = [...session.roles].map((role) => html`<dt>${role}</dt><dd>${MAY[role]}</dd>`)
  const end = new Date(session.expiresAt).toISOString()
  return card(
    `Signed in as ${session.person}`,
    html`<dl class="fields">${roles}<dt>Organisation</dt><dd>${session.org}</dd>
<dt>Ends</dt><dd><time datetime="${end}">${end.slice(11, 16)} UTC</time> unless you use it</dd></dl>
<form class="actions" method="post" action="/sign-in/out">
<input type="hidden" name="csrf" value="${form.csrf}"><button class="btn">Sign out</button></form>`,
  )
}

/** Local mode: whoever asks for a page without being signed in. */
export function askForLinkPage(): Html {
  return card(
    'Sign in from your terminal',
    html`<div class="stack"><p>Run <code>daypass sign-in</code> on this machine and open the link that
it prints, in this browser.</p>
<p class="sub">The link works once, for 10 minutes. Then this page goes on where you were.</p></div>`,
  )
}

/** Opening a link does nothing yet: programs that preview links open them too. */
export function confirmLinkPage({ person, code }: { person: string; code: string }): Html {
  return card(
    `Sign in as ${person}?`,
    html`<p>This browser can then answer requests and revoke runs, for up to 12 hours.</p>
<form class="actions" method="post" action="/sign-in/link">
<input type="hidden" name="code" value="${code}">
<button class="btn yes">Sign in as ${person}</button></form>`,
  )
}

export function usedLinkPage(): Html {
  return card(
    'This link is used up or too old',
    html`<p>A link works once, for 10 minutes. <code>daypass sign-in</code> prints a new one.</p>`,
  )
}

export function signedOutPage(options: { team: boolean }): Html {
  const still = html`<p class="sub">Your identity provider may still know you in this browser.</p>`
  return card(
    'Signed out',
    html`<div class="stack"><p>This browser can answer nothing any more. Runs go on without it.</p>
${options.team ? still : ''}</div>
<div class="actions"><a class="btn" href="/sign-in">Sign in</a></div>`,
  )
}

/** A form that came from elsewhere, or from a page that was open for too long. */
export function staleFormPage(url: string): Html {
  return card(
    'Nothing was changed',
    html`<p>This form did not come from a page of Daypass, or its page was too old. Open
<a href="${url}/sign-in">${url}</a> and try again.</p>`,
  )
}

/** Whoever comes too often from one address. */
export function tooManyPage({ seconds }: { seconds: number }): Html {
  return card(
    'Too many requests from your address',
    html`<p>Try again in ${seconds} s. Sessions that are open, and runs, go on.</p>`,
  )
}

export function noPage(): Html {
  return card(
    'No such page',
    html`<div class="actions"><a class="btn" href="/sign-in">Sign in</a></div>`,
  )
}

export function brokenPage(): Html {
  return card(
    'Not done',
    html`<p>Daypass could not read or write its database. Nothing changed.</p>`,
  )
}

export function lostAttemptPage(): Html {
  return card(
    'This sign-in was not finished in time',
    html`<p>It was started more than 10 minutes ago, in another browser, or a second time.</p>
<div class="actions"><a class="btn yes" href="/sign-in">Start again</a></div>`,
  )
}

export function idpFaultPage(fault: IdpFault, provider: string): Html {
  const { title, text } = idpWords(fault, provider)
  return card(
    title,
    html`<p>${text}</p>
<div class="actions"><a class="btn yes" href="/sign-in">Try again</a></div>`,
  )
}

function idpWords(fault: IdpFault, provider: string): { title: string; text: Html | string } {
  switch (fault.kind) {
    case 'unreachable':
      return {
        title: 'Your identity provider does not answer',
        text: `Nobody can sign in until ${provider} is back. Runs and open sessions go on.`,
      }
    case 'refused':
      return {
        title: 'Your identity provider did not let you in',
        text: html`${provider} answered <code>${fault.code}</code>.`,
      }
    case 'invalid':
      return {
        title: 'The answer was not for this sign-in',
        text: `What came back from ${provider} could not be verified. You are not signed in.`,
      }
  }
}

/** Somebody whom the identity provider knows and the configuration does not. */
export function notAdmittedPage(
  fault: ClaimFault,
  at: { provider: string; claims: { person: string; roles: string; org: string } },
): Html {
  const { title, text } = refusalWords(fault, at)
  return card(
    title,
    html`<div class="stack"><p>${text}</p>
<p class="sub">Whoever runs this Daypass can change it: code <code>${fault}</code>.</p></div>
<div class="actions"><a class="btn" href="/sign-in?anew">Sign in as somebody else</a></div>`,
  )
}

function refusalWords(
  fault: ClaimFault,
  {
    provider,
    claims,
  }: { provider: string; claims: { person: string; roles: string; org: string } },
): { title: string; text: Html } {
  switch (fault) {
    case 'no_role':
      return {
        title: 'You have no role here',
        text: html`${provider} knows you, but nothing in <code>${claims.roles}</code> gives a role.`,
      }
    case 'org_unknown':
      return {
        title: 'Your organisation is not served here',
        text: html`${provider} knows you, but <code>${claims.org}</code> names none that is known here.`,
      }
    case 'org_ambiguous':
      return {
        title: 'You belong to more than one organisation',
        text: html`<code>${claims.org}</code> names several, and a session is for one.`,
      }
    case 'no_name':
      return {
        title: 'Nobody says who you are',
        text: html`${provider} gave no usable <code>${claims.person}</code>.`,
      }
    case 'email_unverified':
      return {
        title: 'Your e-mail address is not verified',
        text: html`${provider} does not say that the address is yours (<code>email_verified</code>).`,
      }
  }
}

function card(title: string, body: Html): Html {
  return page({
    title,
    body: html`<div class="card narrow"><header class="head"><h1>${title}</h1></header>${body}</div>`,
  })
}
