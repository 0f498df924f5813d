import { randomUUID } from 'node:crypto'
import {
  inputRequired,
  type McpServer,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { accepted, declared, type FixtureTool } from './fixture-tool.ts'
import type { World } from './fixture-world.ts'

/** The extension `io.modelcontextprotocol/tasks` (SEP-2663), which the SDK does not bring along. */
export const TASKS = 'io.modelcontextprotocol/tasks'

const TTL_MS = 300_000
const POLL_MS = 100

type Status = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'

interface Task {
  readonly taskId: string
  status: Status
  readonly createdAt: string
  lastUpdatedAt: string
  readonly ttlMs: number
  readonly pollIntervalMs: number
}

export interface CreatedTask extends Task {
  readonly resultType: 'task'
  readonly [key: string]: unknown
}

interface Running {
  readonly task: Task
  readonly inputs: Map<string, object>
  readonly answers: Map<string, unknown>
  outcome: { result: object } | { error: { code: number; message: string } } | null
  wake: () => void
}

/** What a task can ask for and wait for. */
interface Work {
  readonly signal: AbortSignal
  ask(requests: Readonly<Record<string, object>>): Promise<ReadonlyMap<string, unknown>>
}

const OVER: ReadonlySet<Status> = new Set(['completed', 'failed', 'cancelled'])

/** Tasks of this server, by id. */
export class Tasks {
  readonly #all = new Map<string, Running & { abort: AbortController }>()

  start(work: (work: Work) => Promise<object>): CreatedTask {
    const now = new Date().toISOString()
    const task: Task = {
      taskId: randomUUID(),
      status: 'working',
      createdAt: now,
      lastUpdatedAt: now,
      ttlMs: TTL_MS,
      pollIntervalMs: POLL_MS,
    }
    const abort = new AbortController()
    const running = {
      task,
      abort,
      inputs: new Map<string, object>(),
      answers: new Map<string, unknown>(),
      outcome: null as Running['outcome'],
      wake: () => {},
    }
    this.#all.set(task.taskId, running)
    const created = { ...task, resultType: 'task' } as const
    const ask: Work['ask'] = async (requests) => {
      for (const [key, request] of Object.entries(requests)) running.inputs.set(key, request)
      move(running, 'input_required')
      await new Promise<void>((resolve) => {
        running.wake = resolve
      })
      return running.answers
    }
    work({ signal: abort.signal, ask }).then(
      (result) => end(running, 'completed', { result }),
      (error: { code?: number; message: string }) =>
        end(running, 'failed', { error: { code: error.code ?? -32603, message: error.message } }),
    )
    return created
  }

  get(taskId: string): object {
    const { task, inputs, outcome } = this.#find(taskId)
    const pending = inputs.size > 0 && task.status === 'input_required'
    return {
      ...task,
      ...(pending ? { inputRequests: Object.fromEntries(inputs) } : {}),
      ...outcome,
    }
  }

  /** How many tasks are in this state. */
  count(status: Status): number {
    return [...this.#all.values()].filter(({ task }) => task.status === status).length
  }

  update(taskId: string, responses: Readonly<Record<string, unknown>>): object {
    const running = this.#find(taskId)
    for (const [key, response] of Object.entries(responses)) {
      if (!running.inputs.delete(key)) continue
      running.answers.set(key, response)
    }
    if (running.task.status === 'input_required' && running.inputs.size === 0) {
      move(running, 'working')
      running.wake()
    }
    return {}
  }

  cancel(taskId: string): object {
    const running = this.#find(taskId)
    end(running, 'cancelled', null)
    running.abort.abort()
    return {}
  }

  #find(taskId: string) {
    const found = this.#all.get(taskId)
    if (found === undefined) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown task ${taskId}`)
    }
    return found
  }
}

function move(running: Running, status: Status): void {
  running.task.status = status
  running.task.lastUpdatedAt = new Date().toISOString()
}

function end(running: Running, status: Status, outcome: Running['outcome']): void {
  if (OVER.has(running.task.status)) return
  move(running, status)
  running.outcome = outcome
}

function declares(ctx: ServerContext): boolean {
  const { extensions } = declared(ctx)
  return typeof extensions === 'object' && extensions !== null && TASKS in extensions
}

function demand(ctx: ServerContext): void {
  if (declares(ctx)) return
  throw new MissingRequiredClientCapabilityError({
    requiredCapabilities: { extensions: { [TASKS]: {} } },
  })
}

/** Serves `tasks/get`, `tasks/update` and `tasks/cancel`. */
export function serveTasks(mcp: McpServer, world: World): void {
  const { server } = mcp
  const ofTask = z.looseObject({ taskId: z.string() })
  server.setRequestHandler('tasks/get', { params: ofTask }, ({ taskId }, ctx) => {
    demand(ctx)
    return world.tasks.get(taskId) as Record<string, unknown>
  })
  const update = z.looseObject({
    taskId: z.string(),
    inputResponses: z.record(z.string(), z.unknown()).optional(),
  })
  server.setRequestHandler(
    'tasks/update',
    { params: update },
    ({ taskId, inputResponses }, ctx) => {
      demand(ctx)
      const lifted = inputResponses ?? ctx.mcpReq.inputResponses ?? {}
      return world.tasks.update(taskId, lifted) as Record<string, unknown>
    },
  )
  server.setRequestHandler('tasks/cancel', { params: ofTask }, ({ taskId }, ctx) => {
    demand(ctx)
    return world.tasks.cancel(taskId) as Record<string, unknown>
  })
}

const words = (text: string) => ({ content: [{ type: 'text' as const, text }] })

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function confirmation(message: string): object {
  const requestedSchema = {
    type: 'object' as const,
    properties: { confirm: { type: 'boolean' as const } },
    required: ['confirm'],
  }
  return inputRequired.elicit({ message, requestedSchema })
}

export const taskTools: Record<string, FixtureTool> = {
  greet: {
    description: 'Greets at once',
    properties: { name: { type: 'string' } },
    run: ({ name }) => words(`Hello, ${String(name)}!`),
  },
  slow_compute: {
    description: 'Takes its time',
    properties: { seconds: { type: 'number' }, label: { type: 'string' } },
    run: async ({ seconds, label }, ctx, world) => {
      const work = async (signal: AbortSignal) => {
        await sleep(Number(seconds) * 1000, signal)
        return words(`computed ${String(label)}`)
      }
      return declares(ctx)
        ? world.tasks.start(({ signal }) => work(signal))
        : work(ctx.mcpReq.signal)
    },
  },
  failing_job: {
    description: 'Is a task, and fails',
    run: (_args, ctx, world) => {
      demand(ctx)
      return world.tasks.start(async ({ signal }) => {
        await sleep(300, signal)
        return { ...words('the job failed'), isError: true }
      })
    },
  },
  protocol_error_job: {
    description: 'Is a task, and breaks',
    run: (_args, ctx, world) => {
      demand(ctx)
      return world.tasks.start(async () => {
        throw new ProtocolError(ProtocolErrorCode.InternalError, 'the job broke')
      })
    },
  },
  confirm_delete: {
    description: 'Is a task that asks',
    properties: { filename: { type: 'string' } },
    run: ({ filename }, ctx, world) => {
      demand(ctx)
      return world.tasks.start(async ({ ask }) => {
        await ask({ [randomUUID()]: confirmation(`Delete ${String(filename)}?`) })
        return words(`deleted ${String(filename)}`)
      })
    },
  },
  multi_input: {
    description: 'Is a task that asks two things',
    run: (_args, ctx, world) => {
      demand(ctx)
      return world.tasks.start(async ({ ask }) => {
        const answers = await ask({
          [randomUUID()]: confirmation('The first?'),
          [randomUUID()]: confirmation('The second?'),
        })
        return words(`${answers.size} answers`)
      })
    },
  },
  test_tool_with_task: {
    description: 'Asks, and then becomes a task',
    run: (_args, ctx, world) => {
      const name = accepted(ctx, 'user_name')?.name
      if (typeof name !== 'string') {
        const requestedSchema = {
          type: 'object' as const,
          properties: { name: { type: 'string' as const } },
          required: ['name'],
        }
        const message = 'What is your name?'
        const user_name = inputRequired.elicit({ message, requestedSchema })
        return inputRequired({ inputRequests: { user_name } })
      }
      demand(ctx)
      return world.tasks.start(async ({ signal }) => {
        await sleep(100, signal)
        return words(`Hello, ${name}!`)
      })
    },
  },
}
