// Amounts of memory on the command line.

import assert from 'node:assert/strict'
import { InvalidArgumentError } from 'commander'
import { bytesOf } from '../../bin/bytes.ts'

describe('an amount of memory', () => {
  it('is a number with a unit, of powers of two or of ten', () => {
    assert.equal(bytesOf('110MiB'), 110 * 2 ** 20)
    assert.equal(bytesOf('2 GB'), 2e9)
    assert.equal(bytesOf('0.5gib'), 2 ** 29)
    assert.equal(bytesOf('1kb'), 1000)
    assert.equal(bytesOf('1.001KiB'), 1025)
  })

  it('is refused without one, at nothing, and where it is no number', () => {
    for (const text of ['', '110', 'MiB', '0MiB', '0.000GB', '-1GB', '1e3MB', '1TB', '1234567GB', '1,5GB', 'NaNMB']) {
      assert.throws(() => bytesOf(text), InvalidArgumentError, text)
    }
  })
})
