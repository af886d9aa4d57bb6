// The optimizer of tests in which its numbers have no part.

import type { CompileOptions } from '../../compiler/pipeline.ts'

export const usualOptimizer: CompileOptions['optimizer'] = {
  schedule: { kind: 'constant', peak: 1e-3, warmup: 0, total: 30 },
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
  clip: 1,
}
