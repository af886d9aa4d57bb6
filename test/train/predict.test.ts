// Which token comes next, on a session that returns logits made for the occasion: ties, infinities and damaged weights.

import assert from 'node:assert/strict'
import type { Session } from '../../backends/neon/driver/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { nextTokens } from '../../train/predict.ts'

/** What follows one prompt for each row of logits. */
function next(...rows: readonly (readonly number[])[]): Promise<number[]> {
  const session = {
    write: async () => {},
    call: async () => {},
    output: async () => Float32Array.from(rows.flat()),
  } as unknown as Session
  const vocabulary = rows[0]?.length ?? 0
  const prefixes = rows.map(() => [0])
  return nextTokens(session, prefixes, { sequences: rows.length, length: 4, vocabulary })
}

describe('the next token', () => {
  it('is the likeliest of each row', async () => {
    assert.deepEqual(await next([1, 3, 2], [5, -1, 4], [-3, -2, -1]), [1, 0, 2])
  })

  it('is the smallest of equals', async () => {
    assert.deepEqual(await next([2, 2, 2], [1, 7, 7], [0, -0, -1], [-0, 0, -1]), [0, 1, 0, 0])
    assert.deepEqual(await next([-Infinity, -Infinity], [Infinity, Infinity]), [0, 0])
  })

  it('is refused where a logit is not a number, wherever it stands', async () => {
    for (const place of [0, 1, 2, 3]) {
      const logits = [4, 1, 3, 2]
      logits[place] = NaN
      for (const rows of [[logits], [[1, 2, 3, 4], logits]]) {
        await assert.rejects(next(...rows), (error) => {
          assert.ok(error instanceof UserError, String(error))
          assert.equal(error.code, 'HD810')
          return true
        })
      }
    }
  })
})
