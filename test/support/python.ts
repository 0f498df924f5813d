import { execFileSync } from 'node:child_process'
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Installing takes seconds where the packages are near, and a minute where they are not. */
export const PYTHON_SETUP_MS = 300_000

/**
 * A Python interpreter that has these packages (as pip names them), in an environment that later
 * runs find again. Throws when the machine has no `python3` with `venv`, or pip cannot install: a
 * test that needs them has failed then.
 */
export function pythonWith(name: string, packages: readonly string[]): string {
  const folder = join(tmpdir(), `daypass-python-${name}`)
  const python = join(folder, 'bin', 'python')
  if (existsSync(join(folder, 'complete'))) return python
  // Made elsewhere and put in place whole: two runs at once do not see half of it.
  const draft = `${folder}.${process.pid}`
  execFileSync('python3', ['-m', 'venv', draft], { stdio: 'pipe' })
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages]
  execFileSync(join(draft, 'bin', 'python'), install, { stdio: 'pipe' })
  writeFileSync(join(draft, 'complete'), packages.join('\n'))
  try {
    renameSync(draft, folder)
  } catch {
    rmSync(draft, { recursive: true, force: true })
  }
  return python
}
