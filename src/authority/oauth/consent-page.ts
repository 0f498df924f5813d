import { html } from 'hono/html'
import type { RunId } from '../../core/id.ts'
import type { Terms } from '../../core/lease.ts'
import type { Lease } from '../../core/tree.ts'
import type { Vocabulary } from '../../core/vocabulary.ts'
import { durationWords, formatDuration } from '../../lease-file/duration.ts'
import type { Mark } from '../../lease-file/paint.ts'
import { type Permission, permissionsOf } from '../../lease-file/permissions.ts'
import { printable, shortHash } from '../../lease-file/printable.ts'
import type { Clause, Prompt, PromptLine, Section } from '../../lease-file/prompt.ts'
import type { Html } from '../pages/layout.ts'
import type { Template } from '../templates.ts'
import type { ShownClient } from './clients.ts'
import type { Page } from './http.ts'

/** Everything is escaped by `html`; what others wrote is made visible by `printable`. */

interface About {
  readonly client: ShownClient
  readonly person: string
  /** Where the form goes. */
  readonly action: string
  readonly csrf: string
}

/** A title and a few words. */
export function messagePage(title: string, words: string): Page {
  return {
    title,
    body: html`<div class="card prompt"><div><h1>${title}</h1><p>${words}</p></div></div>`,
  }
}

/** Which lease it shall be, where the client leaves that open. */
export function choosePage(about: About & { readonly templates: readonly Template[] }): Page {
  const { client, action, templates } = about
  const title = `What may ${client.name} do?`
  const none = html`<p>No lease here is for what it asks, or for you. Nothing was allowed.</p>`
  const choices = templates.map(
    ({ name, title: purpose, terms }) => html`<label class="pick">
<input type="radio" name="template" value="${name}" required>
<span><b>${printable(purpose)}</b>
<span class="sub">${name}, for ${durationWords(terms.expiresInSeconds)}</span></span></label>`,
  )
  const choose = html`<form method="get" action="${action}"><fieldset>
<legend class="sub">Each is shown in full before you say yes.</legend>${choices}</fieldset>
<p class="actions"><button class="btn yes">Look at it</button></p></form>`
  const body = html`<div class="card prompt"><div><h1>${title}</h1>${clientLines(about)}</div>
${templates.length === 0 ? html`<div>${none}</div>` : choose}${refusal(about)}</div>`
  return { title, body }
}

/** The prompt, as a form that can take away and never add. */
export function promptPage(
  about: About & {
    readonly prompt: Prompt
    readonly hash: string
    readonly template: Template
    readonly terms: Terms
    readonly vocabulary: Vocabulary
    readonly note: string | null
    readonly offered: readonly Template[]
  },
): Page {
  const { prompt, hash, template, note, action, csrf, offered } = about
  const yes = `Allow for ${durationWords(prompt.terms.expiresInSeconds)}`
  const other =
    offered.length > 1 ? html`<p class="sub"><a href="${action}">Choose another lease</a></p>` : ''
  const body = html`<form class="card prompt" method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="prompt" value="${hash}">
<input type="hidden" name="template" value="${template.name}">
${note === null ? '' : html`<p class="note ask" role="alert">${note}</p>`}
<div><h1>${prompt.title}</h1><p class="sub">${prompt.byline}</p>${clientLines(about)}${other}</div>
${glance(prompt)}
<dl class="fields">${prompt.sections.map(section)}</dl>
${narrowing(about)}
<p class="sub">Prompt <span class="code">${shortHash(hash)}</span>, run
<span class="code">${prompt.run}</span></p>
<p class="actions"><button class="btn yes" name="answer" value="allow">${yes}</button>
<button class="btn" name="answer" value="update">Show what is left</button>
<button class="btn" name="answer" value="refuse" formnovalidate>Refuse</button></p>
</form>`
  return { title: `Allow: ${prompt.title}`, body }
}

/** Somebody else must say yes. The page looks again by itself, and goes on when they have. */
export function waitPage(about: {
  readonly run: RunId
  readonly client: ShownClient
  readonly action: string
  readonly csrf: string
  readonly lease: Lease
  readonly prompt: Prompt | null
}): Page {
  const { run, action, csrf, lease, prompt } = about
  const who = lease.terms.approvers?.map(printable).join(' or ') ?? 'an approver'
  const until = new Date(lease.requestedAt + lease.rule.answerSeconds * 1000).toISOString()
  const title = `Waits for ${who}`
  const body = html`<form class="card prompt" method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<div><h1 role="status">${title}</h1>
<p>You asked, so somebody else says yes. This page goes on by itself. Unanswered, it is refused at
${until.slice(11, 16)} UTC.</p></div>
<p class="sub">Prompt <span class="code">${shortHash(lease.promptHash)}</span>, also for:
<code>daypass approve ${run}</code></p>
${prompt === null ? '' : html`<dl class="fields">${prompt.sections.map(section)}</dl>`}
<p class="actions"><button class="btn" name="answer" value="refuse">Take it back</button></p>
</form>`
  return { title, body, refreshSeconds: 3 }
}

