// Every word, load and loop of the emitter, compiled by clang in wasm, bit for bit against exact arithmetic.

import assert from 'node:assert/strict'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import { compareAll } from './emit-differential.ts'

describe('emitted wasm', () => {
  it('gives the bits of exact arithmetic', async function () {
    this.timeout(120_000)
    const compared = await compareAll(await chooseToolChain('wasm'))
    assert.ok(compared > 400_000, `${compared} elements were compared`)
  })
})
