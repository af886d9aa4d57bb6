// npm run bench:planner: how long planning checkpoints takes beside scheduling the same step, at real shapes and several
// budgets, and planning them together with weights that stay, read from a slow card. Processor time of all threads, the collector's among them; the ratio is what counts.

import { Command, InvalidArgumentError, Option } from 'commander'
import { CheckpointPlanner } from '../compiler/plan/checkpoints/planner.ts'
import { trainingPasses } from '../compiler/pipeline.ts'
import { declaredBytes } from '../compiler/schedule/shards.ts'
import { scheduleFunction } from '../compiler/schedule/schedule.ts'
import { checkpointLayers, everythingKept, forwardValues } from '../compiler/transform/checkpoint.ts'
import { runPasses } from '../compiler/transform/runner.ts'
import { hostDevice, scheduleProfile } from '../devices/index.ts'
import { modelFor } from '../models/index.ts'
import { shapes } from './shapes.ts'
import type { Shape } from './shapes.ts'
import { loraRank, usualAdamW } from './step.ts'

function namesOf(text: string): string[] {
  const names = text.split(',')
  const unknown = names.find((name) => !(name in shapes))
  if (unknown !== undefined)
    throw new InvalidArgumentError(`'${unknown}' is none of ${Object.keys(shapes).join(', ')}.`)
  return names
}

const command = new Command('bench:planner')
  .description('Time of the checkpoint planner as a share of scheduling, and how far its plans are from the bound.')
  .option('--models <list>', Object.keys(shapes).join(', '), namesOf, ['gpt2', 'qwen2', 'gemma3', 'gemma3-1b'])
  .option('--length <tokens>', 'tokens of the sequence', '256')
  .addOption(new Option('--adapt <how>', 'what is trained').choices(['lora', 'full']).default('lora'))
  .option('--json', 'one JSON object')
  .parse()
const options = command.opts<{ models: string[]; length: string; adapt: 'lora' | 'full'; json?: true }>()

const seconds = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** A slow card, and what a range of it has. */
const card = { bytesPerSecond: 8e7, latencySeconds: 1e-3 }
const shardBytes = 2 ** 20
/** Tensors that are smaller are in memory. */
const RESIDENT_BYTES = 2 ** 16

const results = options.models.map((name) => {
  const shape = shapes[name] as Shape
  const model = modelFor(shape.config, 'config.json')
  const traced = model.trace(model.readConfig(shape.config, 'config.json'), {
    sequences: 1,
    length: Number(options.length),
  })
  const passes = trainingPasses({
    adaptation:
      options.adapt === 'full'
        ? { kind: 'trainable', names: 'all' }
        : { kind: 'lora', options: { rank: loraRank, alpha: 16, targets: shape.targets, modules: traced.modules } },
    optimizer: usualAdamW,
    checkpoints: 'none',
  })
  const { provenance } = traced
  const before = runPasses(traced.graph, passes.slice(0, -1), { provenance }).graph
  const again = [checkpointLayers(everythingKept(forwardValues(before))), ...passes.slice(-1)]
  const { graph } = runPasses(before, again, { provenance })
  const fn = graph.functions.find((one) => one.name === 'accumulate')
  if (!fn) throw new Error('there is no step')
  const begun = seconds()
  const scheduled = scheduleFunction(graph, fn, scheduleProfile(hostDevice('avx2'), 2))
  const scheduling = seconds() - begun
  const start = seconds()
  const planner = new CheckpointPlanner(scheduled, forwardValues(graph))
  const analysing = seconds() - start
  const plans = [0.05, 0.25, 0.5, 0.75].map((share) => {
    const first = seconds()
    const budget = Math.round(planner.leastPeak + share * (planner.peak - planner.leastPeak))
    const plan = planner.plan(budget)
    const planning = analysing + seconds() - first
    const second = seconds()
    const joint = planner.joint({
      budget: budget + 3 * shardBytes,
      shards: [1, 2, 0.5, 0.25].map((part) => part * shardBytes),
      read: card,
      streamedBytes: (tensor) => {
        const declared = graph.declarations.get(tensor)
        return declared?.role === 'frozen' && declaredBytes(declared) > RESIDENT_BYTES
          ? declaredBytes(declared)
          : undefined
      },
    })
    const jointGap = joint ? 1 - joint.lowerBound / joint.seconds : NaN
    return { share, gap: plan?.gap ?? NaN, planning, jointGap, together: seconds() - second }
  })
  return { name: shape.title, scheduling, plans }
})

if (options.json) console.log(JSON.stringify(results))
else {
  for (const { name, scheduling, plans } of results) {
    const told = plans.map(({ share, gap, planning, jointGap, together }) => {
      const ratio = (planning / scheduling).toFixed(2)
      return `${(100 * share).toFixed(0)} %: ${ratio} × scheduling (${planning.toFixed(1)} s), gap ${(100 * gap).toFixed(2)} %, with weights that stay ${together.toFixed(1)} s more, gap ${(100 * jointGap).toFixed(2)} %`
    })
    console.log(`${name.padEnd(14)} ${told.join('   ')}`)
  }
}
