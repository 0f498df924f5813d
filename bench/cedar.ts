import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs'

/** The essay's lease as a Cedar policy, parsed beforehand, and one call that it permits. */

const GRANTED = [
  ...['repo.read', 'repo.branch.create', 'repo.commit', 'ci.test.run', 'pull_request.create'],
]
const DENIED = [
  ...['pull_request.merge', 'production.deploy', 'secret.write', 'billing.write', 'user.invite'],
]
const list = (actions: readonly string[]): string =>
  `[${actions.map((action) => `Action::"${action}"`).join(', ')}]`

const POLICY = `
permit (principal == Run::"run_root", action in ${list(GRANTED)}, resource)
when {
  context.now < 1796000000000 &&
  context.calls < 1000000 &&
  ["clord"].containsAll(context.repos) &&
  ["agent/dependency-update"].containsAll(context.branches)
};
forbid (principal, action in ${list(DENIED)}, resource);
`

/** Decides one call that is allowed; throws if Cedar sees it otherwise. */
export function cedarDecision(): () => void {
  const parsed = preparsePolicySet('lease', { staticPolicies: POLICY })
  if (parsed.type !== 'success') throw new Error(JSON.stringify(parsed))
  return () => {
    const answer = statefulIsAuthorized({
      principal: { type: 'Run', id: 'run_root' },
      action: { type: 'Action', id: 'repo.commit' },
      resource: { type: 'Tool', id: 'git.commit' },
      context: {
        ...{ now: 1_795_435_200_000, calls: 8 },
        ...{ repos: ['clord'], branches: ['agent/dependency-update'] },
      },
      entities: [],
      preparsedPolicySetId: 'lease',
    })
    if (answer.type !== 'success' || answer.response.decision !== 'allow') {
      throw new Error(JSON.stringify(answer))
    }
  }
}
