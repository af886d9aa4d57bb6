// What a kernel means, executed literally: the reference that directives, vectorisation and every backend must agree
// with. It checks each access while it runs. It must not know how kernels are made, and is never on a training path.

import { InternalError } from '../diagnostic.ts'
import type { Scalars } from '../graph/scalars.ts'
import { bufferNamed, compileCount, compileExpr, compileIndex, compileOffset, faultOf } from './evaluate.ts'
import type { Access, Fault, LocalSlot, Scalar, State } from './evaluate.ts'
import { constantOf, equalIndex } from './index.ts'
import { gridOf, lanesOf } from './ir.ts'
import type { Buffer, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { argumentMemory, encoder, forkMemory, forgetWriters, localMemory, noteWrite, readFault } from './memory.ts'
import type { KernelArray, Memory } from './memory.ts'
import { printStatement, statementHead } from './print.ts'

export type { KernelArray } from './memory.ts'

export interface KernelRun {
  /** One array per argument, at least as long as the buffer; f16 and bf16 as raw bits. Written in place. */
  readonly buffers: ReadonlyMap<string, KernelArray>
  readonly sizes: Readonly<Record<string, number>>
  readonly arithmetic: Scalars<number>
  /** The order in which the flattened grid iterations run, of each phase: a permutation of 0 … count − 1. */
  readonly gridOrder?: (count: number) => readonly number[]
}

/** Runs to the end, or as a generator that stops at each barrier. */
interface Runner {
  readonly run: (state: State) => void
  readonly steps: ((state: State) => Generator<Stmt, void>) | undefined
}

const MOST_GRID_ITERATIONS = 2 ** 24

/**
 * Runs a kernel, before or after vectorisation. Lane and unroll loops run as plain loops, grid iterations one by one,
 * the invocations of a workgroup one by one from barrier to barrier.
 * @throws InternalError for an access outside a buffer, a read of what was not written (memory of a thread starts
 * unwritten in each grid iteration, `write` arguments in the run), grid iterations that touch each other's results, a
 * loaded index beyond its bound, barriers that not all invocations reach, and for arrays or sizes that do not fit
 */
export function runKernel(kernel: Kernel, run: KernelRun): void {
  new Interpreter(kernel, run).run()
}

class Interpreter {
  readonly #kernel: Kernel
  readonly #run: KernelRun
  readonly #sizes = new Map<string, number>()
  readonly #buffers = new Map<string, { slot: number; buffer: Buffer }>()
  readonly #variables = new Map<string, number>()
  #locals: ReadonlyMap<string, LocalSlot> = new Map()
  #variableCount = 0
  #scalarCount = 0
  readonly #vectorLanes: number[] = []
  #insideWorkgroup = false

  constructor(kernel: Kernel, run: KernelRun) {
    this.#kernel = kernel
    this.#run = run
    for (const { name, bound } of kernel.sizes) {
      const value = run.sizes[name]
      if (value === undefined || !Number.isInteger(value) || value < 1 || value > bound) {
        throw new InternalError(`kernel ${kernel.name}: size '${name}' is ${value}, not in [1, ${bound}]`)
      }
      this.#sizes.set(name, value)
    }
    for (const buffer of [...kernel.arguments, ...kernel.locals]) {
      this.#buffers.set(buffer.name, { slot: this.#buffers.size, buffer })
    }
  }

  run(): void {
    const { phase, loops, body } = gridOf(this.#kernel.body)
    // A phase's grid may depend on it no more than on anything else that varies.
    const phases = phase ? this.#phases(phase) : [undefined]
    const extents: Scalar[] = []
    const slots: number[] = []
    for (const loop of loops) {
      extents.push(compileIndex(loop.extent, this.#names(), this.#faultAt(loop)))
      slots.push(this.#openLoop(loop.variable))
    }
    const runner = this.#block(body)
    const state = this.#state()
    for (const begin of phases) {
      begin?.(state)
      state.memories.forEach(forgetWriters)
      const places = this.#gridPlaces(state, extents, slots)
      for (const place of this.#order(places.length)) {
        for (const [depth, slot] of slots.entries()) state.variables[slot] = places[place]?.[depth] ?? 0
        state.iteration++
        runner.run(state)
      }
    }
  }

  /** What sets each value of the phase's variable, in order. */
  #phases(phase: Loop): ((state: State) => void)[] {
    const extent = constantOf(phase.extent) ?? this.#faultAt(phase)('the extent of a phase varies')
    const slot = this.#openLoop(phase.variable)
    return Array.from({ length: extent }, (_, value) => (state) => {
      state.variables[slot] = value
    })
  }

  #order(count: number): Iterable<number> {
    const order = this.#run.gridOrder?.(count)
    if (!order) return Array.from({ length: count }, (_, place) => place)
    const seen = new Set(order.filter((place) => Number.isInteger(place) && place >= 0 && place < count))
    if (order.length !== count || seen.size !== count) {
      throw new InternalError(`kernel ${this.#kernel.name}: the grid order is no permutation of ${count} iterations`)
    }
    return order
  }

  #gridPlaces(state: State, extents: readonly Scalar[], slots: readonly number[]): number[][] {
    const places: number[][] = []
    const walk = (depth: number, place: readonly number[]): void => {
      const extent = extents[depth]
      const slot = slots[depth]
      if (!extent || slot === undefined) {
        if (places.length >= MOST_GRID_ITERATIONS)
          throw new InternalError(`kernel ${this.#kernel.name}: the grid is too large to interpret`)
        places.push([...place])
        return
      }
      const count = extent(state)
      for (let value = 0; value < count; value++) {
        state.variables[slot] = value
        walk(depth + 1, [...place, value])
      }
    }
    walk(0, [])
    return places
  }

  #state(): State {
    const { buffers } = this.#run
    const memories = [...this.#buffers.values()].map(({ buffer }) =>
      buffer.space === 'argument' ? argumentMemory(buffer, buffers.get(buffer.name)) : localMemory(buffer),
    )
    return {
      variables: new Float64Array(this.#variableCount),
      scalars: new Float64Array(this.#scalarCount),
      vectors: this.#vectorLanes.map((lanes) => new Float64Array(lanes)),
      memories,
      iteration: 0,
    }
  }

  #names() {
    const { arithmetic } = this.#run
    // Copied: a closure that is made later must not see names that end before it.
    return {
      kernel: this.#kernel.name,
      sizes: this.#sizes,
      variables: new Map(this.#variables),
      locals: this.#locals,
      buffers: this.#buffers,
      arithmetic,
    }
  }

  #faultAt(stmt: Stmt): Fault {
    return faultOf(this.#kernel.name, () => statementHead(stmt))
  }

  #openLoop(name: string): number {
    const slot = this.#variableCount++
    this.#variables.set(name, slot)
    return slot
  }

  #block(body: readonly Stmt[]): Runner {
    const outer = this.#locals
    const runners = body.map((stmt) => this.#statement(stmt))
    this.#locals = outer
    const [only] = runners
    if (only && runners.length === 1) return only
    const run = (state: State): void => {
      for (const runner of runners) runner.run(state)
    }
    if (runners.every((runner) => !runner.steps)) return { run, steps: undefined }
    const steps = function* (state: State): Generator<Stmt, void> {
      for (const runner of runners) {
        if (runner.steps) yield* runner.steps(state)
        else runner.run(state)
      }
    }
    return { run, steps }
  }

  #statement(stmt: Stmt): Runner {
    switch (stmt.kind) {
      case 'for':
        if (stmt.binding === 'grid' || stmt.binding === 'phase')
          return this.#faultAt(stmt)(`a ${stmt.binding} loop is not outermost and perfectly nested`)
        return stmt.binding === 'local' ? this.#workgroup(stmt) : this.#loop(stmt)
      case 'if':
        return this.#guard(stmt)
      case 'let':
        return this.#let(stmt)
      case 'store':
        return { run: this.#store(stmt), steps: undefined }
      case 'transpose':
        return { run: this.#transpose(stmt), steps: undefined }
      case 'prefetch':
        return { run: () => undefined, steps: undefined }
      case 'barrier': {
        const steps = function* (): Generator<Stmt, void> {
          yield stmt
        }
        return { run: () => undefined, steps }
      }
    }
  }

  #loop(loop: Loop): Runner {
    const extent = compileIndex(loop.extent, this.#names(), this.#faultAt(loop))
    const slot = this.#openLoop(loop.variable)
    const body = this.#block(loop.body)
    this.#variables.delete(loop.variable)
    const run = (state: State): void => {
      const count = extent(state)
      for (let value = 0; value < count; value++) {
        state.variables[slot] = value
        body.run(state)
      }
    }
    const inner = body.steps
    if (!inner) return { run, steps: undefined }
    const steps = function* (state: State): Generator<Stmt, void> {
      const count = extent(state)
      for (let value = 0; value < count; value++) {
        state.variables[slot] = value
        yield* inner(state)
      }
    }
    return { run, steps }
  }

  #guard(stmt: Extract<Stmt, { kind: 'if' }>): Runner {
    const fault = this.#faultAt(stmt)
    const conditions = stmt.conditions.map(({ left, right }): [Scalar, Scalar] => [
      compileIndex(left, this.#names(), fault),
      compileIndex(right, this.#names(), fault),
    ])
    const holds = (state: State): boolean => {
      for (const [left, right] of conditions) if (left(state) >= right(state)) return false
      return true
    }
    const body = this.#block(stmt.body)
    const run = (state: State): void => {
      if (holds(state)) body.run(state)
    }
    const inner = body.steps
    if (!inner) return { run, steps: undefined }
    const steps = function* (state: State): Generator<Stmt, void> {
      if (holds(state)) yield* inner(state)
    }
    return { run, steps }
  }

  #let(stmt: Extract<Stmt, { kind: 'let' }>): Runner {
    const value = compileExpr(stmt.value, this.#names(), this.#faultAt(stmt))
    const lanes = lanesOf(stmt.value)
    if (lanes === 1) {
      const slot = this.#scalarCount++
      this.#locals = new Map([...this.#locals, [stmt.name, { slot, lanes }]])
      return { run: (state) => void (state.scalars[slot] = value.scalar(state)), steps: undefined }
    }
    const slot = this.#vectorLanes.push(lanes) - 1
    this.#locals = new Map([...this.#locals, [stmt.name, { slot, lanes }]])
    return { run: (state) => state.vectors[slot]?.set(value.vector(state)), steps: undefined }
  }

  #store(stmt: Extract<Stmt, { kind: 'store' }>): (state: State) => void {
    const fault = this.#faultAt(stmt)
    const names = this.#names()
    const { slot, buffer } = bufferNamed(stmt.buffer, names, fault)
    const offset = compileOffset(stmt, names, fault)
    const count = compileCount(stmt, names, fault)
    const encode = encoder(buffer.dtype)
    const put = (state: State, place: number, value: number): void => {
      const memory = state.memories[slot] as Memory
      const wrong = noteWrite(memory, place, state.iteration)
      if (wrong !== undefined) fault(wrong)
      memory.data[place] = encode(value)
    }
    const kept = keptPart(stmt)
    const value = compileExpr(kept?.value ?? stmt.value, names, fault)
    if (value.lanes !== stmt.lanes) fault(`a value of ${value.lanes} lanes is stored into ${stmt.lanes}`)
    const condition = kept && compileExpr(kept.condition, names, fault)
    const wanted = kept?.when === false ? 0 : 1
    if (stmt.lanes === 1) {
      return (state) => {
        if (count(state) < 1) return
        const stored = value.scalar(state)
        const place = offset(state, 1)
        if (!condition || condition.scalar(state) === wanted) put(state, place, stored)
      }
    }
    return (state) => {
      const inside = count(state)
      if (inside < 1) return
      const stored = value.vector(state)
      const mask = condition?.vector(state)
      const start = offset(state, inside)
      for (let lane = 0; lane < inside; lane++) {
        if (!mask || mask[lane] === wanted) put(state, start + lane, stored[lane] as number)
      }
    }
  }

  #transpose(stmt: Extract<Stmt, { kind: 'transpose' }>): (state: State) => void {
    const fault = this.#faultAt(stmt)
    const { slot, buffer } = bufferNamed(stmt.buffer, this.#names(), fault)
    const size = buffer.dims[0]?.size ?? 0
    return (state) => {
      const memory = state.memories[slot] as Memory
      for (let offset = 0; offset < size * size; offset++) {
        const wrong = readFault(memory, offset, state.iteration)
        if (wrong !== undefined) fault(wrong)
      }
      const old = memory.data.slice()
      for (let row = 0; row < size; row++) {
        for (let column = 0; column < size; column++) memory.data[row * size + column] = old[column * size + row] ?? 0
      }
    }
  }

  /** Perfectly nested local loops are one workgroup; each invocation has scratch, registers and values of its own. */
  #workgroup(first: Loop): Runner {
    if (this.#insideWorkgroup) return this.#innerLocal(first)
    const loops: Loop[] = []
    let body: readonly Stmt[] = [first]
    for (let next = body[0]; body.length === 1 && next?.kind === 'for' && next.binding === 'local'; next = body[0]) {
      loops.push(next)
      body = next.body
    }
    const extents: Scalar[] = []
    const slots: number[] = []
    for (const loop of loops) {
      extents.push(compileIndex(loop.extent, this.#names(), this.#faultAt(loop)))
      slots.push(this.#openLoop(loop.variable))
    }
    this.#insideWorkgroup = true
    const runner = this.#block(body)
    this.#insideWorkgroup = false
    for (const loop of loops) this.#variables.delete(loop.variable)
    const shared = (memory: Memory): boolean =>
      memory.buffer.space === 'argument' || memory.buffer.space === 'workgroup'
    const fork = (state: State, place: readonly number[]): State => {
      const variables = state.variables.slice()
      for (const [depth, slot] of slots.entries()) variables[slot] = place[depth] ?? 0
      return {
        variables,
        scalars: state.scalars.slice(),
        vectors: state.vectors.map((vector) => vector.slice()),
        memories: state.memories.map((memory) => (shared(memory) ? memory : forkMemory(memory))),
        iteration: state.iteration,
      }
    }
    const run = (state: State): void => {
      const invocations = this.#gridPlaces(state, extents, slots).map((place) => fork(state, place))
      if (runner.steps) this.#inPhases(first, invocations.map(runner.steps))
      else for (const invocation of invocations) runner.run(invocation)
    }
    return { run, steps: undefined }
  }

  #innerLocal(loop: Loop): Runner {
    const runner = this.#loop(loop)
    if (runner.steps) this.#faultAt(loop)('a barrier inside local loops that are not perfectly nested')
    return runner
  }

  /** Lets every invocation run to its next barrier, again and again until all end. */
  #inPhases(loop: Loop, invocations: readonly Generator<Stmt, void>[]): void {
    for (;;) {
      const results = invocations.map((invocation) => invocation.next())
      const barriers = new Set(results.map((result) => (result.done ? undefined : result.value)))
      if (barriers.size > 1) this.#faultAt(loop)(`not all invocations meet at a barrier of\n${printStatement(loop)}`)
      if (results.every((result) => result.done)) return
    }
  }
}

interface KeptPart {
  readonly condition: Expr
  readonly value: Expr
  /** The condition under which `value` is written. */
  readonly when: boolean
}

/**
 * `r[i] = select(c, v, r[i])`: lanes that keep what they hold are not read, so that a register may be filled in parts.
 */
function keptPart(stmt: Extract<Stmt, { kind: 'store' }>): KeptPart | undefined {
  const { value } = stmt
  if (value.kind !== 'apply' || (value.word !== 'select' && value.word !== 'intSelect')) return undefined
  const [condition, whenTrue, whenFalse] = value.args
  if (!condition || !whenTrue || !whenFalse) return undefined
  if (isSamePlace(stmt, whenFalse)) return { condition, value: whenTrue, when: true }
  return isSamePlace(stmt, whenTrue) ? { condition, value: whenFalse, when: false } : undefined
}

function isSamePlace(access: Access, expr: Expr): boolean {
  if (expr.kind !== 'load' || expr.buffer !== access.buffer || expr.lanes !== access.lanes || expr.valid) return false
  return expr.indices.every((index, place) => {
    const other = access.indices[place]
    return other !== undefined && equalIndex(index, other)
  })
}
