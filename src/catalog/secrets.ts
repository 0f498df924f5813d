/**
 * Files that hold credentials by convention. A read of one is `secret.read` wherever it lies, so
 * that a lease to read a repository is not a lease to read its `.env`.
 */
const NAMES = new Set([
  '.git-credentials',
  '.htpasswd',
  '.mcp.json',
  '.my.cnf',
  '.netrc',
  '.npmrc',
  '.pgpass',
  '.pypirc',
  '.vault-token',
  '_netrc',
  'credentials.json',
  'secrets.json',
  'secrets.yaml',
  'secrets.yml',
])
const ENDINGS = [
  '.env',
  '.jks',
  '.kdbx',
  '.key',
  '.keystore',
  '.p12',
  '.pem',
  '.pfx',
  '.ppk',
  '.tfstate',
]
/** `.daypass` has the operator's token: who reads it can allow anything. */
const FOLDERS = ['.daypass', '.ssh', '.gnupg', '.aws', '.azure', '.gcloud', '.kube', '.docker']
/** Templates: names without values. */
const TEMPLATES = new Set(['.env.dist', '.env.example', '.env.sample', '.env.template'])
const SSH_KEY = /^id_(?:rsa|dsa|ecdsa|ed25519)/
const SERVICE_ACCOUNT = /^service[-_]?account.*\.json$/

/** Whether a relative path is a secret by its name. Case does not matter: file systems differ. */
export function isSecretPath(path: string): boolean {
  const segments = path.toLowerCase().split('/')
  const name = segments.at(-1) ?? ''
  if (name.startsWith('.env')) return !TEMPLATES.has(name)
  if (NAMES.has(name) || SERVICE_ACCOUNT.test(name)) return true
  if (SSH_KEY.test(name)) return !name.endsWith('.pub')
  if (ENDINGS.some((ending) => name.endsWith(ending))) return true
  return segments.slice(0, -1).some((segment) => FOLDERS.includes(segment))
}

/** Whether a relative path lies in a git directory, where a write can run code or move any ref. */
export function isGitInternal(path: string): boolean {
  return path.toLowerCase().split('/').includes('.git')
}

/** Files and folders that other programs take commands from when they next start. */
const COMMAND_FILES = ['daypass.yaml', '.mcp.json']
const COMMAND_FOLDERS = ['.husky', '.claude', '.codex', '.cursor', '.gemini', '.vscode']

/** Whether a write here is code that runs outside the lease: hooks, the set-up of agents. */
export function isHookPath(path: string): boolean {
  const segments = path.toLowerCase().split('/')
  return (
    COMMAND_FILES.includes(segments.at(-1)!) ||
    segments.some((segment) => COMMAND_FOLDERS.includes(segment))
  )
}
