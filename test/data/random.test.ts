// The generator against its authors' reference outputs, and the properties that shuffling relies on.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Random } from '../../data/random.ts'

describe('data/random', () => {
  it('gives the outputs of the reference xoshiro128** for the state 1, 2, 3, 4', () => {
    const random = Random.restore([1, 2, 3, 4])
    assert.deepEqual(
      Array.from({ length: 10 }, () => random.bits()),
      [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804],
    )
  })

  it('agrees with the same algorithm in arbitrary-precision integers', () => {
    const mask = 0xffffffffn
    const rotate = (word: bigint, by: bigint): bigint => ((word << by) | (word >> (32n - by))) & mask
    fc.assert(
      fc.property(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 2 ** 32 - 1 })), (state) => {
        const random = Random.restore(state)
        const words = state.map(BigInt) as [bigint, bigint, bigint, bigint]
        for (let draw = 0; draw < 20; draw++) {
          const expected = (rotate((words[1] * 5n) & mask, 7n) * 9n) & mask
          const shifted = (words[1] << 9n) & mask
          words[2] ^= words[0]
          words[3] ^= words[1]
          words[1] ^= words[2]
          words[0] ^= words[3]
          words[2] ^= shifted
          words[3] = rotate(words[3], 11n)
          assert.equal(random.bits(), Number(expected))
        }
      }),
    )
  })

  it('goes on exactly where its state was taken', () => {
    const random = new Random(5, 2)
    for (let draw = 0; draw < 7; draw++) random.bits()
    const restored = Random.restore(random.state)
    for (let draw = 0; draw < 50; draw++) assert.equal(restored.bits(), random.bits())
  })

  it('gives every seed, pass and seed beyond 32 bits a sequence of its own', () => {
    const seeds = [[0], [1], [2], [2 ** 32], [2 ** 32 + 1], [-1], [1, 0], [1, 1], [1, 2], [2, 1], [0, 1], [1, 0, 0]]
    const first = seeds.map((seed) => {
      const random = new Random(...seed)
      return `${random.bits()} ${random.bits()}`
    })
    assert.equal(new Set(first).size, seeds.length)
  })

  it('draws every value of a range about equally often', () => {
    const random = new Random(3)
    const counts = Array.from({ length: 7 }, () => 0)
    for (let draw = 0; draw < 70000; draw++) counts[random.between(-3, 3) + 3]!++
    // Six standard deviations of a binomial with p = 1/7.
    for (const count of counts) assert.ok(Math.abs(count - 10000) < 6 * Math.sqrt((70000 * 6) / 49), `${counts.join()}`)
  })

  it('shuffles to a permutation, and reaches each of the six orders of three', () => {
    const random = new Random(9)
    const orders = new Map<string, number>()
    for (let draw = 0; draw < 6000; draw++) {
      const order = random.shuffle([1, 2, 3]).join('')
      orders.set(order, (orders.get(order) ?? 0) + 1)
    }
    assert.deepEqual([...orders.keys()].sort(), ['123', '132', '213', '231', '312', '321'])
    for (const count of orders.values()) assert.ok(Math.abs(count - 1000) < 6 * Math.sqrt((6000 * 5) / 36))
  })
})
