// Indices and expressions of the kernel IR as closures over a run's state: what the interpreter does most of the time.
// It must not know statements; faults name the statement through the `Fault` it is given.

import type { Scalars } from '../graph/scalars.ts'
import { InternalError } from '../diagnostic.ts'
import type { Atom, Index } from './index.ts'
import type { Buffer, Expr } from './ir.ts'
import { lanesOf } from './ir.ts'
import { decoder, readFault } from './memory.ts'
import type { Memory } from './memory.ts'
import { printExpr, printIndex } from './print.ts'

/** What one thread or invocation sees. */
export interface State {
  readonly variables: Float64Array
  /** Values of scalar lets by slot. */
  readonly scalars: Float64Array
  /** Values of vector lets by slot. */
  readonly vectors: Float64Array[]
  readonly memories: Memory[]
  /** The grid iteration that runs, counted from 1. */
  iteration: number
}

export type Scalar = (state: State) => number
/** The result belongs to the closure and holds until it is called again. */
export type Vector = (state: State) => Float64Array
export type Fault = (reason: string) => never

export interface Evaluator {
  readonly lanes: number
  readonly scalar: Scalar
  readonly vector: Vector
}

export interface LocalSlot {
  readonly slot: number
  readonly lanes: number
}

/** Names in scope while closures are made. */
export interface Names {
  readonly kernel: string
  readonly sizes: ReadonlyMap<string, number>
  readonly variables: ReadonlyMap<string, number>
  readonly locals: ReadonlyMap<string, LocalSlot>
  readonly buffers: ReadonlyMap<string, { readonly slot: number; readonly buffer: Buffer }>
  readonly arithmetic: Scalars<number>
}

export interface Access {
  readonly buffer: string
  readonly indices: readonly Index[]
  readonly lanes: number
  readonly valid?: Index
}

export function compileIndex(index: Index, names: Names, fault: Fault): Scalar {
  let constant = index.constant
  const slots: number[] = []
  const scales: number[] = []
  const others: Scalar[] = []
  for (const { scale, atom } of index.terms) {
    if (atom.kind === 'size') {
      constant += scale * (names.sizes.get(atom.name) ?? fault(`there is no size '${atom.name}'`))
    } else if (atom.kind === 'variable') {
      slots.push(names.variables.get(atom.name) ?? fault(`no loop over '${atom.name}' is open`))
      scales.push(scale)
    } else {
      const value = compileAtom(atom, names, fault)
      others.push((state) => scale * value(state))
    }
  }
  return linearCombination(constant, slots, scales, others)
}

/** Most indices have at most two plain terms; those avoid a loop. */
function linearCombination(constant: number, slots: number[], scales: number[], others: Scalar[]): Scalar {
  const [first = 0, second = 0] = slots
  const [a = 0, b = 0] = scales
  if (others.length === 0) {
    if (slots.length === 0) return () => constant
    if (slots.length === 1) return ({ variables }) => constant + a * (variables[first] as number)
    if (slots.length === 2) {
      return ({ variables }) => constant + a * (variables[first] as number) + b * (variables[second] as number)
    }
  }
  return (state) => {
    let sum = constant
    for (let term = 0; term < slots.length; term++) {
      sum += (scales[term] as number) * (state.variables[slots[term] as number] as number)
    }
    for (const other of others) sum += other(state)
    return sum
  }
}

function compileAtom(atom: Exclude<Atom, { kind: 'variable' | 'size' }>, names: Names, fault: Fault): Scalar {
  switch (atom.kind) {
    case 'div': {
      const value = compileIndex(atom.value, names, fault)
      return (state) => Math.floor(value(state) / atom.by)
    }
    case 'mod': {
      const value = compileIndex(atom.value, names, fault)
      return (state) => {
        const dividend = value(state)
        return dividend - atom.by * Math.floor(dividend / atom.by)
      }
    }
    case 'min': {
      const left = compileIndex(atom.left, names, fault)
      const right = compileIndex(atom.right, names, fault)
      return (state) => Math.min(left(state), right(state))
    }
    case 'value': {
      const value = compileExpr(atom.value, names, fault).scalar
      return (state) => {
        const loaded = value(state)
        if (loaded >= 0 && loaded < atom.below) return loaded
        return fault(`${printExpr(atom.value)} is ${loaded}, not in [0, ${atom.below})`)
      }
    }
  }
}

