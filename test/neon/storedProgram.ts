// A program written by hand for the tests of values in storage: it trains a matrix range by range and a table of rows by
// ids, with moments, sums of gradients and the rows' sums in the state file, and only what is needed in memory. Beside it,
// the same step in plain TypeScript, rounded where the kernels round.

import { parseKernels } from '../../compiler/kernel/parse.ts'
import type {
  Launch, NamedRows, Part, Place, Program, ProgramFunction, ProgramValue, TensorPlace, Transfer,
} from '../../compiler/plan/program.ts' // prettier-ignore

export const rows = 40
export const width = 24
export const vocabulary = 19
/** Ids of a micro-batch. */
export const count = 11
const elements = rows * width
const rowBytes = 4 * width

const kernels = parseKernels(`
kernel gather {
  read given: f32[${count}:${width}, ${width}:1]
  read x: f32[${count}:${width}, ${width}:1]
  write product: f32[${count}:${width}, ${width}:1]
  grid t in ${count} {
    serial c in ${width} {
      product[t, c] = mul(given[t, c], x[t, c])
    }
  }
}
kernel addMatrix {
  read weight: f32[${rows}:${width}, ${width}:1]
  read frozen: f32[${rows}:${width}, ${width}:1]
  update sum: f32[${rows}:${width}, ${width}:1]
  grid r in ${rows} {
    serial c in ${width} {
      sum[r, c] = add(sum[r, c], add(weight[r, c], frozen[r, c]))
    }
  }
}
kernel scatterRows {
  read firsts: i32[${count}:1]
  read product: f32[${count}:${width}, ${width}:1]
  update sum: f32[${count}:${width}, ${width}:1]
  serial t in ${count} {
    serial c in ${width} {
      sum[value(firsts[t] below ${count}), c] = add(sum[value(firsts[t] below ${count}), c], product[t, c])
    }
  }
}
kernel count {
  update weight: f32[1:1]
  weight[0] = add(weight[0], 1.0)
}
kernel measure {
  read weight: f32[1:1]
  write report: f32[1:1]
  report[0] = weight[0]
}
kernel updateMatrix {
  update value: f32[${rows}:${width}, ${width}:1]
  update moment: f32[${rows}:${width}, ${width}:1]
  update sum: f32[${rows}:${width}, ${width}:1]
  grid r in ${rows} {
    serial c in ${width} {
      moment[r, c] = add(mul(0.5, moment[r, c]), sum[r, c])
      value[r, c] = sub(value[r, c], mul(0.0625, moment[r, c]))
      sum[r, c] = 0.0
    }
  }
}
kernel updateRows {
  update value: f32[${vocabulary}:${width}, ${width}:1]
  update sum: f32[${vocabulary}:${width}, ${width}:1]
  grid r in ${vocabulary} {
    serial c in ${width} {
      value[r, c] = sub(value[r, c], mul(0.25, sum[r, c]))
      sum[r, c] = 0.0
    }
  }
}
kernel finish {
  update weight: f32[1:1]
  update step: f32[1:1]
  weight[0] = 0.0
  step[0] = add(step[0], 1.0)
}`)

const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64
const values: ProgramValue[] = []
const used = { state: 0, inputs: 0, stored: 0 }

function resident(name: string, space: 'state' | 'inputs', shape: readonly number[], dtype: 'f32' | 'i32'): Place {
  const bytes = 4 * shape.reduce((product, extent) => product * extent, 1)
  const place: Place = { space, offset: used[space] }
  used[space] += aligned(bytes)
  const role = space === 'state' ? 'state' : 'input'
  values.push({ name, role, dtype, shape, bytes, place, ...(role === 'state' ? { initial: zero } : {}) })
  return place
}

const zero = { kind: 'constant', value: 0 } as const

/** A value in the state file; trainable ones begin with what is written. */
function stored(name: string, shape: readonly number[], role: 'trainable' | 'state', versions: boolean): TensorPlace {
  const place = { space: 'stored', index: used.stored++ } as const
  const bytes = 4 * shape.reduce((product, extent) => product * extent, 1)
  const more = {
    ...(versions ? { versions } : { sum: true as const }),
    ...(role === 'state' ? { initial: zero } : {}),
  } as const
  values.push({ name, role, dtype: 'f32', shape, bytes, place, streamed: true, ...more })
  return place
}

