// Random graphs through schedule, plan and emitter as one program, and what a session on it computes. Only for tests; it
// compares nothing.

import { writeFileSync } from 'node:fs'
import { openSession } from '../../backends/neon/driver/index.ts'
import type { FrozenRange, Session, TensorData } from '../../backends/neon/driver/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Declaration, Graph } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { narrowBf16, narrowF16 } from '../../compiler/kernel/halves.ts'
import { planProgram } from '../../compiler/plan/place.ts'
import type { Program } from '../../compiler/plan/program.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import { eachPlace } from '../schedule/launch.ts'
import { mergePrograms, nameIn } from './mergedProgram.ts'
import type { RandomGraph } from './randomGraph.ts'
import { profileOf } from './trainCase.ts'

export interface GraphBatch {
  readonly program: Program
  readonly parts: readonly { readonly grown: RandomGraph; readonly functions: readonly ScheduledFunction[] }[]
}

/** Every other graph is scheduled for a cache so small that blocks and copies occur at these sizes. */
export function batchOf(graphs: readonly RandomGraph[], chain: ToolChain): GraphBatch {
  const parts = graphs.map((grown, turn) => {
    const { graph } = grown
    const real = profileOf(chain)
    const profile = turn % 4 < 2 ? real : { ...real, privateCache: 1 << 12 }
    return { grown, functions: graph.functions.map((fn) => scheduleFunction(graph, fn, profile)) }
  })
  const programs = parts.map(({ grown, functions }, part) => {
    return planProgram(`part ${part}`, grown.graph, functions, new Provenance()).program
  })
  return { program: mergePrograms('random graphs', programs), parts }
}

/** As a declaration lies in memory; what is beyond the extents must not matter, so it is not a number where it can. */
function stored<T extends Float32Array | Int32Array | Uint16Array>(
  declared: Declaration,
  tensor: Tensor,
  to: (n: number) => T,
): T {
  const axes = declared.stored.flat()
  const data = to(countElements(axes.map((axis) => axis.size)))
  const narrow = declared.dtype === 'bf16' ? narrowBf16 : declared.dtype === 'f16' ? narrowF16 : Number
  eachPlace(tensor, axes, (flat, offset) => void (data[offset] = narrow(tensor.data[flat] as number)))
  return data
}

/** Puts the frozen tensors of all graphs into one file, in the order of their places. */
export function writeFrozen(path: string, { parts }: GraphBatch): FrozenRange[] {
  const ranges: FrozenRange[] = []
  const chunks: Uint8Array[] = []
  let offset = 0
  for (const { graph, values } of parts.map(({ grown }) => grown)) {
    for (const declared of graph.declarations.values()) {
      if (declared.role !== 'frozen') continue
      const data = stored(declared, values.get(declared.name) as Tensor, (length) => new Uint16Array(length))
      ranges.push({ path, offset, bytes: data.byteLength })
      chunks.push(new Uint8Array(data.buffer))
      offset += data.byteLength
    }
  }
  writeFileSync(path, Buffer.concat(chunks))
  return ranges
}

async function write(session: Session, part: number, declared: Declaration, tensor: Tensor): Promise<void> {
  const isFloat = declared.dtype === 'f32'
  const data: TensorData = isFloat
    ? stored(declared, tensor, (length) => new Float32Array(length).fill(Number.NaN))
    : stored(declared, tensor, (length) => new Int32Array(length))
  await session.write(nameIn(part, declared.name), data)
}

/** The elements within the extents, in canonical order, of data that lies at the bounds. */
function dense(data: TensorData, layout: readonly Axis[], canonical: readonly Axis[], extents: Extents): Tensor {
  const sizes = canonical.map((axis) => extentOf(axis, extents))
  const length = countElements(sizes)
  const empty = data instanceof Float32Array ? new Float32Array(length) : new Int32Array(length)
  const tensor = makeTensor(canonical, sizes, empty)
  eachPlace(tensor, layout, (flat, offset) => void (tensor.data[flat] = data[offset] as number))
  return tensor
}

function axesOf(graph: Graph, name: string): Axis[] {
  return graph.declarations.get(name)?.stored.flat() ?? []
}

/** Calls one function; outputs and writes by name, as `expected` of `../schedule/launch.ts` names them. */
async function callOne(
  session: Session,
  part: number,
  scheduled: ScheduledFunction,
  { graph, extents }: RandomGraph,
): Promise<Map<string, Tensor>> {
  const { fn, targets, layout } = scheduled
  await session.call(nameIn(part, fn.name), extents)
  const results = new Map<string, Tensor>()
  for (const { name, node } of fn.outputs) {
    const target = targets.get(node)
    const axes = target === undefined ? layout(node) : axesOf(graph, target)
    const data = await session.output(nameIn(part, fn.name), name)
    results.set(`output ${name}`, dense(data, axes, node.axes, extents))
  }
  for (const { name, node } of fn.writes) {
    const data = await session.read(nameIn(part, name))
    results.set(`write ${name}`, dense(data, axesOf(graph, name), node.axes, extents))
  }
  return results
}

export interface BatchRun {
  readonly chain: ToolChain
  readonly threads: number
  /** A file that may be written, for the frozen tensors. */
  readonly frozenPath: string
  /** Given the results of every function, each called on the graph's own values. */
  readonly check: (grown: RandomGraph, scheduled: ScheduledFunction, results: ReadonlyMap<string, Tensor>) => void
}

/** Compiles the batch with little optimisation and calls every function once. */
export async function runBatch(batch: GraphBatch, { chain, threads, frozenPath, check }: BatchRun): Promise<void> {
  const frozen = writeFrozen(frozenPath, batch)
  const session = await openSession(batch.program, { toolchain: chain, threads, frozen, optimise: 'light' })
  try {
    for (const [part, { grown }] of batch.parts.entries()) await writeAll(session, part, grown)
    for (const [part, { grown, functions }] of batch.parts.entries()) {
      for (const scheduled of functions) {
        check(grown, scheduled, await callOne(session, part, scheduled, grown))
        await writeAll(
          session,
          part,
          grown,
          scheduled.fn.writes.map(({ name }) => name),
        )
      }
    }
  } finally {
    await session.close()
  }
}

async function writeAll(
  session: Session,
  part: number,
  { graph, values }: RandomGraph,
  names: Iterable<string> = graph.declarations.keys(),
): Promise<void> {
  for (const name of names) {
    const declared = graph.declarations.get(name) as Declaration
    if (declared.role !== 'frozen') await write(session, part, declared, values.get(name) as Tensor)
  }
}
