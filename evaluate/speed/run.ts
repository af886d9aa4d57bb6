// A recipe's step against the clock: its program with random batches of its size, the machine's peak and memory rate, and
// PyTorch where it is installed, all in turns, because these machines are shared. Tells an observer how far it is; prints
// nothing and handles no signal.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Session } from '../../backends/neon/driver/index.ts'
import { chooseToolChain } from '../../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { UserError } from '../../compiler/diagnostic.ts'
import { explainProgram } from '../../compiler/plan/explain.ts'
import type { MicroBatch } from '../../data/batches.ts'
import { Random } from '../../data/random.ts'
import { scheduleProfile } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import type { Recipe } from '../../dsl/index.ts'
import type { ResolveOptions } from '../../formats/hub.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import type { LoadedRecipe } from '../../train/loadRecipe.ts'
import { openTraining } from '../../train/openTraining.ts'
import { prepareModel } from '../../train/prepare.ts'
import type { PreparedModel } from '../../train/prepare.ts'
import { deviceOf } from '../../train/hostDevice.ts'
import { plannedAs } from '../../train/run.ts'
import { writeBatch } from '../../train/trainer.ts'
import { copyProgram, peakProgram } from './machine.ts'
import { threadResult } from './result.ts'
import type { BenchResult, Subject, SubjectParts, ThreadResult } from './result.ts'
import { runnerOf, secondsOf } from './runner.ts'
import { openTorch } from './torch.ts'
import type { Torch } from './torch.ts'

export interface BenchOptions {
  readonly toolchain: ToolChainPreference
  /** One measurement for each number of threads. */
  readonly threads: readonly number[]
  /** Rounds that are measured, after one that is not. */
  readonly rounds: number
  /** PyTorch beside it where it is installed. */
  readonly torch: boolean
  readonly optimise?: 'full' | 'light'
  readonly resolving?: ResolveOptions
  /** Ends after the round under way; what was measured counts. */
  readonly stop?: AbortSignal
  /** Kills what runs. */
  readonly kill?: AbortSignal
}

export interface BenchObserver {
  note?(sentence: string): void
  compiling?(toolchain: string, threads: number): void
  round?(threads: number, done: number, all: number): void
  /** One number of threads is done. */
  measured?(result: ThreadResult): void
}

/** The functions of a step. */
export const stepFunctions = ['accumulate', 'measure', 'apply']
/** What the learning rate is stretched over where the recipe counts epochs: records are not read, speed is the same. */
export const SOME_STEPS = 1000

/**
 * Measures a recipe. Undefined when it was stopped before the first round was done.
 *
 * @throws UserError as `prepareModel`, `compileRecipe`, `openTraining` and tool chains state; HD810 where a step's numbers
 * are not finite
 */
export async function benchRecipe(
  loaded: LoadedRecipe,
  options: BenchOptions,
  observer: BenchObserver = {},
): Promise<BenchResult | undefined> {
  const model = await prepareModel(loaded, options.resolving)
  if (model.note !== undefined) observer.note?.(model.note)
  const chain = await chooseToolChain(options.toolchain)
  const device = deviceOf(chain)
  const results: ThreadResult[] = []
  let subject: Subject | undefined
  for (const threads of options.threads) {
    if (options.stop?.aborted === true) break
    const bench = new Bench(loaded, model, chain, device, threads, options, observer)
    subject = bench.subject
    const result = await bench.measure()
    if (!result) continue
    results.push(result)
    observer.measured?.(result)
  }
  if (!subject || results.length === 0) return undefined
  return { benchmark: 1, subject, toolchain: chain.describe(), isa: chain.isa.name, results }
}

/** What a recipe's benchmark is of, as far as it is known before it is compiled. */
export function subjectOf({ model, adapt, batch }: Recipe): SubjectParts {
  const { sequences, length, accumulate } = batch
  return { model: model.model, adapt: adapt.kind, sequences, length, accumulate }
}

/** One number of threads. */
class Bench {
  readonly subject: Subject
  readonly #recipe: Recipe
  readonly #model: PreparedModel
  readonly #chain: ToolChain
  readonly #device: DeviceProfile
  readonly #threads: number
  readonly #options: BenchOptions
  readonly #observer: BenchObserver
  readonly #compiled: ReturnType<typeof compileRecipe>