const matrix = [rows, width] as const
const table = [vocabulary, width] as const
const sumWeight = resident('sum/weight', 'state', [1], 'f32')
const reportLoss = resident('report/loss', 'state', [1], 'f32')
const step = resident('step', 'state', [1], 'f32')
const ids = resident('ids', 'inputs', [count], 'i32')
const x = resident('x', 'inputs', [count, width], 'f32')
const given = resident('given', 'inputs', [count, width], 'f32')
// Those with versions and those without lie between each other, as in a compiled program.
const weight = stored('weight', matrix, 'trainable', true)
const gradWeight = stored('grad/weight', matrix, 'state', false)
const momentWeight = stored('moment/weight', matrix, 'state', true)
const embedding = stored('embedding', table, 'trainable', true)
const gradEmbedding = stored('grad/embedding', table, 'state', false)
const base: TensorPlace = { space: 'frozen', index: 0 }
values.push({ name: 'base', role: 'frozen', dtype: 'f32', shape: matrix, bytes: 4 * elements, place: base, streamed: true }) // prettier-ignore

/** Launches and transfers of one function, in the order in which they are added. */
class FunctionBuilder {
  readonly #name: string
  readonly #launches: Launch[] = []
  readonly #transfers: Transfer[] = []
  #moment = 0

  constructor(name: string) {
    this.#name = name
  }

  launch(kernel: string, ...places: readonly Place[]): this {
    this.#launches.push({ kernel: numberOf(kernel), arguments: places, label: kernel })
    this.#moment++
    return this
  }

  /** A launch on rows of a tensor that come into the arena before it and go back behind it. */
  onRows(kernel: string, tensor: TensorPlace, named: NamedRows, offset: number, ...places: readonly Place[]): this {
    const range = { tensor, from: 0, bytes: named.count * named.rowBytes, offset, rows: named }
    this.#transfers.push({ kind: 'read', ...range, after: this.#moment })
    const transfers = this.#transfers.length
    this.#launches.push({ kernel: numberOf(kernel), arguments: places, label: kernel, transfers })
    this.#moment++
    this.#transfers.push({ kind: 'write', ...range, after: this.#moment })
    return this
  }