/** Who asks and where the answer goes: facts, and what is only said, apart (threat 50). */
function clientLines({ client, person }: About): Html {
  const { name, publishedBy, destination } = client
  const known =
    publishedBy === null
      ? html`It calls itself <b>${name}</b>. Nobody has checked that.`
      : html`<b>${name}</b>, as published by <span class="code">${publishedBy}</span>.`
  return html`<p>${known}</p><p>${whereWords(destination)}</p>
<p class="sub">You are ${printable(person)}.</p>`
}

function whereWords(destination: ShownClient['destination']): Html {
  if (destination === null) return html`The badge goes to the device that showed you the code.`
  const { kind, name } = destination
  if (kind === 'web') return html`The badge goes to <span class="code">${printable(name)}</span>.`
  const which =
    kind === 'loopback'
      ? html`whatever listens at <span class="code">${printable(name)}</span>`
      : html`whatever opens <span class="code">${printable(name)}:</span> addresses`
  return html`<span class="mark ask">not checked</span> The badge goes to a program on this
computer: ${which}. Go on only if you have just started it yourself.`
}

function glance({ glance: answers }: Prompt): Html {
  return html`<ul class="glance" aria-label="At a glance">${answers.map(
    ({ question, answer }) =>
      html`<li class="${answer === 'no' ? 'nil' : ''}"><span>${question}</span><b>${answer}</b></li>`,
  )}</ul>`
}

function section({ label, text, lines }: Section): Html {
  return html`<dt>${label}</dt><dd>${text}${
    lines.length === 0 ? '' : html`<ul>${lines.map(lineOf)}</ul>`
  }</dd>`
}

function lineOf({ name, clauses }: PromptLine): Html {
  const start = name === null ? '' : html`<b>${name}</b> `
  return html`<li>${start}${clauses.map(clauseOf)}</li>`
}

/** Marks of the terminal as words: a colour alone says nothing to some. */
const MARKS: Readonly<Record<Mark, readonly [style: string, word: string]>> = {
  '+': ['', 'allowed'],
  x: ['', 'denied'],
  '?': ['ask', 'asks'],
  '!': ['grave', 'final'],
  '~': ['grave', 'unknown'],
  '>': ['out', 'sends'],
}

function clauseOf({ mark, text }: Clause): Html {
  if (mark === null) return html`<span class="sub">${text}</span> `
  const [style, word] = MARKS[mark]
  return html`<span class="mark ${style}"><span aria-hidden="true">${word}: </span>${text}</span> `
}

function narrowing(about: {
  readonly terms: Terms
  readonly prompt: Prompt
  readonly vocabulary: Vocabulary
}): Html {
  const { terms, prompt, vocabulary } = about
  const left = new Set(permissionsOf(prompt.terms, vocabulary).map(({ name }) => name))
  const now = prompt.terms
  const minutes = now.workSeconds === null ? null : Math.floor(now.workSeconds / 60)
  const most = terms.workSeconds === null ? null : Math.floor(terms.workSeconds / 60)
  return html`<fieldset><legend><b>Less of it</b></legend>
<p class="sub">You can only take away. What you change is shown again before it counts.</p>
${permissionsOf(terms, vocabulary).map((permission) => pick(permission, left))}
<p class="row">
<label>${number('calls', now.maxToolCalls, terms.maxToolCalls)} tool calls</label>
<label>${number('minutes', minutes, most)} minutes of work</label>
<label>after <input type="text" name="expires" value="${formatDuration(now.expiresInSeconds)}">
at most ${formatDuration(terms.expiresInSeconds)}</label></p></fieldset>`
}

function pick({ name, phrase, asks }: Permission, left: ReadonlySet<string>): Html {
  const ticked = left.has(name) ? html`checked` : ''
  const also = asks ? html` <span class="sub">only with a fresh yes</span>` : ''
  return html`<label class="pick"><input type="checkbox" name="keep" value="${name}" ${ticked}>
<span><span class="what">${phrase}</span>${also}</span></label>`
}

function number(name: string, value: number | null, most: number | null): Html {
  const limit = most === null ? '' : html`max="${String(most)}"`
  const shown = value === null ? '' : String(value)
  return html`<input type="number" name="${name}" min="1" ${limit} value="${shown}">`
}

function refusal({ action, csrf }: About): Html {
  return html`<form method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<button class="btn" name="answer" value="refuse">Refuse</button></form>`
}