  constructor(
    loaded: LoadedRecipe,
    model: PreparedModel,
    chain: ToolChain,
    device: DeviceProfile,
    threads: number,
    options: BenchOptions,
    observer: BenchObserver,
  ) {
    const { recipe } = loaded
    const steps = recipe.batch.steps ?? SOME_STEPS
    const planned = plannedAs(loaded, device)
    const { memoryBudget } = planned
    const settings = { device: planned, threads, steps, memoryBudget, functions: stepFunctions }
    this.#recipe = recipe
    this.#model = model
    this.#chain = chain
    this.#device = device
    this.#threads = threads
    this.#options = options
    this.#observer = observer
    this.#compiled = compileRecipe(recipe, model.traced, settings)
    this.subject = { ...subjectOf(recipe), checkpoints: this.#compiled.checkpoints }
  }

  async measure(): Promise<ThreadResult | undefined> {
    const { kill, optimise = 'full' } = this.#options
    this.#observer.compiling?.(this.#chain.describe(), this.#threads)
    const common = { toolchain: this.#chain, threads: this.#threads, optimise, ...(kill ? { signal: kill } : {}) }
    const profile = scheduleProfile(this.#device, this.#threads)
    const open: { close(): Promise<void> | void }[] = []
    try {
      const { program } = this.#compiled
      const folder = program.storedCount > 0 ? mkdtempSync(join(tmpdir(), 'heddle-bench-')) : undefined
      if (folder !== undefined) open.push({ close: () => rmSync(folder, { recursive: true, force: true }) })
      const session = await openTraining(program, this.#model.binding, {
        ...common,
        ...(folder === undefined ? {} : { stored: { path: join(folder, 'trained.bin') } }),
        seed: this.#recipe.seed,
        profile: true,
      })
      open.push(session)
      const peak = await runnerOf('peak', peakProgram(profile), common)
      open.push(peak)
      const copy = await runnerOf('copy', copyProgram(profile), common)
      open.push(copy)
      const torch = this.#options.torch ? await this.#torch() : undefined
      if (torch) open.push(torch)
      return await this.#rounds(session, [peak, copy], torch)
    } finally {
      // What was opened last may need what was before.
      for (const one of open.toReversed()) await one.close()
    }
  }

  async #rounds(
    session: Session,
    [peak, copy]: readonly [Awaited<ReturnType<typeof runnerOf>>, Awaited<ReturnType<typeof runnerOf>>],
    torch: Torch | undefined,
  ): Promise<ThreadResult | undefined> {
    const { rounds, stop } = this.#options
    await writeBatch(session, this.#randomBatch(), this.#recipe.seed)
    const step = { run: () => this.#step(session) }
    const timings = { peakRates: [] as number[], memoryRates: [] as number[], stepSeconds: [] as number[] }
    const torchSeconds: number[] = []
    // The first round of each finds cold caches and untouched memory.
    for (const one of [peak, copy, step]) await one.run()
    const before = await microseconds(session)
    for (let round = 0; round < rounds && stop?.aborted !== true; round++) {
      timings.peakRates.push(peak.operations / (await secondsOf(peak)))
      timings.memoryRates.push(copy.operations / (await secondsOf(copy)))
      timings.stepSeconds.push(await secondsOf(step))
      if (torch) torchSeconds.push(await torch.step())
      this.#observer.round?.(this.#threads, round + 1, rounds)
    }
    if (timings.stepSeconds.length === 0) return undefined
    const after = await microseconds(session)
    const kernelMicroseconds = new Map([...after].map(([name, time]) => [name, time - (before.get(name) ?? 0)]))
    const functions = explainProgram(this.#compiled, this.#device.privateCache)
    return threadResult(
      { threads: this.#threads, ...timings, torchSeconds, kernelMicroseconds },
      functions,
      this.subject,
    )
  }

  /** One optimizer step on the batch that is there. */
  async #step(session: Session): Promise<void> {
    const { accumulate, length } = this.#recipe.batch
    for (let micro = 1; micro <= accumulate; micro++) {
      const outcome = await session.step({ seq: length }, micro === accumulate ? 'last' : 'more')
      if (outcome.status === 'notFinite') throw new UserError('HD810', `on random tokens: ${outcome.message}`)
    }
  }

  #randomBatch(): MicroBatch {
    const { sequences, length } = this.#recipe.batch
    const random = new Random(this.#recipe.seed)
    const count = sequences * length
    const tokens = (): Int32Array => Int32Array.from({ length: count }, () => random.below(this.#model.vocabulary))
    const isPacked = this.#compiled.program.values.some(({ name }) => name === 'segments')
    const positions = Int32Array.from({ length: count }, (_, place) => place % length)
    return {
      tokens: tokens(),
      targets: tokens(),
      weights: new Float32Array(count).fill(1),
      sequences,
      length,
      ...(isPacked ? { segments: new Int32Array(count), positions } : {}),
    }
  }

  async #torch(): Promise<Torch | undefined> {
    const { adapt, batch, optimizer } = this.#recipe
    const lora =
      adapt.kind === 'lora'
        ? { rank: adapt.rank, alpha: adapt.alpha, targets: adapt.targets, rslora: adapt.rslora }
        : undefined
    const { sequences, length, accumulate } = batch
    const { config } = this.#model.checkpoint
    const torch = await openTorch(
      { config, lora, sequences, length, accumulate, threads: this.#threads, clip: optimizer.clip },
      this.#options.kill,
    )
    if (!('why' in torch)) return torch
    this.#observer.note?.(`nothing beside it from PyTorch: ${torch.why}`)
    return undefined
  }
}

async function microseconds(session: Session): Promise<Map<string, number>> {
  const { kernels } = await session.stats()
  return new Map(kernels.map((kernel) => [kernel.name, kernel.microseconds]))
}
