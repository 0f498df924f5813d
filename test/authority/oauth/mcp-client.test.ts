import {
  auth,
  Client,
  DpopSession,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Documents, json, serveDocuments } from './documents.ts'
import { Browser, CALLBACK, type Place, type Shown, startPlace } from './support.ts'

let documents: Documents
let place: Place
beforeAll(async () => {
  documents = await serveDocuments()
  place = await startPlace({ loopbackCa: documents.ca })
})
afterAll(async () => {
  await place.stop()
  await documents.stop()
})

/** A program that uses the SDK as its documentation says; nothing of it knows Daypass. */
class Program implements OAuthClientProvider {
  readonly redirectUrl = CALLBACK
  readonly clientMetadata = {
    client_name: 'Stock MCP client',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
  }
  readonly clientMetadataUrl?: string
  readonly #dpop: Promise<DpopSession> | undefined
  #client: StoredOAuthClientInformation | undefined
  #tokens: StoredOAuthTokens | undefined
  #verifier = ''
  #discovered: OAuthDiscoveryState | undefined
  sentTo: URL | undefined

  constructor(options: { clientMetadataUrl?: string; dpop?: boolean } = {}) {
    if (options.clientMetadataUrl) this.clientMetadataUrl = options.clientMetadataUrl
    if (options.dpop) this.#dpop = DpopSession.create()
  }
  clientInformation() {
    return this.#client
  }
  saveClientInformation(client: StoredOAuthClientInformation) {
    this.#client = client
  }
  tokens() {
    return this.#tokens
  }
  saveTokens(tokens: StoredOAuthTokens) {
    this.#tokens = tokens
  }
  redirectToAuthorization(url: URL) {
    this.sentTo = url
  }
  saveCodeVerifier(verifier: string) {
    this.#verifier = verifier
  }
  codeVerifier() {
    return this.#verifier
  }
  saveDiscoveryState(state: OAuthDiscoveryState) {
    this.#discovered = state
  }
  discoveryState() {
    return this.#discovered
  }
  dpop() {
    return this.#dpop
  }
}

const endpoint = () => new URL(`${place.url}/mcp`)
const text = (result: { content?: unknown }) => JSON.stringify(result.content)

/** Connects as a program does: told to send its user somewhere, waits for the way back, goes on. */
async function connect(
  program: Program,
  answer: (browser: Browser, page: Shown) => Promise<Shown>,
  mode: 'auto' | 'legacy' = 'auto',
): Promise<Client> {
  const make = () => {
    const client = new Client({ name: 'stock', version: '1' }, { versionNegotiation: { mode } })
    const transport = new StreamableHTTPClientTransport(endpoint(), { authProvider: program })
    return { client, transport }
  }
  const first = make()
  await expect(first.client.connect(first.transport)).rejects.toThrow(UnauthorizedError)
  const browser = new Browser(place)
  const { url: led } = await answer(browser, await browser.open(program.sentTo!))
  await first.transport.finishAuth(led.searchParams)
  const { client, transport } = make()
  await client.connect(transport)
  return client
}

const choose = (template: string) => async (browser: Browser, page: Shown) => {
  const prompt = await browser.open(`${page.url.pathname}?template=${template}`)
  return browser.press(prompt, 'answer=allow')
}

describe('the client of the MCP TypeScript SDK, as it is', () => {
  test.each(['auto', 'legacy'] as const)(
    'connects to /mcp, registers, has its user asked, and calls a tool (%s)',
    async (mode) => {
      const program = new Program()
      const client = await connect(program, choose('read-notes'), mode)
      try {
        const { tools } = await client.listTools()
        expect(tools.map(({ name }) => name)).toContain('notes.read_graph')
        expect(tools.map(({ name }) => name)).not.toContain('notes.create_entities')
        const read = await client.callTool({ name: 'notes.read_graph', arguments: {} })
        expect(text(read)).toContain('entities')
      } finally {
        await client.close()
      }
      expect(program.sentTo!.searchParams.get('resource')).toBe(endpoint().href)
    },
  )

  test('steps up: what its lease lacks it asks for by another lease, which a person sees', async () => {
    const program = new Program()
    const client = await connect(program, choose('read-notes'))
    const write = {
      name: 'notes.create_entities',
      arguments: { entities: [{ name: 'sdk', entityType: 'x', observations: [] }] },
    }
    const before = decodeJwt(program.tokens()!.access_token).run
    const denied = await client.callTool(write)
    expect(denied.isError).toBe(true)
    expect(text(denied)).toContain('memory.write')
    const options = { serverUrl: endpoint(), scope: 'lease:write-notes' }
    expect(await auth(program, { ...options, forceReauthorization: true })).toBe('REDIRECT')
    const browser = new Browser(place)
    const page = await browser.open(program.sentTo!)
    expect(page.text).toContain('keep the notes in order')
    const { url: led } = await browser.press(page, 'answer=allow')
    const [authorizationCode, iss] = [led.searchParams.get('code')!, led.searchParams.get('iss')!]
    expect(await auth(program, { ...options, authorizationCode, iss })).toBe('AUTHORIZED')
    expect(decodeJwt(program.tokens()!.access_token).run).not.toBe(before)
    const wrote = await client.callTool(write)
    expect(wrote.isError).not.toBe(true)
    await client.close()
  })

  test('is known by the address of its description, without registering', async () => {
    const clientMetadataUrl = `${documents.url}/stock.json`
    const program = new Program({ clientMetadataUrl })
    documents.answer = json({ ...program.clientMetadata, client_id: clientMetadataUrl })
    const client = await connect(program, choose('read-notes'))
    await client.close()
    expect(decodeJwt(program.tokens()!.access_token).client_id).toBe(clientMetadataUrl)
  })

  test('binds its badge to a key, and proves it with every call', async () => {
    const program = new Program({ dpop: true })
    const client = await connect(program, choose('read-notes'))
    expect(decodeJwt(program.tokens()!.access_token).cnf).toBeTruthy()
    const read = await client.callTool({ name: 'notes.read_graph', arguments: {} })
    expect(text(read)).toContain('entities')
    await client.close()
  })

  test('renews its badge by itself when it is refused', async () => {
    const program = new Program()
    const client = await connect(program, choose('read-notes'))
    const before = program.tokens()!
    program.saveTokens({ ...before, access_token: `${before.access_token}x` })
    const read = await client.callTool({ name: 'notes.read_graph', arguments: {} })
    expect(text(read)).toContain('entities')
    expect(program.tokens()!.refresh_token).not.toBe(before.refresh_token)
    expect(decodeJwt(program.tokens()!.access_token).run).toBe(decodeJwt(before.access_token).run)
    await client.close()
  })
})
