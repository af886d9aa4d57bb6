// The training loop on a session that only writes down what it is given: seeds, batches and which micro-batch is the
// last of its step.

import assert from 'node:assert/strict'
import type { Session, TensorData } from '../../backends/neon/driver/index.ts'
import type { MicroBatch } from '../../data/batches.ts'
import { Trainer } from '../../train/trainer.ts'
import type { Progress } from '../../train/trainer.ts'

interface Seen {
  readonly seed: number
  readonly tokens: readonly number[]
  readonly seq: number
  readonly part: string
}

/** A session that learns nothing: what it was given at each micro-batch, in order. */
function recorder(): { session: Session; seen: Seen[] } {
  const inputs = new Map<string, TensorData>()
  const seen: Seen[] = []
  const session = {
    write: async (name: string, data: TensorData) => void inputs.set(name, data.slice()),
    read: async () => Float32Array.of(1),
    stats: async () => ({ residentBytes: 1, peakBytes: 1, allocations: undefined, kernels: [] }),
    step: async ({ seq }: { seq: number }, part: string) => {
      const seed = inputs.get('seed')?.[0] ?? NaN
      seen.push({ seed, tokens: [...(inputs.get('tokens') ?? [])], seq, part })
      return { status: 'ok' }
    },
  }
  return { session: session as unknown as Session, seen }
}

function microBatch(token: number, length = 2): MicroBatch {
  const numbers = { tokens: new Int32Array(length).fill(token), targets: new Int32Array(length) }
  return { ...numbers, weights: new Float32Array(length).fill(1), sequences: 1, length }
}

async function train(seed: number, steps: readonly (readonly MicroBatch[])[], from?: Progress): Promise<Seen[]> {
  const { session, seen } = recorder()
  const trainer = new Trainer(session, steps, seed, from)
  while (await trainer.next()) {
    // Figures are of no interest here.
  }
  return seen
}

describe('the training loop', () => {
  it('gives every micro-batch of a run a seed of its own', async () => {
    // The same records again and again: what differs is the seed alone.
    const steps = Array.from({ length: 50 }, () => [microBatch(1), microBatch(1), microBatch(1), microBatch(1)])
    const seeds = (await train(7, steps)).map(({ seed }) => seed)
    assert.equal(seeds.length, 200)
    assert.equal(new Set(seeds).size, 200)
    assert.ok(seeds.every((seed) => Number.isInteger(seed) && seed === (seed | 0)))
  })

  it("draws the same seeds for the same recipe's seed, and others for another", async () => {
    const steps = Array.from({ length: 10 }, () => [microBatch(1), microBatch(2)])
    const seedsOf = async (seed: number): Promise<number[]> => (await train(seed, steps)).map((one) => one.seed)
    const [first, again, other] = [await seedsOf(7), await seedsOf(7), await seedsOf(8)]
    assert.deepEqual(again, first)
    assert.equal(new Set([...first, ...other]).size, 40)
  })

  it('goes on with the seeds where another run stopped, however its steps were divided', async () => {
    const one = microBatch(1)
    const whole = (await train(3, [[one, one], [one], [one, one, one]])).map(({ seed }) => seed)
    const rest = (await train(3, [[one, one, one]], { step: 2, micro: 3 })).map(({ seed }) => seed)
    assert.deepEqual(rest, whole.slice(3))
  })

  it('gives batches in their order, at their own length, and updates after the last of a step', async () => {
    const seen = await train(0, [[microBatch(1, 2), microBatch(2, 3)], [microBatch(3, 1)]])
    assert.deepEqual(
      seen.map(({ seed: _seed, ...rest }) => rest),
      [
        { tokens: [1, 1], seq: 2, part: 'more' },
        { tokens: [2, 2, 2], seq: 3, part: 'last' },
        { tokens: [3], seq: 1, part: 'last' },
      ],
    )
  })
})
