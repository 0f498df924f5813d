import { inputRequired, type ServerContext } from '@modelcontextprotocol/server'
import { accepted, declared, type FixtureTool, text } from './fixture-tool.ts'
import type { World } from './fixture-world.ts'

/** Tools that need input from the client, as the revision 2026-07-28 asks for it: in rounds. */

function form(message: string, field: string) {
  const properties = { [field]: { type: 'string' as const } }
  const requestedSchema = { type: 'object' as const, properties, required: [field] }
  return inputRequired.elicit({ message, requestedSchema })
}

function confirmation() {
  const properties = { ok: { type: 'boolean' as const } }
  const requestedSchema = { type: 'object' as const, properties, required: ['ok'] }
  return inputRequired.elicit({ message: 'Please confirm', requestedSchema })
}

function sample(words: string, maxTokens: number) {
  const content = { type: 'text' as const, text: words }
  return inputRequired.createMessage({ messages: [{ role: 'user', content }], maxTokens })
}

const NAME = form('What is your name?', 'name')

function answered(ctx: ServerContext, key: string): object | undefined {
  const answer = ctx.mcpReq.inputResponses?.[key]
  return typeof answer === 'object' && answer !== null ? answer : undefined
}

function stepOf(ctx: ServerContext): number {
  return ctx.mcpReq.requestState<{ step: number }>()?.step ?? 0
}

async function multiRound(ctx: ServerContext, world: World) {
  const step = stepOf(ctx)
  if (step === 2 && accepted(ctx, 'step2') !== undefined) return text('Both steps are done')
  if (step >= 1 && accepted(ctx, 'step1') !== undefined) {
    const inputRequests = { step2: form('Step 2: What is your favorite color?', 'color') }
    return inputRequired({ inputRequests, requestState: await world.states.mint({ step: 2 }) })
  }
  const inputRequests = { step1: form('Step 1: What is your name?', 'name') }
  return inputRequired({ inputRequests, requestState: await world.states.mint({ step: 1 }) })
}

async function stateful(ctx: ServerContext, world: World) {
  if (stepOf(ctx) === 1 && accepted(ctx, 'confirm') !== undefined) return text('state-ok')
  const inputRequests = { confirm: confirmation() }
  return inputRequired({ inputRequests, requestState: await world.states.mint({ step: 1 }) })
}

export const inputTools: Record<string, FixtureTool> = {
  test_input_required_result_elicitation: {
    description: 'Asks for a name',
    run: (_args, ctx) => {
      const name = accepted(ctx, 'user_name')?.name
      return typeof name === 'string'
        ? text(`Hello, ${name}!`)
        : inputRequired({ inputRequests: { user_name: NAME } })
    },
  },
  test_input_required_result_sampling: {
    description: 'Asks the model of the client',
    run: (_args, ctx) => {
      const answer = answered(ctx, 'capital_question')
      return answer === undefined
        ? inputRequired({
            inputRequests: { capital_question: sample('What is the capital of France?', 100) },
          })
        : text(`The model says ${JSON.stringify(answer)}`)
    },
  },
  test_input_required_result_list_roots: {
    description: 'Asks for the roots of the client',
    run: (_args, ctx) => {
      const answer = answered(ctx, 'client_roots')
      return answer === undefined
        ? inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } })
        : text(`The roots are ${JSON.stringify(answer)}`)
    },
  },
  test_input_required_result_request_state: {
    description: 'Asks, and keeps its state with the client',
    run: (_args, ctx, world) => stateful(ctx, world),
  },
  test_input_required_result_tampered_state: {
    description: 'Asks, and does not believe every state',
    run: (_args, ctx, world) => stateful(ctx, world),
  },
  test_input_required_result_multiple_inputs: {
    description: 'Asks three things at once',
    run: async (_args, ctx, world) => {
      const keys = ['user_name', 'greeting', 'client_roots']
      if (keys.every((key) => answered(ctx, key) !== undefined)) return text('All three are here')
      return inputRequired({
        inputRequests: {
          user_name: NAME,
          greeting: sample('Generate a greeting', 50),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await world.states.mint({ step: 1 }),
      })
    },
  },
  test_input_required_result_multi_round: {
    description: 'Asks twice',
    run: (_args, ctx, world) => multiRound(ctx, world),
  },
  test_input_required_result_capabilities: {
    description: 'Asks only what the client can answer',
    run: (_args, ctx) => {
      const envelope = declared(ctx)
      const all = {
        ...('sampling' in envelope ? { question: sample('Say something', 10) } : {}),
        ...('elicitation' in envelope ? { user_name: NAME } : {}),
      }
      return Object.keys(all).length === 0
        ? text('There is nobody to ask')
        : inputRequired({ inputRequests: all })
    },
  },
  test_missing_capability: {
    description: 'Needs a client that samples',
    run: () => inputRequired({ inputRequests: { question: sample('Say something', 10) } }),
  },
  test_streaming_elicitation: {
    description: 'Asks the user on the stream of its call',
    run: (_args, ctx) =>
      answered(ctx, 'user_name') === undefined
        ? inputRequired({ inputRequests: { user_name: NAME } })
        : text('Thank you'),
  },
}
