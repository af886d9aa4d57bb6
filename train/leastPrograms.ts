// The programs of a recipe among which is the one that needs least memory: ranges of several sizes, what can be computed again,
// nothing in files. They are the same ones in the same order whatever budget is asked for, so that the least of them is one number.

import type { Compiled, StepCompiler } from '../compiler/pipeline.ts'
import { hasLayers, leastStep, plannedLeastStep } from '../compiler/leastStep.ts'
import type { LeastDraft } from '../compiler/leastStep.ts'
import type { Rates } from '../compiler/plan/rates.ts'
import type { Recipe } from '../dsl/index.ts'
import type { Attempt } from './attempts.ts'

export interface LeastProgram extends LeastDraft {
  readonly attempt: Attempt
  /** Bytes that it needs wherever things lie. */
  readonly bytes: number
}

export interface LeastPrograms {
  readonly checkpoints: Recipe['checkpoints']
  readonly rates: Rates | undefined
  /** Bytes of each tensor that may lie in a file. */
  readonly movable: readonly number[]
  /** What is declared takes so much where all of it is in memory, with the run-time. */
  readonly inMemory: number
  readonly compilerFor: (storage: Attempt['storage']) => StepCompiler
  /** Told of each program before it is compiled. */
  readonly tell: (attempt: Attempt) => void
  readonly bytesOf: (compiled: Compiled) => number
}

/** Where the search for the size of ranges begins; it is halved or doubled for as long as that needs less. */
const FIRST_SHARD = 2 ** 18
/** Smaller ranges are told with more bytes than they save, and no larger ones were seen to need less. */
const LEAST_SHARD = 2 ** 13
const MOST_SHARD = 2 ** 22
/** The planner's model of memory is not so wrong: keeping everything needs more where it says that it needs so much more. */
const PLAIN = 0.1

export function* leastPrograms(options: LeastPrograms): Generator<LeastProgram> {
  const { movable, inMemory } = options
  let least = Number.POSITIVE_INFINITY
  if (movable.length > 0) {
    const shard = yield* leastRanges(options)
    least = shard.bytes
    for (const program of planned(options, 'least', shard.size)) {
      least = Math.min(least, program.bytes)
      yield program
    }
  }
  if (inMemory >= least) return
  yield programOf(options, { checkpoints: everyOr(options), storage: 'none' })
  yield* planned(options, 'none')
}

/** Checkpoints that nothing decides: of every layer, where any may be. */
function everyOr({ checkpoints }: LeastPrograms): 'none' | 'every layer' {
  return checkpoints === 'none' ? 'none' : 'every layer'
}

function* leastRanges(
  options: LeastPrograms,
): Generator<LeastProgram, { readonly size: number; readonly bytes: number }> {
  const attempt = { checkpoints: everyOr(options), storage: 'least' } as const
  // Ranges that are larger than every tensor are all the same.
  const largest = Math.max(...options.movable)
  let most = LEAST_SHARD
  while (most < largest && most < MOST_SHARD) most *= 2
  const first = programOf(options, attempt, Math.min(FIRST_SHARD, most))
  yield first
  let best = { size: Math.min(FIRST_SHARD, most), bytes: first.bytes }
  for (const factor of [1 / 2, 2]) {
    const { size: from } = best
    for (let size = factor * from; size >= LEAST_SHARD && size <= most; size *= factor) {
      const program = programOf(options, attempt, size)
      yield program
      if (program.bytes >= best.bytes) break
      best = { size, bytes: program.bytes }
    }
    if (best.size !== from) break
  }
  return best
}

function* planned(options: LeastPrograms, storage: Attempt['storage'], shardBytes?: number): Generator<LeastProgram> {
  if (options.checkpoints !== 'auto') return
  const attempt = { checkpoints: 'auto', storage } as const
  const compiler = options.compilerFor(storage)
  if (!hasLayers(compiler)) return
  options.tell(attempt)
  const draft = plannedLeastStep(compiler, options.rates, shardBytes)
  yield { attempt, ...draft, bytes: options.bytesOf(draft.compiled) }
  if (draft.keptBeyond <= PLAIN) yield programOf(options, { checkpoints: 'none', storage }, shardBytes)
}

function programOf(options: LeastPrograms, attempt: Attempt, shardBytes?: number): LeastProgram {
  const checkpoints = attempt.checkpoints === 'none' ? 'none' : 'every'
  options.tell(attempt)
  const draft = leastStep(options.compilerFor(attempt.storage), checkpoints, shardBytes)
  return { attempt, ...draft, bytes: options.bytesOf(draft.compiled) }
}
