import { parse, serialize } from 'hono/utils/cookie'

/**
 * A cookie of ours. Over https its name has the prefix `__Host-`: no other host, no plain http and
 * no path can set it (RFC 6265bis §4.1.3.2). Scripts never see it, and another site's page sends it
 * with nothing but a navigation (`SameSite=Lax`; a sign-in comes back from one).
 */
export interface Cookie {
  /** Null: the request has none. */
  read(headers: Headers): string | null
  /** The value of `Set-Cookie`. Without a time it lives as long as the browser. */
  set(value: string, maxAgeSeconds?: number): string
  /** The value of `Set-Cookie` that removes it. */
  clear(): string
}

/** `url`: the public URL. */
export function cookieOf(name: string, url: string): Cookie {
  const { protocol, port } = new URL(url)
  const isSecure = protocol === 'https:'
  // Cookies are shared by all ports of a host: two servers on one machine need two names.
  const full = isSecure ? `__Host-${name}` : `${name}-${port}`
  const write = (value: string, maxAge?: number) =>
    serialize(full, value, {
      path: '/',
      httpOnly: true,
      sameSite: 'Lax',
      secure: isSecure,
      ...(maxAge === undefined ? {} : { maxAge }),
    })
  return {
    read: (headers) => parse(headers.get('cookie') ?? '', full)[full] ?? null,
    set: (value, maxAgeSeconds) => write(value, maxAgeSeconds),
    clear: () => write('', 0),
  }
}
