// How packing grows with the number of examples: `node --import tsx bench/packing.ts`. A ratio near 2 for twice as many is
// a search that does not look at every row.

import { packExamples } from '../data/packing.ts'
import { Random } from '../data/random.ts'

function bestOf(count: number, times: number): number {
  const random = new Random(11)
  const examples = Array.from({ length: count }, () => {
    const length = 1 + random.below(300)
    return {
      tokens: new Int32Array(length),
      targets: new Int32Array(length),
      weights: new Float32Array(length).fill(1),
    }
  })
  const each = Array.from({ length: times }, () => {
    const begun = performance.now()
    packExamples(examples, { length: 1024, seed: 1 })
    return performance.now() - begun
  })
  return Math.min(...each)
}

const [once, twice] = [bestOf(20_000, 5), bestOf(40_000, 5)]
console.log(`packing 40,000 examples takes ${(twice / once).toFixed(2)} times as long as 20,000`)
