import { Api } from './api.ts'
import { Failure } from './exit.ts'
import { needProject, signedInPerson } from './project.ts'
import type { ListOptions } from './ps.ts'
import { openTerminal } from './terminal.ts'

/** `daypass sign-in`: a one-time link for a browser, from the process that serves this project. */
export async function signIn(options: ListOptions): Promise<number> {
  const terminal = openTerminal()
  const project = needProject(options.config)
  await using api = await Api.open(project, signedInPerson(options.as))
  if (!api.isRemote) {
    throw new Failure('nothing serves this project now\n  start it with: daypass serve')
  }
  const link = await api.post<{ url: string; expiresAt: number }>('/sign-in/links', {})
  if (options.json) terminal.json(link)
  else {
    const until = new Date(link.expiresAt).toISOString().slice(11, 16)
    terminal.say(`Open this in your browser, once, before ${until} UTC:\n  ${link.url}`)
  }
  return 0
}
