import { expect, test } from 'vitest'
import { verifyReceipt } from '../../src/ledger/verify.ts'
import { receiptOf, sampleLedger, TRUST } from './support.ts'

test('a genuine receipt is verified', () => {
  const receipt = receiptOf(sampleLedger())
  const t = performance.now()
  const report = verifyReceipt(receipt, TRUST)
  console.log(
    performance.now() - t,
    JSON.stringify(report, null, 1),
    JSON.stringify(receipt.body, null, 1),
  )
  expect(report.failed).toEqual([])
})
