import { html } from 'hono/html'
import type { errors, KoaContextWithOIDC } from 'oidc-provider'
import { printable } from '../../lease-file/printable.ts'
import { messagePage } from './consent-page.ts'
import { type Page, renderPage } from './http.ts'

/** The pages of RFC 8628: a person types the code that a device shows, and sees the prompt. */

function show(ctx: KoaContextWithOIDC, page: Page): void {
  const { headers, document } = renderPage(page)
  ctx.set(headers)
  ctx.body = document
}

/** The token of oidc-provider's own form, against posts from elsewhere. */
function xsrfOf(ctx: KoaContextWithOIDC): string {
  return String((ctx.oidc.session?.state as { secret?: string } | undefined)?.secret ?? '')
}

function inputPage(
  ctx: KoaContextWithOIDC,
  _form: string,
  _out?: unknown,
  error?: errors.OIDCProviderError | Error,
): void {
  const action = ctx.oidc.urlFor('code_verification')
  const note =
    error === undefined ? '' : html`<p class="note ask" role="alert">${wordsOf(error)}</p>`
  const title = 'Which code does the device show?'
  const body = html`<form class="card prompt" method="post" action="${action}">
<input type="hidden" name="xsrf" value="${xsrfOf(ctx)}">${note}
<div><h1>${title}</h1><p class="sub">Type only a code that you have just asked for. Somebody who
sends you one wants a badge of yours.</p></div>
<p class="actions"><input class="code" type="text" name="user_code" aria-label="Code" required
autocomplete="off" autocapitalize="characters" spellcheck="false">
<button class="btn yes">Show what it asks for</button></p></form>`
  show(ctx, { title, body })
}

function wordsOf(error: Error): string {
  if (error.name === 'AbortedError') return 'Refused. The device is told.'
  const isCode = ['NoCodeError', 'NotFoundError', 'ExpiredError', 'AlreadyUsedError']
  return isCode.includes(error.name)
    ? 'That is no code that waits: it is mistyped, used, or too old.'
    : 'That did not work. Nothing was allowed.'
}

function confirmPage(
  ctx: KoaContextWithOIDC,
  _form: string,
  client: { clientName?: string | undefined; clientId: string },
  _device: unknown,
  userCode: string,
): void {
  const action = ctx.oidc.urlFor('code_verification')
  const name = printable(client.clientName || client.clientId)
  const title = `Does your device show ${userCode}?`
  const body = html`<form class="card prompt" method="post" action="${action}">
<input type="hidden" name="xsrf" value="${xsrfOf(ctx)}">
<input type="hidden" name="user_code" value="${userCode}">
<div><h1>${title}</h1><p>It calls itself <b>${name}</b>. Nobody has checked that.</p></div>
<p class="actions"><button class="btn yes" name="confirm" value="yes">It shows this code</button>
<button class="btn" name="abort" value="yes">It does not</button></p></form>`
  show(ctx, { title, body })
}

/** The session held the form only: the next person at this browser has one of their own. */
async function successPage(ctx: KoaContextWithOIDC): Promise<void> {
  await ctx.oidc.session?.destroy()
  show(ctx, messagePage('Allowed', 'The device goes on by itself. You can close this page.'))
}

export const devicePages = {
  userCodeInputSource: inputPage,
  userCodeConfirmSource: confirmPage,
  successSource: successPage,
}
