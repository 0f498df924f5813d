import { isRecord, type Path } from '../catalog/yaml-reader.ts'

/**
 * Variables of the environment that stand above `daypass.yaml`: what differs between two machines
 * with the same file. Who may do what stays in the file, which is reviewed.
 */
export const OVERRIDES: Readonly<Record<string, Path>> = {
  DAYPASS_SERVER_URL: ['server', 'url'],
  DAYPASS_SERVER_LISTEN: ['server', 'listen'],
  DAYPASS_SERVER_TRUST_PROXY: ['server', 'trust_proxy'],
  DAYPASS_PEOPLE_ISSUER: ['people', 'issuer'],
  DAYPASS_PEOPLE_CLIENT_ID: ['people', 'client_id'],
  DAYPASS_OAUTH_REQUIRE_DPOP: ['oauth', 'require_dpop'],
  DAYPASS_OAUTH_DYNAMIC_REGISTRATION: ['oauth', 'dynamic_registration'],
  DAYPASS_OAUTH_CLIENT_METADATA: ['oauth', 'client_metadata'],
  DAYPASS_LIMITS_MAX_EXPIRES_IN: ['limits', 'max_expires_in'],
  DAYPASS_LIMITS_MAX_TOOL_CALLS: ['limits', 'max_tool_calls'],
  DAYPASS_LIMITS_PER_CALLER: ['limits', 'per_caller'],
  DAYPASS_LIMITS_PER_ADDRESS: ['limits', 'per_address'],
  DAYPASS_LIMITS_SIGN_IN: ['limits', 'sign_in'],
  DAYPASS_LIMITS_PROMPTS: ['limits', 'prompts'],
}

/** Sections of the file; a variable that begins like one and is none of the above is a mistake. */
const SECTION = /^DAYPASS_(?:SERVERS?|PEOPLE|MACHINES|OAUTH|APPROVALS|POLICY|LIMITS)_/

/** Puts the variables over what the file says; `from` tells which path came from which variable. */
export function applyOverrides(
  file: Record<string, unknown>,
  env: NodeJS.ProcessEnv,
): { values: Record<string, unknown>; from: Map<string, string>; problems: string[] } {
  const values: Record<string, unknown> = { ...file }
  const from = new Map<string, string>()
  for (const [name, [section, field]] of Object.entries(OVERRIDES) as [string, string[]][]) {
    const text = env[name]
    if (text === undefined || text === '') continue
    const before = values[section!] ?? {}
    // A section that is no map is a problem of the file; it is told as such.
    if (!isRecord(before)) continue
    values[section!] = { ...before, [field!]: readValue(text) }
    from.set(`${section}.${field}`, name)
  }
  const problems = Object.keys(env)
    .filter((name) => SECTION.test(name) && !Object.hasOwn(OVERRIDES, name))
    .map((name) => `${name}: no such variable; known: ${Object.keys(OVERRIDES).join(', ')}`)
  return { values, from, problems }
}

/** As YAML would read it: `true`, `8`; anything else is a text. */
function readValue(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^\d{1,9}$/.test(text) ? Number(text) : text
}