/** The offset of an access's first element, once all its `count` lanes are known to lie inside. */
export function compileOffset(access: Access, names: Names, fault: Fault): (state: State, count: number) => number {
  const { buffer } = bufferNamed(access.buffer, names, fault)
  const { dims } = buffer
  const indices = access.indices.map((index) => compileIndex(index, names, fault))
  if (indices.length !== dims.length) fault(`'${buffer.name}' has ${dims.length} dimensions, not ${indices.length}`)
  if (access.lanes > 1 && dims.at(-1)?.stride !== 1) fault(`the elements of '${buffer.name}' are no neighbours`)
  const sizes = dims.map((dim) => dim.size)
  const strides = dims.map((dim) => dim.stride)
  const last = dims.length - 1
  return (state, count) => {
    let offset = 0
    for (let place = 0; place <= last; place++) {
      const value = (indices[place] as Scalar)(state)
      const end = place === last ? value + count : value + 1
      if (value < 0 || end > (sizes[place] as number)) {
        const text = printIndex(access.indices[place] as Index)
        fault(
          `index ${text} of '${buffer.name}' is ${value}${end > value + 1 ? ` to ${end - 1}` : ''}, outside [0, ${sizes[place]})`,
        )
      }
      offset += value * (strides[place] as number)
    }
    return offset
  }
}

/** How many lanes of an access lie inside: all of them, or what `valid` says. */
export function compileCount(access: Access, names: Names, fault: Fault): Scalar {
  const { lanes } = access
  if (!access.valid) return () => lanes
  const valid = compileIndex(access.valid, names, fault)
  return (state) => Math.max(0, Math.min(lanes, valid(state)))
}

export function bufferNamed(
  name: string,
  names: Names,
  fault: Fault,
): { readonly slot: number; readonly buffer: Buffer } {
  return names.buffers.get(name) ?? fault(`there is no buffer '${name}'`)
}

function onlyScalar(scalar: Scalar, fault: Fault): Evaluator {
  return { lanes: 1, scalar, vector: () => fault('a scalar stands where a vector is wanted') }
}

function onlyVector(lanes: number, vector: Vector, fault: Fault): Evaluator {
  return { lanes, scalar: () => fault('a vector stands where a scalar is wanted'), vector }
}

/** Fills a vector of its own on each call. */
function filling(lanes: number, fill: (state: State, into: Float64Array) => void, fault: Fault): Evaluator {
  const into = new Float64Array(lanes)
  return onlyVector(
    lanes,
    (state) => {
      fill(state, into)
      return into
    },
    fault,
  )
}

export function compileExpr(expr: Expr, names: Names, fault: Fault): Evaluator {
  const { arithmetic } = names
  switch (expr.kind) {
    case 'constant': {
      const value =
        expr.type === 'f32'
          ? arithmetic.float(expr.value)
          : expr.type === 'i32'
            ? arithmetic.int(expr.value)
            : expr.value
      return onlyScalar(() => value, fault)
    }
    case 'index':
      return onlyScalar(compileIndex(expr.index, names, fault), fault)
    case 'local': {
      const { slot, lanes } = names.locals.get(expr.name) ?? fault(`'${expr.name}' is not defined here`)
      if (lanes === 1) return onlyScalar((state) => state.scalars[slot] as number, fault)
      return onlyVector(lanes, (state) => state.vectors[slot] as Float64Array, fault)
    }
    case 'load':
      return compileLoad(expr, names, fault)
    case 'apply':
      return compileApply(expr, names, fault)
    case 'splat': {
      const { scalar } = compileExpr(expr.value, names, fault)
      return expr.lanes === 1
        ? onlyScalar(scalar, fault)
        : filling(expr.lanes, (state, into) => into.fill(scalar(state)), fault)
    }
    case 'ramp': {
      const first = compileIndex(expr.index, names, fault)
      if (expr.lanes === 1) return onlyScalar(first, fault)
      const fill = (state: State, into: Float64Array): void => {
        const start = first(state)
        for (let lane = 0; lane < into.length; lane++) into[lane] = start + lane
      }
      return filling(expr.lanes, fill, fault)
    }
    case 'pack': {
      const lanes = expr.args.map((arg) => compileExpr(arg, names, fault).scalar)
      const [only] = lanes
      if (only && lanes.length === 1) return onlyScalar(only, fault)
      const fill = (state: State, into: Float64Array): void => {
        for (let lane = 0; lane < into.length; lane++) into[lane] = (lanes[lane] as Scalar)(state)
      }
      return filling(lanes.length, fill, fault)
    }
    case 'tree':
      return compileTree(expr, names, fault)
  }
}

