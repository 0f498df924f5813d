#!/usr/bin/env node
const NODE_MAJOR_MIN = 24

const major = Number(process.versions.node.split('.', 1)[0])
if (major < NODE_MAJOR_MIN) {
  process.stderr.write(
    `daypass needs Node ${NODE_MAJOR_MIN} or newer; this is ${process.versions.node}\n`,
  )
  process.exit(1)
}
// Loaded after the check: an older Node fails on the imports, and says nothing that helps.
const { runProgram } = await import('./cli.ts')
process.exitCode = await runProgram(process.argv)
