/** `npm run test:conformance`: prints what differs, and fails when anything does. */
import { runAuthorization } from './authorization.ts'
import { compareAll } from './compare.ts'

const all = await compareAll()
let differing = 0
for (const { revision, upstream, direct, through, differing: lines } of all) {
  differing += lines.length
  const counts = `${direct.length} direct, ${through.length} through`
  process.stdout.write(`${revision} over ${upstream}: ${counts}, ${lines.length} differing\n`)
  for (const line of lines) process.stdout.write(`  ${line}\n`)
  const wrong = process.argv.includes('--why') ? through : []
  for (const { scenario, id, status, errorMessage } of wrong) {
    const isWorth = status !== 'SUCCESS' && errorMessage !== undefined
    if (isWorth) process.stdout.write(`    ${status} ${scenario} ${id}: ${errorMessage}\n`)
  }
}
const sum = (side: 'direct' | 'through') => all.reduce((n, each) => n + each[side].length, 0)
const counted = `${sum('direct')} checks direct, ${sum('through')} through`
process.stdout.write(`conformance: ${counted}, ${differing} differing\n`)
const authorization = await runAuthorization()
const failed = authorization.filter(({ status }) => status !== 'SUCCESS')
process.stdout.write(`authorization: ${authorization.length} checks, ${failed.length} failed\n`)
for (const { id, status, errorMessage } of failed) {
  process.stdout.write(`  ${status} ${id}: ${errorMessage}\n`)
}
process.exit(differing + failed.length === 0 ? 0 : 1)
