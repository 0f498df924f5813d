import type { Results } from './main.ts'

/** A line of the table: what was measured, the figure, and the bar that it is held against. */
interface Line {
  readonly what: string
  readonly figure: string
  readonly bar: string
  /** Null: no bar. */
  readonly isMet: boolean | null
}

const ratio = (value: number): string => value.toFixed(2)
const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`

/** What it adds beside one sync of the disk, for a single caller. */
const ADDED_MS = 0.35
const DECIDE_US = 5
const CEDAR_RATIO = 15
const LEASE_BYTES = 8_192

/** Everything that was measured. */
export function tableOf(results: Results): string {
  return textOf(results, linesOf(results))
}

/** What the README shows: the figures that have a bar, at the concurrency that it is meant for. */
export function shortTableOf(results: Results): string {
  const isShown = ({ what, bar }: Line) => bar !== '' && !/c = (8|64)$/.test(what)
  const isLoop = ({ what }: Line) => what.startsWith('event-loop')
  const lines = linesOf(results).filter((line) => isShown(line) || isLoop(line))
  return textOf(results, lines)
}

function linesOf(results: Results): Line[] {
  return [
    ...doorLines(results),
    ...decideLines(results),
    ...appendLines(results),
    ...flatLines(results),
    ...revokeLines(results),
  ]
}

function textOf({ machine, seconds, syncMs }: Results, lines: readonly Line[]): string {
  const rows = lines.map(({ what, figure, bar, isMet }) => {
    const mark = isMet === null ? '' : isMet ? 'yes' : 'NO'
    return `| ${what} | ${figure} | ${bar} | ${mark} |`
  })
  const load = machine.load.map((value) => value.toFixed(1)).join(' → ')
  return [
    '| figure | measured | bar | met |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
    `${machine.processors} × ${machine.model}, ${machine.system}, Node ${machine.node}, load ${load};`,
    `4 kB written and synced in ${ms(syncMs)}; ${seconds} s.`,
    '',
  ].join('\n')
}

function doorLines({ doors, syncMs }: Results): Line[] {
  const lines: Line[] = []
  for (const figures of doors) {
    const { door, transport, parallel, perSecond, p50Ms, cpuUs, loopDelayP99Ms } = figures
    const at = `${transport} upstream, c = ${parallel}`
    const relay = doors.find(
      (other) =>
        other.door === 'relay' && other.transport === transport && other.parallel === parallel,
    )!
    const ours = doors.find(
      (other) =>
        other.door === 'gateway' && other.transport === transport && other.parallel === parallel,
    )!
    const rate = `${ratio(figures.ratio)} (${Math.round(perSecond)}/s, p50 ${ms(p50Ms)}`
    const cpu = cpuUs === null ? ')' : `, ${Math.round(cpuUs)} µs of processor)`
    if (door === 'relay') {
      lines.push(plain(`bare relay, ${at}`, rate + cpu))
    } else if (door !== 'gateway') {
      const times = ours.perSecond / perSecond
      const what = `gateway against ${door}, ${at}`
      const figure = `${times.toFixed(1)}×; ${door} ${rate})`
      lines.push({ what, figure, bar: '≥ 2×', isMet: times >= 2 })
    } else {
      const what = `gateway with a durable verdict / bare relay, ${at}`
      const isHeld = parallel >= 32
      const bar = isHeld ? '≥ 0.5' : ''
      const isMet = isHeld ? figures.ratio >= 0.5 : null
      lines.push({ what, figure: rate + cpu, bar, isMet })
      if (parallel === 1) {
        const added = p50Ms - relay.p50Ms
        const addedBar = syncMs + ADDED_MS
        const about = `added p50, ${at}`
        const limit = `≤ ${ms(addedBar)}`
        lines.push({ what: about, figure: ms(added), bar: limit, isMet: added <= addedBar })
      }
      if (parallel === 64 && loopDelayP99Ms !== null) {
        const about = `event-loop delay p99, ${at}`
        const isFree = loopDelayP99Ms <= 5
        lines.push({ what: about, figure: ms(loopDelayP99Ms), bar: '≤ 5 ms', isMet: isFree })
      }
    }
  }
  return lines
}

function decideLines({ decide }: Results): Line[] {
  const us = (value: number): string => `${value.toFixed(1)} µs`
  const allow = decide.find(({ what }) => what === 'allow')
  return decide.map(({ what, p50Us, p99Us }): Line => {
    const figure = `p50 ${us(p50Us)}, p99 ${us(p99Us)}`
    if (what === 'allow') {
      return { what: '`decide`: allow', figure, bar: '≤ 5 µs', isMet: p50Us <= DECIDE_US }
    }
    if (!what.startsWith('Cedar')) return plain(`\`decide\`: ${what}`, figure)
    const times = p50Us / allow!.p50Us
    const compared = `${figure}: ${times.toFixed(0)}× of ours`
    return { what, figure: compared, bar: '≥ 15×', isMet: times >= CEDAR_RATIO }
  })
}

function appendLines({ append }: Results): Line[] {
  return append.map((figures): Line => {
    const { parallel, perSecond } = figures
    const what = `durable appends / bare batched writer, c = ${parallel}`
    const figure = `${ratio(figures.ratio)} (${Math.round(perSecond)}/s)`
    const isHeld = parallel === 128
    const bar = isHeld ? '≥ 0.7' : ''
    return { what, figure, bar, isMet: isHeld ? figures.ratio >= 0.7 : null }
  })
}

function flatLines({ flatness }: Results): Line[] {
  if (flatness === null) return []
  const names = { history: 'entries of history', trees: 'live trees', depth: 'levels of depth' }
  const { flat, heapBytesPerLease: bytes } = flatness
  return [
    ...flat.map(({ what, from, to, ratio: times }): Line => {
      const about = `cost of a call: ${to} ${names[what]} / ${from}`
      return { what: about, figure: ratio(times), bar: '≤ 1.2', isMet: times <= 1.2 }
    }),
    {
      what: 'memory of a live lease',
      figure: `${(bytes / 1_024).toFixed(1)} kB`,
      bar: '≤ 8 kB',
      isMet: bytes <= LEASE_BYTES,
    },
  ]
}

function revokeLines({ revocation }: Results): Line[] {
  if (revocation === null) return []
  const { inFlight, acknowledgedMs, answeredMs, acceptedAfter } = revocation
  return [
    plain(`revocation acknowledged, ${inFlight} calls in flight`, ms(acknowledgedMs)),
    {
      what: `revocation → the last of ${inFlight} calls answered (128 sent, the rest queued)`,
      figure: ms(answeredMs),
      bar: '≤ 150 ms',
      isMet: answeredMs <= 150,
    },
    {
      what: 'calls accepted after the acknowledgement',
      figure: String(acceptedAfter),
      bar: '0',
      isMet: acceptedAfter === 0,
    },
  ]
}

function plain(what: string, figure: string): Line {
  return { what, figure, bar: '', isMet: null }
}
