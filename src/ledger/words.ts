import type { Actor } from '../core/command.ts'

/** Words for people that need no vocabulary. Times are UTC. */

export function counted(count: number, word: string): string {
  return `${count} ${count === 1 ? word : `${word}s`}`
}

/** Who did something, as a person reads it. */
export function actorWords(actor: Actor | null): string {
  if (actor === null) return 'nobody'
  if ('person' in actor) return actor.person
  if ('policy' in actor) return `policy ${actor.policy}`
  return 'agent' in actor ? `the agent ${actor.agent}` : 'the server'
}

/** `01:42:00`, UTC. */
export function timeOf(at: number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? `${at} ms` : date.toISOString().slice(11, 19)
}

/** `2026-06-23`, UTC. */
export function dayOf(at: number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? `${at} ms` : date.toISOString().slice(0, 10)
}

/** `10:23`, or `1:02:03`. */
export function clockOf(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  const minutes = Math.floor(seconds / 60)
  const rest = two(seconds % 60)
  if (minutes < 60) return `${minutes}:${rest}`
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`
}
