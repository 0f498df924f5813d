import type { KoaContextWithOIDC } from 'oidc-provider'
import { printable } from '../../lease-file/printable.ts'
import { messagePage } from './consent-page.ts'
import { renderPage } from './http.ts'

/** Errors that are not led back to a client, because it is not known whether it is one. */
export function errorPage(
  ctx: KoaContextWithOIDC,
  out: { readonly error: string; readonly error_description?: string | undefined },
): void {
  const words = printable(out.error_description ?? out.error)
  const hint = 'Nothing was allowed. Start again in the program that sent you here.'
  const shown = messagePage('This request is refused', `${words} (${out.error}). ${hint}`)
  const { headers, document } = renderPage(shown)
  ctx.set(headers)
  ctx.body = document
}
