import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { html } from 'hono/html'

/** What `html` makes: text whose values are escaped. */
export type Html = ReturnType<typeof html>

/** Beside the sources in a checkout, beside `dist` in a package. */
const STYLE = readFileSync(
  resolve(import.meta.dirname, '..', '..', '..', 'assets', 'daypass.css'),
  'utf8',
)
/** The address has the content's digest, so that a browser keeps it until it changes. */
const STYLE_PATH = `/assets/daypass-${hash('sha256', STYLE, 'hex').slice(0, 12)}.css`

/** A whole page. `title` is also what the browser's tab says. */
export function page({ title, body }: { title: string; body: Html }): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<title>${title} · Daypass</title>
<link rel="stylesheet" href="${STYLE_PATH}">
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top"><span class="brand">${BADGE}Daypass</span></header>
<main class="page" id="main" tabindex="-1">${body}</main>
</body>
</html>
`
}

const BADGE = html`<svg class="i" viewBox="0 0 16 16" aria-hidden="true"><rect x="3" y="4" width="10" height="10" rx="1.5"/><path d="M6.5 4V2h3v2M6 11h4"/><circle cx="8" cy="8" r="1.2"/></svg>`

/**
 * Headers of every page: only our stylesheet loads, no other site frames it, forms post to us
 * (threat 73). `formTargets`: origins to which an answer to a form may send the browser on, since
 * Chromium holds redirects against `form-action` too. The referrer stays with us, and is not
 * switched off: then `Origin` of a form's POST would be `null`.
 */
export function pageHeaders(formTargets: readonly string[] = []): Record<string, string> {
  const targets = ["'self'", ...formTargets].join(' ')
  const style = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
  return {
    'content-security-policy': `${style}; form-action ${targets}`,
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'same-origin',
    'cache-control': 'no-store',
  }
}

/** The stylesheet, by its path; null: another path. */
export function asset(path: string): Response | null {
  if (path !== STYLE_PATH) return null
  return new Response(STYLE, {
    headers: {
      'content-type': 'text/css; charset=utf-8',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
    },
  })
}
