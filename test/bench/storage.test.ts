// What the benchmark of storage is asked and what it says of a price: command lines in, refusals and text out. Nothing is timed.

import assert from 'node:assert/strict'
import type { StorageBenchOptions } from '../../bench/storage/options.ts'
import { storageOptions } from '../../bench/storage/options.ts'
import { priceOf, priceText } from '../../bench/storage/price.ts'

/** Options of a command line, or what it is refused with. */
function asked(...operands: string[]): StorageBenchOptions | string {
  let said = ''
  try {
    return storageOptions(['node', 'run.ts', ...operands], (command) => {
      command.exitOverride().configureOutput({ writeErr: (text) => void (said += text) })
    })
  } catch {
    return said
  }
}

describe('the benchmark of storage', () => {
  it('takes numbers in the units that it states', () => {
    const usual = asked()
    assert.ok(typeof usual !== 'string')
    assert.deepEqual([usual.rates, usual.latency, usual.length, usual.inMemory], [[2000, 500, 80], 1e-4, 256, true])
    const given = asked('--rates', '80, 1.5', '--latency', '250', '--model', 'gpt2', '--no-in-memory')
    assert.ok(typeof given !== 'string')
    assert.deepEqual([given.rates, given.latency.toFixed(6), given.model, given.inMemory], [[80, 1.5], '0.000250', 'gpt2', false]) // prettier-ignore
  })

  it('refuses what cannot be measured before anything is compiled', () => {
    for (const [operands, expected] of [
      [['--rates', 'foo'], /argument 'foo' is invalid\. It is above 0, at most 1000000\.\n$/],
      [['--rates', '80,'], /argument '80,' is invalid\. It is above 0/],
      [['--rates', '0'], /argument '0' is invalid\. It is above 0/],
      [['--model', 'nope'], /argument 'nope' is invalid\. Allowed choices are gpt2, .*\.\n$/],
      [['--length', '2.5'], /argument '2\.5' is invalid\. It is a whole number from 1/],
      [['--latency', '-1'], /argument '-1' is invalid\. It is from 0 to 1,000,000\.\n$/],
      [['--write-share', '0'], /argument '0' is invalid\. It is above 0, at most 1000\.\n$/],
    ] as const) {
      const said = asked(...operands)
      assert.ok(typeof said === 'string', operands.join(' '))
      assert.match(said, expected)
      assert.equal(said.trimEnd().split('\n').length, 1, said)
    }
  })

  it('compares with computing only where that was measured', () => {
    assert.deepEqual(priceOf(6, 2, 3), { price: 2, storagePrice: 3 })
    assert.equal(priceText(priceOf(6, 2, 3), 2), '2.00 × max(compute, 2.00 s of storage)')
    assert.equal(priceText(priceOf(6, 0), 0), 'nothing is moved')
    assert.deepEqual(priceOf(6, 2), { storagePrice: 3 })
    assert.equal(priceText(priceOf(6, 2), 2), '3.00 × 2.00 s of storage, without computing, which was not measured')
  })
})
