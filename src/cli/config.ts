import { checkConfig, shownConfig } from '../authority/config-check.ts'
import { visible } from '../lease-file/printable.ts'
import { EXIT } from './exit.ts'
import { needConfig } from './project.ts'
import { openTerminal } from './terminal.ts'
import { yamlText } from './yaml-text.ts'

export interface ConfigOptions {
  readonly config?: string
  readonly json?: boolean
}

/** `daypass config check`: every problem, each with its place and what to write. */
export function configCheck(options: ConfigOptions): number {
  const terminal = openTerminal()
  const { configFile } = needConfig(options.config)
  const problems = checkConfig(configFile)
  if (options.json) terminal.json({ ok: problems.length === 0, file: configFile, problems })
  else if (problems.length === 0) {
    terminal.say(`${terminal.paint('green', '+')} ${visible(configFile)} is good`)
  } else {
    for (const problem of problems) {
      const lines = problem.split('\n').map(visible).join('\n  ')
      terminal.say(`${terminal.paint('red', 'x')} ${lines}`)
    }
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    terminal.say(`\n${count}. Nothing starts with this.`)
  }
  return problems.length === 0 ? EXIT.ok : EXIT.failed
}

/** `daypass config show`: the file with what the environment overrides, without secrets. */
export function configShow(options: ConfigOptions): number {
  const terminal = openTerminal()
  const { configFile } = needConfig(options.config)
  const shown = shownConfig(configFile, process.env)
  if (options.json) terminal.json(shown)
  else terminal.out(yamlText(shown))
  return EXIT.ok
}
