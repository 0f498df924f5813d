/** The fixture server on stdio, both eras; every byte it receives goes to the file in RAW_LOG. */
import { appendFileSync } from 'node:fs'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { makeServer } from './http-fixture.ts'

serveStdio(() => makeServer({ cancelled: [], extra: [] }))
process.stdin.on('data', (chunk: Buffer) => appendFileSync(process.env.RAW_LOG!, chunk))
