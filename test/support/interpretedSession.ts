// A session on a whole program without a compiler: its kernels run by the kernel interpreter in memory laid out by the
// plan. What every launch reads is therefore where the plan put it, rubbish where nothing was put. Only for tests.

import { CheckedSession } from '../../backends/neon/driver/checkedSession.ts'
import type { Device, Run, RunResult } from '../../backends/neon/driver/device.ts'
import type { Session } from '../../backends/neon/driver/index.ts'
import { initialData } from '../../backends/neon/driver/initial.ts'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Place, Program } from '../../compiler/plan/program.ts'

/** All bits set is NaN for every float and no id of any table. */
const rubbish = 0xff

function viewOf(dtype: DType, buffer: ArrayBuffer, offset: number, elements: number): KernelArray {
  if (dtype === 'f32') return new Float32Array(buffer, offset, elements)
  return dtype === 'f16' || dtype === 'bf16'
    ? new Uint16Array(buffer, offset, elements)
    : new Int32Array(buffer, offset, elements)
}

class InterpretedDevice implements Device {
  readonly memoryBytes: number
  readonly #program: Program
  readonly #spaces: Readonly<Record<'arena' | 'state' | 'inputs', ArrayBuffer>>
  readonly #frozen: readonly ArrayBuffer[]

  constructor(program: Program, frozen: ReadonlyMap<string, Float32Array>) {
    this.#program = program
    this.#spaces = {
      arena: new ArrayBuffer(program.arenaBytes),
      state: new ArrayBuffer(program.stateBytes),
      inputs: new ArrayBuffer(program.inputBytes),
    }
    this.memoryBytes = program.arenaBytes + program.stateBytes + program.inputBytes
    const tensors = program.values.filter((value) => value.place.space === 'frozen')
    this.#frozen = Array.from({ length: program.frozenCount }, (_, index) => {
      const value = tensors.find(({ place }) => place.space === 'frozen' && place.index === index)
      const data = value && frozen.get(value.name)
      if (data?.byteLength !== value?.bytes || !data) throw new Error(`no f32 values for '${value?.name}'`)
      return data.slice().buffer
    })
  }

  #bytes(place: Place, bytes: number): Uint8Array {
    if ('index' in place) throw new Error('what is streamed is not read back')
    return new Uint8Array(this.#spaces[place.space], place.offset, bytes)
  }

  #view(place: Place, dtype: DType, elements: number): KernelArray {
    if ('index' in place) return viewOf(dtype, this.#frozen[place.index] as ArrayBuffer, 0, elements)
    return viewOf(dtype, this.#spaces[place.space], place.offset, elements)
  }

  #value(name: string): Program['values'][number] {
    const value = this.#program.values.find((one) => one.name === name)
    if (!value) throw new Error(`no value '${name}'`)
    return value
  }

  async write(name: string, bytes: Uint8Array): Promise<void> {
    const value = this.#value(name)
    this.#bytes(value.place, value.bytes).set(bytes)
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const value = this.#value(name)
    return Uint8Array.from(this.#bytes(value.place, value.bytes))
  }

  async output(fn: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
    const called = this.#program.functions.find((one) => one.name === fn)
    const output = called?.outputs.find((one) => one.name === name)
    if (!output) throw new Error(`no output '${name}' of '${fn}'`)
    const bytes = output.shape.reduce((product, extent) => product * extent, dtypeBytes[output.dtype])
    return Uint8Array.from(this.#bytes(output.place, bytes))
  }

  async run(run: Run, sizes: readonly number[]): Promise<RunResult> {
    const named = Object.fromEntries(this.#program.sizes.map(({ name }, index) => [name, sizes[index] as number]))
    if ('settle' in run) throw new Error('nothing is owed where nothing is in storage')
    const all = ['accumulate', 'measure', 'apply']
    const names =
      'call' in run ? [run.call] : run.step === 'more' ? all.slice(0, 1) : all.slice(run.step === 'end' ? 1 : 0)
    for (const name of names) this.#call(name, named)
    return { status: 'ok' }
  }

  #call(name: string, sizes: Readonly<Record<string, number>>): void {
    new Uint8Array(this.#spaces.arena).fill(rubbish)
    for (const launch of this.#program.functions.find((fn) => fn.name === name)?.launches ?? []) {
      const kernel = this.#program.kernels[launch.kernel]
      if (!kernel) throw new Error(`no kernel ${launch.kernel}`)
      const buffers = kernel.arguments.map((buffer, index): [string, KernelArray] => {
        const place = launch.arguments[index]
        if (!place) throw new Error(`'${kernel.name}' lacks argument ${index}`)
        return [buffer.name, this.#view(place, buffer.dtype, bufferElements(buffer))]
      })
      const own = Object.fromEntries(kernel.sizes.map((size) => [size.name, sizes[size.name] as number]))
      runKernel(kernel, { buffers: new Map(buffers), sizes: own, arithmetic: float32 })
    }
  }

  resume(): Promise<RunResult> {
    throw new Error('an interpreted program does not pause')
  }

  pauseAfter(): void {}

  govern(): Promise<never> {
    return Promise.reject(new Error('nothing governs the interpreter'))
  }

  energy(): Promise<never> {
    return Promise.reject(new Error('the interpreter uses no energy'))
  }

  finish(): void {}

  keep(): Promise<never> {
    return Promise.reject(new Error('the interpreter has no storage'))
  }

  async stats() {
    return { residentBytes: 1, peakBytes: 1, allocations: undefined, kernels: [] }
  }

  async close(): Promise<void> {}
}

/** Opens a session as `openSession` does; frozen tensors are given as float32 by name. */
export async function interpretedSession(
  program: Program,
  frozen: ReadonlyMap<string, Float32Array> = new Map(),
  seed = 0,
): Promise<Session> {
  const about = { toolchain: 'the kernel interpreter', isa: 'none', threads: 1 }
  const session = new CheckedSession(program, new InterpretedDevice(program, frozen), about)
  for (const value of program.values) {
    if (value.place.space !== 'frozen' && value.initial) await session.write(value.name, initialData(value, seed))
  }
  return session
}