  /**
   * A launch whose tensors, a row for each iteration, come in ranges of `step` rows: two lie in the arena from `offset` on, so
   * that one is on its way while the other is used. Those that `written` names go back.
   */
  inParts(
    kernel: string,
    tensors: readonly TensorPlace[],
    written: readonly TensorPlace[],
    step: number,
    offset: number,
  ): this {
    const total = rowsOf(tensors[0] as TensorPlace)
    const begins = Array.from({ length: Math.ceil(total / step) }, (_, part) => part * step)
    const first = this.#moment
    const memory = (part: number, tensor: number): number =>
      offset + ((part % 2) * tensors.length + tensor) * aligned(step * rowBytes)
    const range = (part: number, tensor: TensorPlace) => {
      const from = (begins[part] ?? 0) * rowBytes
      const bytes = Math.min(step, total - (begins[part] ?? 0)) * rowBytes
      return { tensor, from, bytes, offset: memory(part, tensors.indexOf(tensor)) }
    }
    const needed: number[] = []
    const read = (part: number, after: number): void => {
      if (part >= begins.length) return
      for (const tensor of tensors) this.#transfers.push({ kind: 'read', ...range(part, tensor), after })
      needed.push(this.#transfers.length)
    }
    read(0, first)
    read(1, first)
    begins.forEach((_, part) => {
      for (const tensor of written)
        this.#transfers.push({ kind: 'write', ...range(part, tensor), after: first + part + 1 })
      read(part + 2, first + part + 1)
    })
    const parts = begins.map((begin, part): Part => {
      const windows = tensors.map((_, argument) => ({
        argument,
        from: begin * rowBytes,
        offset: memory(part, argument),
      }))
      return { begin, end: Math.min(total, begin + step), transfers: needed[part] ?? 0, windows }
    })
    this.#launches.push({ kernel: numberOf(kernel), arguments: tensors, label: kernel, parts })
    this.#moment += parts.length
    return this
  }

  /** What is carried over in memory goes to the version, behind what was launched so far. */
  keep(from: number, bytes: number): this {
    this.#transfers.push({ kind: 'keep', from, bytes, after: this.#moment })
    return this
  }

  made(more: Partial<ProgramFunction> = {}): ProgramFunction {
    return { name: this.#name, launches: this.#launches, outputs: [], transfers: this.#transfers, ...more }
  }
}

function numberOf(name: string): number {
  const index = kernels.findIndex((kernel) => kernel.name === name)
  if (index < 0) throw new Error(`no kernel ${name}`)
  return index
}

function rowsOf(tensor: TensorPlace): number {
  const value = values.find(
    ({ place }) => 'index' in place && place.space === tensor.space && place.index === tensor.index,
  )
  return value?.shape[0] ?? 0
}

const arena = (offset: number): Place => ({ space: 'arena', offset })
const firsts = 0
const product = aligned(4 * count)
const sumRows = product + aligned(count * rowBytes)
const ranges = sumRows + aligned(count * rowBytes)
const step7 = aligned(7 * rowBytes)
const named: NamedRows = { ids, firsts, count, rowBytes }

/** All of the state in memory. */
const carriedBytes = used.state

export const storedProgram: Program = {
  name: 'stored',
  sizes: [],
  kernels,
  values,
  functions: [
    new FunctionBuilder('accumulate')
      .launch('gather', given, x, arena(product))
      .onRows('scatterRows', gradEmbedding, named, sumRows, arena(firsts), arena(product), arena(sumRows))
      .inParts('addMatrix', [weight, base, gradWeight], [gradWeight], 7, ranges)
      .launch('count', sumWeight)
      .made({
        rows: [{ tensor: embedding, ids, to: given, count, rowBytes }],
        firsts: [{ ids, firsts, count }],
      }),
    new FunctionBuilder('measure').launch('measure', sumWeight, reportLoss).made(),
    new FunctionBuilder('apply')
      .inParts('updateMatrix', [weight, momentWeight, gradWeight], [weight, momentWeight, gradWeight], 7, ranges)
      .launch('finish', sumWeight, step)
      .keep(64, carriedBytes - 64)
      .keep(0, 64)
      .inParts('updateRows', [embedding, gradEmbedding], [embedding, gradEmbedding], 5, ranges)
      .made({ updates: 'whole' }),
  ],
  arenaBytes: ranges + 6 * step7,
  stateBytes: used.state,
  carriedBytes,
  inputBytes: used.inputs,
  frozenCount: 1,
  storedCount: used.stored,
}

/** Moments of the three functions together but the last: what a pause can fall between. */
export const stepLaunches = storedProgram.functions.reduce((sum, fn) => sum + fn.launches.length, 0)

/** What a step carries over, and the counter that lies in memory. */
export interface StoredState {
  readonly weight: Float32Array
  readonly moment: Float32Array
  readonly embedding: Float32Array
  readonly step: number
}

export interface StoredBatch {
  readonly ids: Int32Array
  readonly x: Float32Array
}

const numbers = (length: number, first: number, modulus: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => (((index + first) * 31) % modulus) - Math.floor(modulus / 2))

export const baseValues = numbers(elements, 3, 9)

export function firstState(): StoredState {
  const moment = new Float32Array(elements)
  return { weight: numbers(elements, 1, 13), moment, embedding: numbers(vocabulary * width, 2, 11), step: 0 }
}

/** Ids that come more than once, and beside each other. */
export function storedBatch(number: number): StoredBatch {
  const named = [3, 3, 0, 18, 7, 3, 7, 7, 12, 18, (number * 5) % vocabulary]
  return { ids: Int32Array.from(named), x: numbers(count * width, number, 5) }
}

export function storedStep(state: StoredState, batches: readonly StoredBatch[]): StoredState {
  const sum = new Float32Array(elements)
  const sumTable = new Float32Array(vocabulary * width)
  for (const batch of batches) {
    for (let index = 0; index < elements; index++) sum[index]! += Math.fround(state.weight[index]! + baseValues[index]!)
    batch.ids.forEach((id, t) => {
      for (let c = 0; c < width; c++) {
        const product = Math.fround(state.embedding[id * width + c]! * batch.x[t * width + c]!)
        sumTable[id * width + c]! += product
      }
    })
  }
  const moment = state.moment.map((value, index) => Math.fround(0.5 * value + sum[index]!))
  return {
    moment,
    weight: state.weight.map((value, index) => Math.fround(value - Math.fround(0.0625 * moment[index]!))),
    embedding: state.embedding.map((value, index) => Math.fround(value - Math.fround(0.25 * sumTable[index]!))),
    step: state.step + 1,
  }
}
