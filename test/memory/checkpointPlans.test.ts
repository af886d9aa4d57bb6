// Plans of checkpoints at real shapes, which are compiled as far as a schedule: how far from the optimum, and how
// near the predicted peak is to the one of the program that is made. How long that takes is `bench/planner.ts`'s to say.

import assert from 'node:assert/strict'
import { shapes } from '../../bench/shapes.ts'
import { trainingPasses } from '../../compiler/pipeline.ts'
import { CheckpointPlanner, checkpointsOf } from '../../compiler/plan/checkpoints/planner.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { checkpointLayers, everythingKept, forwardValues } from '../../compiler/transform/checkpoint.ts'
import type { Checkpoints } from '../../compiler/transform/checkpoint.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { modelFor } from '../../models/index.ts'
import { usualOptimizer } from '../support/usualOptimizer.ts'
import { wideProfile } from './gpt2Sizes.ts'

/** The share by which prediction and program may differ before anything was corrected. */
const models = [
  { name: 'GPT-2 124M', config: shapes['gpt2']?.config ?? {}, near: 0.02 },
  { name: 'Qwen2.5-0.5B', config: shapes['qwen2']?.config ?? {}, near: 0.02 },
  { name: 'Gemma-3-270M', config: shapes['gemma3']?.config ?? {}, near: 0.02 },
  { name: 'Gemma-3-1B', config: shapes['gemma3-1b']?.config ?? {}, near: 0.02 },
]

const decoderTargets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

function attempts(
  config: Readonly<Record<string, unknown>>,
  adapt: 'adapters' | 'full',
): (checkpoints: (graph: Graph) => Checkpoints) => { graph: Graph; fn: ScheduledFunction } {
  const model = modelFor(config, 'config.json')
  const traced = model.trace(model.readConfig(config, 'config.json'), { sequences: 1, length: 256 })
  const targets = config['model_type'] === 'gpt2' ? ['c_attn', 'c_proj', 'c_fc'] : decoderTargets
  const passes = trainingPasses({
    adaptation:
      adapt === 'full'
        ? { kind: 'trainable', names: 'all' }
        : { kind: 'lora', options: { rank: 8, alpha: 16, targets, modules: traced.modules } },
    optimizer: usualOptimizer,
    checkpoints: 'none',
  })
  const { provenance } = traced
  const before = runPasses(traced.graph, passes.slice(0, -1), { provenance, verify: false }).graph
  const lowered = new Map()
  return (checkpoints) => {
    const last = [checkpointLayers(checkpoints(before)), ...passes.slice(-1)]
    const { graph } = runPasses(before, last, { provenance, verify: false })
    const accumulate = graph.functions.find(({ name }) => name === 'accumulate')
    assert.ok(accumulate, 'there is a step')
    return { graph, fn: scheduleFunction(graph, accumulate, wideProfile, lowered) }
  }
}

describe('plans of checkpoints at real shapes', function () {
  this.timeout(600_000)

  const cases = models.flatMap((one) => (['adapters', 'full'] as const).map((adapt) => ({ ...one, adapt })))
  for (const { name, config, near, adapt } of cases) {
    it(`${name}, ${adapt}: within 2 % of the bound`, () => {
      const attempt = attempts(config, adapt)
      const { graph, fn } = attempt((before) => everythingKept(forwardValues(before)))
      const planner = new CheckpointPlanner(fn, forwardValues(graph))
      const { leastPeak, peak } = planner
      for (const share of [0.05, 0.25, 0.5, 0.75]) {
        const plan = planner.plan(Math.round(leastPeak + share * (peak - leastPeak)))
        assert.ok(plan, 'there is a plan')
        assert.ok(plan.peak <= plan.budget, `${plan.peak} of ${plan.budget} bytes`)
        assert.ok(plan.gap <= 0.02, `a gap of ${plan.gap} at ${share}`)
        if (share !== 0.25) continue
        const made = attempt(() => checkpointsOf(plan))
        const real = new CheckpointPlanner(made.fn, { nodes: new Set(), activations: new Map() }).peak
        assert.ok(Math.abs(real / plan.peak - 1) <= near, `${real} bytes live where ${plan.peak} were predicted`)
      }
    })
  }
})
