// A program written by hand for the tests of the run-time: it fits a line by gradient descent, with the function names
// and value names that a training step goes by, one frozen tensor and one input of ids. Beside it, the same step in
// plain TypeScript as the oracle.

import { float32 } from '../../compiler/graph/float32.ts'
import { parseKernels } from '../../compiler/kernel/parse.ts'
import type { Place, Program, ProgramValue } from '../../compiler/plan/program.ts'

/** Odd, and several blocks long. */
export const bound = 5003
const block = 512
const blocks = Math.ceil(bound / block)
export const tableSize = 19

const kernels = parseKernels(`
kernel line (sizes count <= ${bound}) {
  read slope: f32[1:1]
  read offset: f32[1:1]
  read x: f32[${bound}:1]
  write y: f32[${bound}:1]
  grid i in count {
    y[i] = fma(slope[0], x[i], offset[0])
  }
}
kernel lookup (sizes count <= ${bound}) {
  read table: f32[${tableSize}:1]
  read ids: i32[${bound}:1]
  read y: f32[${bound}:1]
  write z: f32[${bound}:1]
  grid i in count {
    z[i] = mul(y[i], table[value(ids[i] below ${tableSize})])
  }
}
kernel difference (sizes count <= ${bound}) {
  read y: f32[${bound}:1]
  read target: f32[${bound}:1]
  write rest: f32[${bound}:1]
  grid i in count {
    rest[i] = sub(y[i], target[i])
  }
}
kernel blockProduct (sizes count <= ${bound}) {
  read a: f32[${bound}:1]
  read b: f32[${bound}:1]
  write partial: f32[${blocks}:1]
  scratch products: f32[${block}:1]
  register sums: f32[16:1]
  grid block in (count + ${block - 1}) div ${block} {
    serial i in min(${block}, count - block*${block}) {
      products[i] = mul(a[block*${block} + i], b[block*${block} + i])
    }
    serial z in 16 {
      sums[z] = 0.0
    }
    serial j in min(${block}, count - block*${block}) {
      sums[j mod 16] = add(sums[j mod 16], products[j])
    }
    partial[block] = tree(add, sums)
  }
}
kernel total (sizes count <= ${bound}) {
  read partial: f32[${blocks}:1]
  update sum: f32[1:1]
  serial block in (count + ${block - 1}) div ${block} {
    sum[0] = add(sum[0], partial[block])
  }
}
kernel plusCount (sizes count <= ${bound}) {
  update sum: f32[1:1]
  sum[0] = add(sum[0], toFloat(index(count)))
}
kernel meanSquare {
  read gradient: f32[1:1]
  read weight: f32[1:1]
  write norm: f32[1:1]
  let mean = div(gradient[0], weight[0])
  norm[0] = mul(mean, mean)
}
kernel mean {
  read sum: f32[1:1]
  read weight: f32[1:1]
  write report: f32[1:1]
  report[0] = div(sum[0], weight[0])
}
kernel update {
  update value: f32[1:1]
  update gradient: f32[1:1]
  read weight: f32[1:1]
  value[0] = fma(-0.0625, div(gradient[0], weight[0]), value[0])
  gradient[0] = 0.0
}
kernel clear {
  write sum: f32[1:1]
  sum[0] = 0.0
}`)

function kernelNumber(name: string): number {
  const index = kernels.findIndex((kernel) => kernel.name === name)
  if (index < 0) throw new Error(`no kernel ${name}`)
  return index
}

const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64
const vector = aligned(4 * bound)
const arena = (slot: number): Place => ({ space: 'arena', offset: slot * vector })
const values: ProgramValue[] = []
const used = { state: 0, inputs: 0 }

function declare(
  name: string,
  space: 'state' | 'inputs',
  value: Pick<ProgramValue, 'role' | 'dtype' | 'shape' | 'initial'>,
): Place {
  const bytes = 4 * value.shape.reduce((product, extent) => product * extent, 1)
  const place: Place = { space, offset: used[space] }
  used[space] += aligned(bytes)
  values.push({ name, bytes, place, ...value })
  return place
}

const zero = { kind: 'constant', value: 0 } as const
const state = (name: string): Place =>
  declare(name, 'state', { role: 'state', dtype: 'f32', shape: [1], initial: zero })

const table: Place = { space: 'frozen', index: 0 }
values.push({ name: 'table', role: 'frozen', dtype: 'f32', shape: [tableSize], bytes: 4 * tableSize, place: table })
const slope = declare('slope', 'state', {
  role: 'trainable',
  dtype: 'f32',
  shape: [1],
  initial: { kind: 'uniform', bound: 0.5 },
})
const offset = declare('offset', 'state', { role: 'trainable', dtype: 'f32', shape: [1] })
const gradSlope = state('grad/slope')
const gradOffset = state('grad/offset')
const sumLoss = state('sum/loss')
const sumWeight = state('sum/weight')
const normSlope = state('norm2/slope')
const normOffset = state('norm2/offset')
const reportLoss = state('report/loss')
const x = declare('x', 'inputs', { role: 'input', dtype: 'f32', shape: [bound] })
const target = declare('target', 'inputs', { role: 'input', dtype: 'f32', shape: [bound] })
const ones = declare('ones', 'inputs', { role: 'input', dtype: 'f32', shape: [bound] })
const ids = declare('ids', 'inputs', { role: 'input', dtype: 'i32', shape: [bound] })

