// The session over any device: names, shapes, sizes and ids are checked here, operations queue up here, and pauses are
// kept here, so that devices only move bytes and run. Knows no particular device.

import { InternalError, UserError } from '../../../compiler/diagnostic.ts'
import type { Program, ProgramValue } from '../../../compiler/plan/program.ts'
import type { Device, Run, RunResult } from './device.ts'
import type { Decision, EnergyUse, GovernorPolicy } from './governor.ts'
import { idBounds } from './ids.ts'
import { Abandoned } from './session.ts'
import type {
  KeptState, Session, SessionDescription, SessionStats, Sizes, StepOutcome, TensorData,
} from './session.ts' // prettier-ignore
import { keptValues } from './stateFile.ts'

/** Of a session, for those who read about it and for what it keeps. */
export interface SessionAbout {
  readonly toolchain: string
  readonly isa: string
  readonly threads: number
  /** The state file of a program that has values in storage. */
  readonly stateFile?: string | undefined
}

type Finished = { readonly status: 'ok' } | Extract<RunResult, { readonly status: 'notFinite' }>

export class CheckedSession implements Session {
  readonly #program: Program
  readonly #device: Device
  readonly #about: SessionAbout
  readonly #values: ReadonlyMap<string, ProgramValue>
  readonly #idBounds: ReadonlyMap<string, number>
  /** Trainable values that nobody has written: a call would compute with zeros. */
  readonly #unwritten: Set<string>
  /** What an update changes. */
  readonly #updated: ReadonlySet<string>
  /** An update is owed. */
  #owes = false
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #goOn: (() => void) | undefined
  #pauseWatchers: ((isPaused: boolean) => void)[] = []
  #closing: Promise<void> | undefined