function compileLoad(expr: Extract<Expr, { kind: 'load' }>, names: Names, fault: Fault): Evaluator {
  const { slot, buffer } = bufferNamed(expr.buffer, names, fault)
  const offset = compileOffset(expr, names, fault)
  const count = compileCount(expr, names, fault)
  const decode = decoder(buffer.dtype)
  const element = (state: State, place: number): number => {
    const memory = state.memories[slot] as Memory
    const wrong = readFault(memory, place, state.iteration)
    if (wrong !== undefined) fault(wrong)
    return decode(memory.data[place] as number)
  }
  if (expr.lanes === 1) {
    if (!expr.valid) return onlyScalar((state) => element(state, offset(state, 1)), fault)
    return onlyScalar((state) => (count(state) > 0 ? element(state, offset(state, 1)) : 0), fault)
  }
  const fill = (state: State, into: Float64Array): void => {
    const inside = count(state)
    const start = inside > 0 ? offset(state, inside) : 0
    for (let lane = 0; lane < inside; lane++) into[lane] = element(state, start + lane)
    into.fill(0, inside)
  }
  return filling(expr.lanes, fill, fault)
}

function compileApply(expr: Extract<Expr, { kind: 'apply' }>, names: Names, fault: Fault): Evaluator {
  const { arithmetic } = names
  const meaning = arithmetic[expr.word].bind(arithmetic) as (...args: number[]) => number
  const args = expr.args.map((arg) => compileExpr(arg, names, fault))
  if (args.some((arg) => arg.lanes !== expr.lanes))
    fault(`the operands of ${expr.word} have ${expr.args.map(lanesOf).join(', ')} lanes`)
  const { bits = 0, lanes } = expr
  const [a, b, c] = args
  if (!a) return fault(`${expr.word} has no operands`)
  if (lanes === 1) {
    const [x, y, z] = [a.scalar, b?.scalar, c?.scalar]
    if (y && z) return onlyScalar((state) => meaning(x(state), y(state), z(state)), fault)
    if (y) return onlyScalar((state) => meaning(x(state), y(state)), fault)
    return onlyScalar((state) => meaning(x(state), bits), fault)
  }
  const fill = (state: State, into: Float64Array): void => {
    const x = a.vector(state)
    const y = b?.vector(state)
    const z = c?.vector(state)
    for (let lane = 0; lane < lanes; lane++) {
      into[lane] =
        y && z
          ? meaning(x[lane] as number, y[lane] as number, z[lane] as number)
          : meaning(x[lane] as number, y ? (y[lane] as number) : bits)
    }
  }
  return filling(lanes, fill, fault)
}

function compileTree(expr: Extract<Expr, { kind: 'tree' }>, names: Names, fault: Fault): Evaluator {
  const { slot, buffer } = bufferNamed(expr.buffer, names, fault)
  const stride = buffer.dims[0]?.stride ?? 0
  if (buffer.dims.length !== 1 || buffer.dims[0]?.size !== 16) fault(`a tree needs 16 elements in '${buffer.name}'`)
  const { arithmetic } = names
  const partial = new Float64Array(16)
  return onlyScalar((state) => {
    const memory = state.memories[slot] as Memory
    for (let place = 0; place < 16; place++) {
      const wrong = readFault(memory, place * stride, state.iteration)
      if (wrong !== undefined) fault(wrong)
      partial[place] = memory.data[place * stride] as number
    }
    for (let half = 8; half >= 1; half /= 2) {
      for (let place = 0; place < half; place++) {
        const [left, right] = [partial[place] as number, partial[place + half] as number]
        partial[place] = expr.word === 'add' ? arithmetic.add(left, right) : arithmetic.max(left, right)
      }
    }
    return partial[0] as number
  }, fault)
}

/** Fault that names a kernel and a statement. */
export function faultOf(kernel: string, statement: () => string): Fault {
  return (reason) => {
    throw new InternalError(`kernel ${kernel} at '${statement()}': ${reason}`)
  }
}