function launch(kernel: string, ...places: Place[]): Program['functions'][number]['launches'][number] {
  return { kernel: kernelNumber(kernel), arguments: places, label: kernel }
}

const vectorOutput = (name: string, place: Place) => ({ name, dtype: 'f32', shape: [bound], place }) as const

export const lineProgram: Program = {
  name: 'line',
  sizes: [{ name: 'count', bound }],
  kernels,
  values,
  functions: [
    {
      name: 'predict',
      launches: [launch('line', slope, offset, x, arena(0)), launch('lookup', table, ids, arena(0), arena(1))],
      outputs: [vectorOutput('y', arena(0)), vectorOutput('z', arena(1))],
    },
    {
      name: 'accumulate',
      launches: [
        launch('line', slope, offset, x, arena(0)),
        launch('difference', arena(0), target, arena(1)),
        launch('blockProduct', arena(1), arena(1), arena(2)),
        launch('total', arena(2), sumLoss),
        launch('blockProduct', arena(1), x, arena(2)),
        launch('total', arena(2), gradSlope),
        launch('blockProduct', arena(1), ones, arena(2)),
        launch('total', arena(2), gradOffset),
        launch('plusCount', sumWeight),
      ],
      outputs: [],
    },
    {
      name: 'measure',
      launches: [
        launch('meanSquare', gradSlope, sumWeight, normSlope),
        launch('meanSquare', gradOffset, sumWeight, normOffset),
        launch('mean', sumLoss, sumWeight, reportLoss),
      ],
      outputs: [],
    },
    {
      name: 'apply',
      launches: [
        launch('update', slope, gradSlope, sumWeight),
        launch('update', offset, gradOffset, sumWeight),
        launch('clear', sumLoss),
        launch('clear', sumWeight),
      ],
      outputs: [],
    },
  ],
  arenaBytes: 3 * vector,
  stateBytes: used.state,
  inputBytes: used.inputs,
  frozenCount: 1,
  storedCount: 0,
}

/** Launches of a last micro-batch: what a pause can fall between. */
export const stepLaunches = lineProgram.functions.slice(1).reduce((sum, fn) => sum + fn.launches.length, 0)

export interface LineState {
  readonly slope: number
  readonly offset: number
}

export interface LineBatch {
  readonly x: Float32Array
  readonly target: Float32Array
}

/** A batch that no two positions of which are alike. */
export function lineBatch(count: number, first: number): LineBatch {
  const points = Float32Array.from(
    { length: count },
    (_, index) => Math.fround(((index + first) * 7919) % 613) / 300 - 1,
  )
  return { x: points, target: points.map((point, index) => 3 * point - 0.5 + (((index * 31) % 17) - 8) / 50) }
}

const round = Math.fround

function sumOfProducts(a: Float32Array, b: Float32Array, start: number): number {
  let total = start
  for (let begin = 0; begin < a.length; begin += block) {
    let sums = Array.from({ length: 16 }, () => 0)
    for (let index = begin; index < Math.min(a.length, begin + block); index++) {
      const slot = (index - begin) % 16
      sums[slot] = round((sums[slot] ?? 0) + round((a[index] ?? 0) * (b[index] ?? 0)))
    }
    while (sums.length > 1) {
      const half = sums.length / 2
      sums = sums.slice(0, half).map((sum, index) => round(sum + (sums[index + half] ?? 0)))
    }
    total = round(total + (sums[0] ?? 0))
  }
  return total
}

/** One step over micro-batches: the new line and the loss, to the bit. */
export function lineStep(line: LineState, batches: readonly LineBatch[]): LineState & { loss: number } {
  let loss = 0
  let weight = 0
  let gradSlopeSum = 0
  let gradOffsetSum = 0
  for (const batch of batches) {
    const y = batch.x.map((point) => float32.fma(line.slope, point, line.offset))
    const rest = y.map((value, index) => value - (batch.target[index] ?? 0))
    loss = sumOfProducts(rest, rest, loss)
    gradSlopeSum = sumOfProducts(rest, batch.x, gradSlopeSum)
    gradOffsetSum = sumOfProducts(rest, rest.map(() => 1), gradOffsetSum) // prettier-ignore
    weight = round(weight + rest.length)
  }
  return {
    slope: float32.fma(-0.0625, round(gradSlopeSum / weight), line.slope),
    offset: float32.fma(-0.0625, round(gradOffsetSum / weight), line.offset),
    loss: round(loss / weight),
  }
}
