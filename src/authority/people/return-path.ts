/** It is kept in a cookie, sealed, and browsers drop a cookie of more than 4 KB. */
const RETURN_CHARACTERS_MAX = 1_024
const ANY_ORIGIN = 'http://own.invalid'

/**
 * The page to go to after signing in, if it is one of ours; null otherwise (open redirect).
 * Browsers read `//host` and `/\host` as another host, and drop tabs and line breaks, so the path
 * is read as they do and written anew.
 */
export function ownPath(given: unknown): string | null {
  if (typeof given !== 'string' || given.length > RETURN_CHARACTERS_MAX) return null
  if (!/^\/[\u0021-\u007e]*$/.test(given)) return null
  const url = URL.parse(given, ANY_ORIGIN)
  if (url === null || url.origin !== ANY_ORIGIN || url.pathname.startsWith('//')) return null
  return url.pathname + url.search
}
