// Which kernels that set sums to zero are left out: on launches made by hand, of what comes next in every way that it may.

import assert from 'node:assert/strict'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { PartUse } from '../../compiler/plan/parts.ts'
import type { TensorPlace } from '../../compiler/plan/program.ts'
import type { CutLaunch, StorageLaunch, StoragePlanner } from '../../compiler/plan/storage.ts'
import { withoutZeroing } from '../../compiler/plan/zeroing.ts'

const BYTES = 64

/** Ranges of a sum that a launch touches: where each begins, its bytes, and whether it is written. */
type Touch = readonly [from: number, bytes: number, isWritten?: false]

interface Made {
  /** By argument: a sum's number and the ranges of it; null for what is in memory. */
  readonly streamed: readonly ({ readonly sum: number; readonly touches: readonly Touch[] } | null)[]
  readonly named?: readonly number[]
}

const whole = (sum: number): Made['streamed'][number] => ({ sum, touches: [[0, BYTES]] })

function place(sum: number): TensorPlace {
  return { space: 'stored', index: sum }
}

/** Numbers of the launches that are left, each with the sums that it begins; those of `never` can begin none. */
function left(
  zeroing: readonly number[] | undefined,
  launches: readonly Made[],
  never: readonly number[] = [],
): string[] {
  const made = launches.map(({ streamed, named = [] }): StorageLaunch => {
    const region = { kernel: { arguments: streamed.map(() => ({ access: 'write' })) } } as unknown as LoweredRegion
    return {
      region,
      streamed: streamed.flatMap((one, argument) => (one ? [{ argument, tensor: place(one.sum), bytes: BYTES }] : [])),
      named: named.map((sum) => ({ tensor: place(sum), tensorBytes: BYTES, ids: 'ids', count: 1, rowBytes: 8 })),
    }
  })
  const cut = (asked: readonly StorageLaunch[]): CutLaunch[] =>
    asked.map(({ region }) => {
      const { streamed } = launches[made.findIndex((one) => one.region === region)] as Made
      const uses = streamed.flatMap((one, argument): PartUse[] =>
        (one?.touches ?? []).map(([from, bytes, isWritten = true]) => ({ argument, tensor: place(one?.sum ?? 0), from, bytes, isWritten, isFresh: false })),
      ) // prettier-ignore
      return { first: 0, last: 0, parts: uses.map((use, index) => ({ begin: index, end: index + 1, uses: [use] })) }
    })
  const regions = zeroing?.map((index) => (made[index] as StorageLaunch).region)
  const begun = new Map<LoweredRegion, { number: number; sums: ReadonlySet<number> }>()
  const begin = (region: LoweredRegion, sums: ReadonlySet<number>): LoweredRegion | undefined => {
    const number = made.findIndex((one) => one.region === region)
    if (never.includes(number)) return undefined
    const begins = { ...region }
    begun.set(begins, { number, sums })
    return begins
  }
  const fn = regions ? { zeroing: new Set(regions) } : {}
  return withoutZeroing(fn, made, { cut } as unknown as StoragePlanner, begin).map(({ region }) => {
    const number = begun.get(region)?.number ?? made.findIndex((one) => one.region === region)
    const sums = [...(begun.get(region)?.sums ?? [])].map((argument) => launches[number]?.streamed[argument]?.sum)
    return [`${number}`, ...sums.map((sum) => `stored ${sum}`).sort()].join(' and ')
  })
}

describe('kernels that set sums to zero', () => {
  const zero: Made = { streamed: [whole(1)] }

  it('are left out where the next one that has the sum writes every byte of it', () => {
    assert.deepEqual(left([0], [zero, { streamed: [whole(1)] }]), ['1 and stored 1'])
    const pieces: Made = { streamed: [{ sum: 1, touches: [[0, 24], [24, 40]] }] } // prettier-ignore
    assert.deepEqual(left([0], [zero, { streamed: [whole(2)] }, pieces]), ['1', '2 and stored 1'])
    assert.deepEqual(left([0], [{ streamed: [whole(1), whole(2)] }, { streamed: [whole(2)] }, { streamed: [whole(1)] }]), ['1 and stored 2', '2 and stored 1']) // prettier-ignore
    // Two that the same kernel adds to, and one beside rows of another tensor.
    assert.deepEqual(left([0, 1], [zero, { streamed: [whole(2)] }, { streamed: [whole(1), whole(2)] }]), ['2 and stored 1 and stored 2']) // prettier-ignore
    assert.deepEqual(left([0], [zero, { streamed: [whole(1)], named: [3] }]), ['1 and stored 1'])
  })

  it('stay where it does not', () => {
    const all = (...others: Made[]): void => assert.deepEqual(left([0], [zero, ...others]), [zero, ...others].map((_, index) => `${index}`)) // prettier-ignore
    all()
    all({ streamed: [whole(2)] })
    all({ streamed: [{ sum: 1, touches: [[0, 32]] }] })
    all({ streamed: [{ sum: 1, touches: [[0, 32], [0, 32]] }] }) // prettier-ignore
    all({ streamed: [{ sum: 1, touches: [[0, BYTES, false]] }] })
    all({ streamed: [{ sum: 1, touches: [[0, 32], [32, 32, false]] }] }) // prettier-ignore
    all({ streamed: [whole(1), whole(1)] })
    all({ streamed: [], named: [1] }, { streamed: [whole(1)] })
    all({ streamed: [whole(1)], named: [1] })
    all({ streamed: [{ sum: 1, touches: [[0, 32]] }] }, { streamed: [whole(1)] })
  })

  it('stay where it cannot begin a sum, and begin none then', () => {
    assert.deepEqual(left([0], [zero, { streamed: [whole(1)] }], [1]), ['0', '1'])
    const both: Made = { streamed: [whole(1), whole(2)] }
    assert.deepEqual(left([0], [both, { streamed: [whole(1)] }, { streamed: [whole(2)] }], [2]), ['0', '1', '2'])
    assert.deepEqual(left([0, 1], [zero, both, { streamed: [whole(2)] }, { streamed: [whole(1)] }], [2]), ['1 and stored 1', '2', '3']) // prettier-ignore
  })

  it('stay whole where one of their sums must be written, or is in memory', () => {
    assert.deepEqual(left([0], [{ streamed: [whole(1), whole(2)] }, { streamed: [whole(1)] }]), ['0', '1'])
    assert.deepEqual(left([0], [{ streamed: [whole(1), null] }, { streamed: [whole(1)] }]), ['0', '1'])
  })

  it('are the only ones', () => {
    assert.deepEqual(left(undefined, [zero, { streamed: [whole(1)] }]), ['0', '1'])
    assert.deepEqual(left([], [zero, { streamed: [whole(1)] }]), ['0', '1'])
    assert.deepEqual(left([1], [zero, { streamed: [whole(2)] }, { streamed: [whole(1), whole(2)] }]), [
      '0',
      '2 and stored 2',
    ])
  })
})
