import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Tokens in forms against pages of others that post them (threat 73). A token is good for one
 * session and one purpose, such as the interaction or the request that the form answers: another
 * person's token, or one of another form, is worth nothing.
 */
export interface Csrf {
  token(session: { readonly id: string }, purpose: string): string
  isValid(given: unknown, session: { readonly id: string }, purpose: string): boolean
}

/** `key`: 32 bytes. */
export function csrfWith(key: Buffer): Csrf {
  const digest = (session: string, purpose: string) =>
    createHmac('sha256', key)
      .update(JSON.stringify([session, purpose]))
      .digest()
  return {
    token: ({ id }, purpose) => digest(id, purpose).toString('base64url'),
    isValid: (given, { id }, purpose) => {
      if (typeof given !== 'string') return false
      const bytes = Buffer.from(given, 'base64url')
      const expected = digest(id, purpose)
      return bytes.length === expected.length && timingSafeEqual(bytes, expected)
    },
  }
}

/**
 * Whether the page that sent this is ours. Browsers send `Origin` with every POST (Fetch §3.2); a
 * request without it is not from a page of ours. `origin`: of the public URL.
 */
export function isFromOwnPage(headers: Headers, origin: string): boolean {
  return headers.get('origin') === origin
}
