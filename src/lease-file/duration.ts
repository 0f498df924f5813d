import { err, ok, type Result } from '../core/result.ts'

const DURATION = /^(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$/

/**
 * Reads `30m`, `1h30m`, `2h` or `45s` as seconds. Each unit at most once, largest first, no spaces;
 * ISO 8601 durations are refused, because `PT1M` and `P1M` differ by a month.
 */
export function parseDuration(text: string): Result<number, string> {
  const match = DURATION.exec(text)
  if (match === null || text === '') return err(`unknown duration \`${text}\``)
  const [hours, minutes, seconds] = match.slice(1).map((digits) => Number(digits ?? 0))
  const total = hours! * 3600 + minutes! * 60 + seconds!
  return total === 0 ? err(`\`${text}\` is no time at all`) : ok(total)
}

/** Writes seconds the way a lease file does: `1h30m`. */
export function formatDuration(seconds: number): string {
  const parts = split(seconds).map(({ count, unit }) => (count === 0 ? '' : `${count}${unit[0]}`))
  return parts.join('') || '0s'
}

/** Writes seconds the way a person says it: `1 hour 30 minutes`. */
export function durationWords(seconds: number): string {
  const parts = split(seconds).filter(({ count }) => count > 0)
  if (parts.length === 0) return '0 seconds'
  return parts.map(({ count, unit }) => `${count} ${unit}${count === 1 ? '' : 's'}`).join(' ')
}

function split(seconds: number): { count: number; unit: 'hour' | 'minute' | 'second' }[] {
  return [
    { count: Math.floor(seconds / 3600), unit: 'hour' },
    { count: Math.floor((seconds % 3600) / 60), unit: 'minute' },
    { count: Math.floor(seconds % 60), unit: 'second' },
  ]
}
