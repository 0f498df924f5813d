import { startFixture } from './fixture.ts'
import { startThrough } from './gateway.ts'
import { startProxy } from './proxy.ts'
import { type Check, missing, REVISIONS, runSuite, verdicts } from './suite.ts'

/**
 * The suite against the fixture alone and behind the gateway, for one revision and one way there.
 */
export interface Comparison {
  readonly revision: string
  readonly upstream: 'http' | 'stdio'
  readonly direct: readonly Check[]
  readonly through: readonly Check[]
  /** Verdicts that only one of the two has, with `-` for the direct way and `+` for the gateway. */
  readonly differing: readonly string[]
}

/** Runs everything; about a minute. */
export async function compareAll(): Promise<Comparison[]> {
  const direct = await runDirect()
  const all: Comparison[] = []
  for (const upstream of ['http', 'stdio'] as const) {
    const compared = compare(upstream, direct, await runThrough(upstream))
    // Some scenarios wait for fractions of a second, which a busy machine can miss on either side:
    // what differs has to differ twice.
    const isSame = compared.every(({ differing }) => differing.length === 0)
    all.push(
      ...(isSame ? compared : compare(upstream, await runDirect(), await runThrough(upstream))),
    )
  }
  return all
}

function compare(upstream: Comparison['upstream'], direct: Runs, through: Runs): Comparison[] {
  return REVISIONS.map((revision) => {
    const pair = { direct: direct[revision], through: through[revision] }
    return { revision, upstream, ...pair, differing: difference(pair.direct, pair.through) }
  })
}

type Runs = Record<(typeof REVISIONS)[number], Check[]>

async function runBoth(url: string): Promise<Runs> {
  const runs: Partial<Runs> = {}
  for (const revision of REVISIONS) runs[revision] = await runSuite(url, revision)
  return runs as Runs
}

async function runDirect(): Promise<Runs> {
  const fixture = await startFixture()
  const proxy = await startProxy(fixture.url, { authorization: 'Bearer nobody-asks' })
  try {
    return await runBoth(proxy.url)
  } finally {
    await proxy.close()
    await fixture.close()
  }
}

async function runThrough(upstream: 'http' | 'stdio'): Promise<Runs> {
  const fixture = upstream === 'http' ? await startFixture() : null
  const gateway = await startThrough(fixture ?? 'stdio')
  const { badge } = await gateway.open()
  const proxy = await startProxy(gateway.url, { authorization: `Bearer ${badge}` })
  try {
    return await runBoth(proxy.url)
  } finally {
    await proxy.close()
    await gateway.close()
    await fixture?.close()
  }
}

function difference(direct: readonly Check[], through: readonly Check[]): string[] {
  const before = verdicts(direct)
  const after = verdicts(through)
  return [
    ...missing(before, after).map((line) => `- ${line}`),
    ...missing(after, before).map((line) => `+ ${line}`),
  ]
}
