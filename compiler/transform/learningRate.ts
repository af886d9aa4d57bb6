// Learning rates as graph nodes: the rate of a step is computed from the step's number where the update runs, in the
// project's own arithmetic, so that a resumed run and another device get the same bits.

import { UserError } from '../diagnostic.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import type { Node } from '../graph/node.ts'

/** Counted in updates of the weights. */
export interface RateSchedule {
  readonly kind: 'constant' | 'linear' | 'cosine'
  readonly peak: number
  /** Steps over which the rate rises linearly from 0; the step after them has the peak. */
  readonly warmup: number
  /** Steps of the whole run; a step after the last one would have the floor of `linear` and `cosine`. */
  readonly total: number
  /** What `linear` and `cosine` fall to: 0 if left out. */
  readonly floor?: number
}

/** @throws UserError HD301 for numbers that make no schedule */
export function checkSchedule({ peak, warmup, total, floor = 0 }: RateSchedule): void {
  const whole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0 && value < 2 ** 24
  if (!(Number.isFinite(peak) && peak >= 0)) throw new UserError('HD301', `the learning rate is ${peak}`)
  if (!(floor >= 0 && floor <= peak)) {
    throw new UserError('HD301', `the learning rate falls from ${peak} to ${floor}`)
  }
  if (!whole(total) || total < 1) throw new UserError('HD301', `the run has ${total} steps`)
  if (!whole(warmup)) throw new UserError('HD301', `the learning rate warms up for ${warmup} steps`)
}

/**
 * The rate of the update that `step` = 1, 2, … (i32 scalar) counts. As transformers' `get_cosine_schedule_with_warmup`
 * and `get_linear_schedule_with_warmup` have it, with t = step − 1, W = warmup, T = total, p = min((t − W) / (T − W), 1):
 *
 *     t < W       peak · t / W
 *     constant    peak
 *     linear      floor + (peak − floor) · (1 − p)
 *     cosine      floor + (peak − floor) · ½ (1 + cos πp)
 */
export function rateAt(b: GraphBuilder, schedule: RateSchedule, step: Node): Node {
  const { kind, peak, warmup, total } = schedule
  const t = b.map('sub', b.map('toFloat', step), b.float(1))
  const later = kind === 'constant' ? b.float(peak) : decayed(b, schedule, t, Math.max(1, total - warmup))
  if (warmup === 0) return later
  const rising = b.map('mul', b.float(peak), b.map('div', t, b.float(warmup)))
  return b.map('select', b.map('less', t, b.float(warmup)), rising, later)
}

function decayed(b: GraphBuilder, { kind, peak, warmup, floor = 0 }: RateSchedule, t: Node, length: number): Node {
  const past = b.map('div', b.map('sub', t, b.float(warmup)), b.float(length))
  const progress = b.map('min', past, b.float(1))
  const share = kind === 'linear' ? b.map('sub', b.float(1), progress) : halfWave(b, progress)
  const fall = b.map('mul', b.float(peak - floor), share)
  return floor === 0 ? fall : b.map('add', b.float(floor), fall)
}

function halfWave(b: GraphBuilder, progress: Node): Node {
  const wave = b.map('cos', b.map('mul', progress, b.float(Math.PI)))
  return b.map('mul', b.float(0.5), b.map('add', b.float(1), wave))
}
