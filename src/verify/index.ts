/**
 * `daypass/verify`: with it the author of a tool checks that a call comes from a Daypass gateway,
 * for whom, and asks whether it may do what it is about to do.
 */
export { envelopeOf, fetchGuard, honoGuard, nodeGuard } from './http.ts'
export { guardTool, type RefusedResult, refusedResult, type ToolContext, tokenOf } from './tool.ts'
export {
  type Envelope,
  type Need,
  type Refusal,
  Verifier,
  type VerifierOptions,
} from './verifier.ts'
