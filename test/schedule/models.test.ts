// Every kernel of training small GPT-2 and Qwen2 models: the interpreter's bits for any vector width, with sequences that
// cross the blocks in which attention streams.

import assert from 'node:assert/strict'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { backwards, expected, firstDifference, launch, smallProfile, verifyScheduled } from './launch.ts'
import { training } from './trainings.ts'
import type { TrainingOptions } from './trainings.ts'

const cases: readonly TrainingOptions[] = [
  { model: 'gpt2', adaptation: 'lora', dtype: 'f16' },
  { model: 'gpt2', adaptation: 'full' },
  { model: 'qwen2', adaptation: 'lora', dtype: 'bf16', checkpoints: 'every' },
  { model: 'qwen2', adaptation: 'full' },
]

/** Operations whose results over these axes take memory of their own. */
function intermediates({ regions }: ScheduledFunction, axes: readonly string[]): string[] {
  return regions.flatMap(({ references }) =>
    references.flatMap((reference) => {
      if (reference.kind !== 'node') return []
      const names = reference.node.axes.map((axis) => axis.name)
      return axes.every((name) => names.includes(name)) ? [reference.node.op] : []
    }),
  )
}

describe('training graphs through the scheduler', () => {
  for (const [turn, options] of cases.entries()) {
    it(`${options.model} ${options.adaptation}: nests and kernels give the interpreter's bits`, () => {
      const { graph, values, extents } = training(options)
      const kinds = new Set<string>()
      for (const fn of graph.functions) {
        const wanted = expected(graph, fn, values, extents)
        for (const lanes of [4, 16]) {
          const scheduled = scheduleFunction(graph, fn, smallProfile(lanes))
          verifyScheduled(scheduled)
          for (const { region } of scheduled.regions) kinds.add(region.kind)
          assert.deepEqual(intermediates(scheduled, ['vocab', 'embed']), [], 'a table of gradients beside its target')
          for (const stage of lanes === 4 ? (['nest', 'kernel'] as const) : (['kernel'] as const)) {
            const run = {
              graph,
              scheduled,
              values,
              extents,
              stage,
              ...(turn % 2 === 0 ? { gridOrder: backwards } : {}),
            }
            const difference = firstDifference(launch(run), wanted)
            assert.equal(difference, undefined, `${stage} of '${fn.name}' with ${lanes} lanes`)
          }
        }
      }
      for (const kind of ['rows', 'contraction', 'softmax', 'stream']) assert.ok(kinds.has(kind), `no ${kind} kernel`)
      assert.ok(!kinds.has('softmaxRows'), 'attention or loss fell back to stored scores')
    })
  }
})
