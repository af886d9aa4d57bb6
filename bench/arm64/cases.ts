// What is compiled and emulated: a contraction, attention, a whole LoRA step of a GPT-2 at sizes that are asked for.
// Knows no compiler of C++ and no processor.

import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import type { Program } from '../../compiler/plan/program.ts'
import type { CompileOptions } from '../../compiler/pipeline.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import type { FrozenRange } from '../../backends/neon/driver/device.ts'
import type { Session } from '../../backends/neon/driver/index.ts'
import { smallNumbers } from '../../evaluate/speed/runner.ts'
import { causalAttention } from '../attention.ts'
import { contractionGraph } from '../programs.ts'
import { gpt2Config } from '../shapes.ts'
import { compileGpt2Step, randomWeights, writeTokens } from '../step.ts'

export interface Case {
  readonly name: string
  readonly program: Program
  readonly scheduled: readonly ScheduledFunction[]
  /** Functions that `run` calls, in order. */
  readonly called: readonly string[]
  readonly frozen: readonly FrozenRange[]
  prepare(session: Session): Promise<void>
  run(session: Session): Promise<void>
}

function singleCase(name: string, b: GraphBuilder, y: Node, profile: ScheduleProfile): Case {
  b.define({ name: 'run', outputs: [{ name: 'y', node: y }], writes: [] })
  const graph = b.finish()
  const scheduled = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
  const { program } = planProgram(name, graph, scheduled, new Provenance())
  return {
    name,
    program,
    scheduled,
    called: ['run'],
    frozen: [],
    prepare: async (session) => {
      for (const value of program.values) await session.write(value.name, smallNumbers(value.bytes / 4))
    },
    run: (session) => session.call('run', {}),
  }
}

/** y[m, n] = Σₖ x[m, k]·w, with w stored [k, n], or [n, k] when `transposed`. */
export function contractionCase(
  [m, n, k]: readonly [number, number, number],
  transposed: boolean,
  profile: ScheduleProfile,
): Case {
  const { name, b, y } = contractionGraph(m, n, k, transposed)
  return singleCase(name, b, y, profile)
}

/** Causal attention, forward: y[seq, head, dim] of q, k and v. */
export function attentionCase(
  [length, heads, width]: readonly [number, number, number],
  profile: ScheduleProfile,
): Case {
  const b = new GraphBuilder()
  const seq = b.axis('seq', length)
  const key = b.axis('key', length)
  const head = b.axis('head', heads)
  const dim = b.axis('dim', width)
  b.declare({ name: 'q', role: 'input', dtype: 'f32', stored: [[seq], [head], [dim]] })
  for (const name of ['k', 'v']) b.declare({ name, role: 'input', dtype: 'f32', stored: [[key], [head], [dim]] })
  const y = causalAttention(b, seq, key, dim)
  return singleCase(`attention, ${length} tokens, ${heads} heads of ${width}, causal`, b, y, profile)
}

/** dw[m, n] = Σₖ x[k, m]·dy[k, n]: the gradient of a weight, whose broadcast operand lies along the rows of the result. */
export function weightGradientCase([m, n, k]: readonly [number, number, number], profile: ScheduleProfile): Case {
  const b = new GraphBuilder()
  const [rows, columns, tokens] = [b.axis('rows', m), b.axis('columns', n), b.axis('tokens', k)]
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[tokens], [rows]] })
  b.declare({ name: 'dy', role: 'input', dtype: 'f32', stored: [[tokens], [columns]] })
  const name = `gradient of a weight ${m}×${n} over ${k} tokens`
  return singleCase(name, b, b.dot(b.read('x'), b.read('dy'), [tokens]), profile)
}

export interface StepSizes {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly vocabulary: number
  readonly length: number
  readonly checkpoints: CompileOptions['checkpoints']
}

/** A LoRA step (rank 8 on all projections, AdamW, clipping) of a GPT-2 of these sizes with random weights. */
export function stepCase(sizes: StepSizes, profile: ScheduleProfile): Case {
  const { layers, width, heads, vocabulary, length, checkpoints } = sizes
  const config = { ...gpt2Config, n_layer: layers, n_embd: width, n_head: heads, vocab_size: vocabulary }
  const { graph, program } = compileGpt2Step(config, { length, checkpoints }, profile)
  return {
    name: `LoRA step, GPT-2 of ${layers} layers × ${width}, vocabulary ${vocabulary}, 1×${length}, recomputing ${checkpoints === 'none' ? 'no layer' : 'every layer'}`,
    program,
    scheduled: scheduleAgain(graph, profile),
    called: ['accumulate', 'measure', 'apply'],
    frozen: randomWeights(program),
    prepare: (session) => writeTokens(session, length, vocabulary),
    run: async (session) => {
      const outcome = await session.step({ seq: length }, 'last')
      if (outcome.status !== 'ok') throw new Error(outcome.message)
    },
  }
}

/** The pipeline keeps no regions; the same graph and profile give the same ones. */
function scheduleAgain(graph: Graph, profile: ScheduleProfile): readonly ScheduledFunction[] {
  const lowered = new Map()
  return graph.functions.map((fn) => scheduleFunction(graph, fn, profile, lowered))
}