  constructor(program: Program, device: Device, about: SessionAbout) {
    this.#program = program
    this.#device = device
    this.#about = about
    this.#values = new Map(
      program.values.filter((value) => value.place.space !== 'frozen').map((value) => [value.name, value]),
    )
    this.#idBounds = idBounds(program)
    this.#updated = writtenBy(program, 'apply')
    this.#unwritten = new Set(
      [...this.#values.values()].filter((value) => value.role === 'trainable').map((value) => value.name),
    )
  }

  describe(): SessionDescription {
    const { name, sizes, values, functions } = this.#program
    const { toolchain, isa, threads } = this.#about
    return {
      program: name,
      toolchain,
      isa,
      threads,
      memoryBytes: this.#device.memoryBytes,
      sizes: sizes.map((size) => ({ ...size })),
      values: values.map(({ name: valueName, role, dtype, shape }) => ({ name: valueName, role, dtype, shape })),
      functions: functions.map((fn) => ({ name: fn.name, outputs: fn.outputs.map((output) => output.name) })),
    }
  }

  write(name: string, data: TensorData, shape?: readonly number[]): Promise<void> {
    return this.#queue(async () => {
      const value = this.#value(name)
      checkKind(value, data)
      const whole = shape === undefined ? data : inCorner(value, data, shape)
      const elements = elementsOf(value.shape)
      if (whole.length !== elements) {
        throw new UserError('HD713', `'${name}' has ${elements} elements, ${whole.length} were given`)
      }
      this.#checkIds(name, whole)
      if (value.role !== 'input') await this.#settle()
      await this.#device.write(name, new Uint8Array(whole.buffer, whole.byteOffset, whole.byteLength))
      this.#unwritten.delete(name)
    })
  }

  read(name: string): Promise<TensorData> {
    return this.#queue(async () => {
      const value = this.#value(name)
      if (this.#updated.has(name)) await this.#settle()
      return asTensor(value.name, value.dtype, await this.#device.read(name))
    })
  }

  output(fn: string, name: string): Promise<TensorData> {
    return this.#queue(async () => {
      const output = this.#function(fn).outputs.find((one) => one.name === name)
      if (!output) throw new InternalError(`function '${fn}' has no output '${name}'`)
      return asTensor(name, output.dtype, await this.#device.output(fn, name))
    })
  }

  call(fn: string, sizes: Sizes): Promise<void> {
    return this.#queue(async () => {
      this.#function(fn)
      await this.#settle()
      const result = await this.#run({ call: fn }, sizes)
      if (result.status !== 'ok') throw new InternalError(`function '${fn}' came back as ${result.status}`)
    })
  }

  step(sizes: Sizes, part: 'more' | 'last', verify?: () => void): Promise<StepOutcome> {
    return this.#queue(async (): Promise<StepOutcome> => {
      for (const needed of ['accumulate', 'measure', 'apply']) this.#function(needed)
      const isLater = part === 'last' && this.#program.functions.some(({ name }) => name === 'advance')
      const isUpdatedHere = part === 'last' && !isLater
      const first = await this.#run({ step: isLater ? 'later' : isUpdatedHere && verify ? 'more' : part }, sizes)
      this.#owes = isLater && first.status === 'ok'
      if (part === 'last') verify?.()
      const result = isUpdatedHere && verify ? await this.#run({ step: 'end' }, sizes) : first
      if (result.status !== 'notFinite') return { status: 'ok' }
      return { status: 'notFinite', value: result.value, message: notFiniteSentence(result.value) }
    })
  }

  pause(launches = 1): void {
    checkLaunches(launches, 1)
    this.#device.pauseAfter(launches)
  }

  paused(): Promise<boolean> {
    if (this.#goOn) return Promise.resolve(true)
    if (this.#waiting === 0) return Promise.resolve(false)
    return new Promise((resolve) => this.#pauseWatchers.push(resolve))
  }

  resume(launches = 0): void {
    checkLaunches(launches, 0)
    this.#device.pauseAfter(launches)
    const goOn = this.#goOn
    this.#goOn = undefined
    goOn?.()
  }

  govern(policy: GovernorPolicy | undefined, tell: (decision: Decision) => void = () => {}): Promise<void> {
    return this.#queue(() => this.#device.govern(policy, tell))
  }

  energy(): Promise<EnergyUse> {
    return this.#queue(() => this.#device.energy())
  }

  finish(): void {
    this.#device.finish()
  }

  stats(): Promise<SessionStats> {
    return this.#queue(() => this.#device.stats())
  }

  keep(): Promise<KeptState> {
    return this.#queue(async () => {
      await this.#settle()
      return this.#kept()
    })
  }

  owes(): Promise<boolean> {
    return this.#queue(() => Promise.resolve(this.#owes))
  }

  keepStanding(): Promise<KeptState> {
    return this.#queue(() => this.#kept())
  }

  close(): Promise<void> {
    if (this.#closing) return this.#closing
    this.#device.pauseAfter(0)
    // What is held would be waited for.
    this.#device.finish()
    const goOn = this.#goOn
    this.#goOn = undefined
    // A paused call would hold the queue for ever: its device ends first, and going on then fails.
    this.#closing = goOn ? this.#device.close().finally(goOn) : this.#queue(() => this.#device.close())
    return this.#closing
  }

  async #kept(): Promise<KeptState> {
    const { stateFile } = this.#about
    if (stateFile === undefined) throw new InternalError('the program has no value in storage')
    const { version, slot, sum } = await this.#device.keep()
    return { file: stateFile, version, sum, values: keptValues(this.#program, slot) }
  }

  /** Makes the update that is owed. */
  async #settle(): Promise<void> {
    if (!this.#owes) return
    await this.#finished(await this.#device.run({ settle: true }, []))
    this.#owes = false
  }

  /** Runs operations one after another; a failed one does not stop the next. */
  #queue<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closing) return Promise.reject(new InternalError('the session is closed'))
    this.#waiting++
    const result = this.#tail.then(operation)
    this.#tail = result.then(
      () => this.#done(),
      () => this.#done(),
    )
    return result
  }

  #done(): void {
    this.#waiting--
    if (this.#waiting === 0) this.#tellWatchers(false)
  }

  #tellWatchers(isPaused: boolean): void {
    const watchers = this.#pauseWatchers
    this.#pauseWatchers = []
    watchers.forEach((tell) => tell(isPaused))
  }

  async #run(run: Run, sizes: Sizes): Promise<Finished> {
    const [missing] = this.#unwritten
    if (missing !== undefined) throw new InternalError(`'${missing}' was never written`)
    return this.#finished(await this.#device.run(run, this.#orderedSizes(sizes)))
  }

  async #finished(first: RunResult): Promise<Finished> {
    let result = first
    while (result.status === 'paused') {
      await new Promise<void>((goOn) => {
        this.#goOn = goOn
        this.#tellWatchers(true)
      })
      result = await this.#device.resume()
    }
    if (result.status === 'storageFailed') throw result.error
    if (result.status === 'refused') throw new InternalError(`the run-time refused: ${result.message}`)
    if (result.status === 'abandoned') throw new Abandoned()
    return result.status === 'notFinite' ? result : { status: 'ok' }
  }

  #orderedSizes(sizes: Sizes): number[] {
    const known = this.#program.sizes
    const unknown = Object.keys(sizes).find((name) => !known.some((size) => size.name === name))
    if (unknown !== undefined) throw new InternalError(`the program has no size '${unknown}'`)
    return known.map(({ name, bound }) => {
      const size = sizes[name]
      if (size !== undefined && Number.isInteger(size) && size >= 1 && size <= bound) return size
      const given = size === undefined ? 'is missing' : `is ${size}`
      throw new UserError('HD712', `size '${name}' ${given}; the program was compiled for 1 to ${bound}`)
    })
  }

  #value(name: string): ProgramValue {
    const value = this.#values.get(name)
    if (!value) throw new InternalError(`the program has no state, trainable value or input '${name}'`)
    return value
  }

  #function(name: string): Program['functions'][number] {
    const fn = this.#program.functions.find((one) => one.name === name)
    if (!fn) throw new InternalError(`the program has no function '${name}'`)
    return fn
  }

  #checkIds(name: string, data: TensorData): void {
    const bound = this.#idBounds.get(name)
    if (bound === undefined) return
    const wrong = data.findIndex((id: number) => !(id >= 0 && id < bound))
    if (wrong < 0) return
    throw new UserError(
      'HD714',
      `'${name}' holds the id ${data[wrong]} at place ${wrong}; ids go from 0 to ${bound - 1}`,
    )
  }
}

/** Values that a function writes; none where there is no such function. */
function writtenBy({ functions, kernels, values }: Program, name: string): Set<string> {
  const key = (place: ProgramValue['place']): string =>
    `${place.space} ${'index' in place ? place.index : place.offset}`
  const written = new Set<string>()
  for (const { kernel, arguments: places } of functions.find((fn) => fn.name === name)?.launches ?? []) {
    kernels[kernel]?.arguments.forEach(({ access }, argument) => {
      const place = places[argument]
      if (place && access !== 'read') written.add(key(place))
    })
  }
  return new Set(values.filter(({ place }) => written.has(key(place))).map((value) => value.name))
}

function notFiniteSentence(value: string): string {
  if (value === 'report/loss') return 'the loss is not finite; nothing was updated'
  if (value.startsWith('norm2/')) return `the gradient of '${value.slice(6)}' is not finite; nothing was updated`
  return 'the norm of the gradients is not finite; nothing was updated'
}

function checkLaunches(launches: number, least: number): void {
  if (!Number.isInteger(launches) || launches < least || launches > 2 ** 31 - 1) {
    throw new InternalError(`cannot pause after ${launches} launches`)
  }
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

function checkKind(value: ProgramValue, data: TensorData): void {
  const wanted = value.dtype === 'f32' ? 'f32' : value.dtype === 'i32' || value.dtype === 'bool' ? 'i32' : value.dtype
  const given = data instanceof Float32Array ? 'f32' : 'i32'
  if (wanted !== given) throw new InternalError(`'${value.name}' holds ${value.dtype}, not ${given}`)
}

/** `data` of a smaller shape put at the origin of the stored shape, zeros elsewhere. */
function inCorner(value: ProgramValue, data: TensorData, shape: readonly number[]): TensorData {
  const stored = value.shape
  const fits =
    shape.length === stored.length &&
    shape.every((extent, dim) => Number.isInteger(extent) && extent >= 0 && extent <= (stored[dim] ?? 0))
  if (!fits) {
    throw new UserError(
      'HD713',
      `'${value.name}' is stored as (${stored.join(', ')}), (${shape.join(', ')}) does not fit`,
    )
  }
  if (elementsOf(shape) !== data.length) {
    throw new UserError('HD713', `'${value.name}': (${shape.join(', ')}) is not the shape of ${data.length} elements`)
  }
  const whole = data instanceof Float32Array ? new Float32Array(elementsOf(stored)) : new Int32Array(elementsOf(stored))
  const copy = (dim: number, from: number, to: number): void => {
    if (dim >= shape.length - 1) {
      const row = shape[dim] ?? 1
      whole.set(data.subarray(from, from + row), to)
      return
    }
    const fromStride = elementsOf(shape.slice(dim + 1))
    const toStride = elementsOf(stored.slice(dim + 1))
    for (let index = 0; index < (shape[dim] ?? 0); index++)
      copy(dim + 1, from + index * fromStride, to + index * toStride)
  }
  copy(0, 0, 0)
  return whole
}

function asTensor(name: string, dtype: ProgramValue['dtype'], bytes: Uint8Array<ArrayBuffer>): TensorData {
  if (dtype === 'f32') return new Float32Array(bytes.buffer)
  if (dtype === 'i32' || dtype === 'bool') return new Int32Array(bytes.buffer)
  throw new InternalError(`'${name}' holds ${dtype}, which only frozen tensors do`)
}
