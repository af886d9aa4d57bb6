// The programs that a recipe may become within a budget: what is in memory and what is computed again, tried one after another
// until one fits. What cannot fit is not placed. Knows no file and runs nothing.

import { InternalError } from '../compiler/diagnostic.ts'
import { StepCompiler } from '../compiler/pipeline.ts'
import type { Compiled, CompileOptions, Excess, KnownPlanner, PreparedStep } from '../compiler/pipeline.ts'
import type { Program } from '../compiler/plan/program.ts'
import { declaredBytes } from '../compiler/schedule/shards.ts'
import type { Recipe } from '../dsl/index.ts'
import { ratesOf, scheduleProfile } from '../devices/index.ts'
import type { DeviceProfile } from '../devices/index.ts'
import { certify } from './certificate.ts'
import type { Certificate } from './certificate.ts'
import { canStream, storageOf } from './storage.ts'

export interface CompileSettings {
  /** What the program will run on: decides tiles. */
  readonly device: DeviceProfile
  readonly threads: number
  /** Optimizer steps of the whole run: what the learning rate is stretched over. */
  readonly steps: number
  /** Bytes that the whole process may hold. */
  readonly memoryBudget: number
  /** The functions that are wanted; all of them unless given. */
  readonly functions?: readonly string[]
  readonly dump?: ((text: string) => void) | undefined
  /** Told of each program before it is compiled: a recipe may ask for several, of which one is taken. */
  readonly onAttempt?: ((attempt: Attempt) => void) | undefined
  /** Whether a place of tensors is known to need too much before it is compiled. */
  readonly isTooMuch?: ((storage: Attempt['storage']) => boolean) | undefined
}

/** One way to meet a budget. */
export interface Attempt {
  readonly checkpoints: Recipe['checkpoints']
  /** What lies in files as far as it is worth it; `least`: all of that, in ranges as small as there can be. */
  readonly storage: 'none' | 'frozen' | 'trained' | 'least'
}

export interface CompiledRecipe extends Compiled {
  readonly certificate: Certificate
  readonly checkpoints: 'none' | 'every' | 'chosen'
  /** Where nothing fits: what was tried. */
  readonly attempts?: readonly FailedAttempt[]
}

/** What an attempt that does not fit needs at the least. */
export interface FailedAttempt extends Attempt {
  readonly certificate: Certificate
}

/** A recipe's program. One that does not fit has no offsets before it is placed: this much it needs whatever they are. */
export interface RecipeDraft {
  readonly certificate: Certificate
  readonly place: () => CompiledRecipe
}

interface Tried extends RecipeDraft {
  readonly attempt: Attempt
  readonly lostSeconds: number
}

const storages = ['frozen', 'trained', 'least'] as const

/** No placement wastes so much: of two programs that are not placed, one that needs more than this is not the smaller. */
const MOST_WASTE = 1.25

/** The planner's model of memory is not so wrong: computing every layer again does not need so much less than its least plan. */
const MODEL_ERROR = 1.1

/** Programs of one step for one device and budget. */
export class Attempts {
  readonly #step: PreparedStep
  readonly #recipe: Recipe
  readonly #settings: CompileSettings
  readonly #compilers = new Map<Attempt['storage'], StepCompiler>()
  /** What does not fit, and may be the smallest of that. */
  #tried: Tried[] = []
  readonly #failed: FailedAttempt[] = []
  /** Left out, because it is plain that they need too much. */
  readonly #skipped: { readonly attempt: Attempt; readonly bytes: number }[] = []
  #known: KnownPlanner | undefined
  /** What was said while a program was compiled: only that of the one that is taken is of use. */
  readonly #said = new WeakMap<Program, readonly string[]>()

  constructor(step: PreparedStep, recipe: Recipe, settings: CompileSettings) {
    this.#step = step
    this.#recipe = recipe
    this.#settings = settings
  }

  /** The first that fits; of everything in memory and frozen tensors in their files, the faster. Stops before each. */
  *fitting(checkpoints: Recipe['checkpoints']): Generator<undefined, RecipeDraft | undefined> {
    const inMemory = { checkpoints, storage: 'none' } as const
    const streams = canStream(this.#settings.device)
    const first = streams && this.#isHopeless(inMemory) ? undefined : yield* this.#try(inMemory)
    const kept = first?.certificate.fits ? first : undefined
    if (!streams || kept?.lostSeconds === 0) return kept
    let before = ''
    for (const storage of kept ? storages.slice(0, 1) : storages) {
      // Nothing more may be moved than before, and in the same ranges: it is the same program.
      const moved = this.#moved(storage)
      if (moved === before) continue
      before = moved
      if (this.#isHopeless({ checkpoints, storage })) continue
      const tried = yield* this.#try({ checkpoints, storage })
      if (tried.certificate.fits) return kept && kept.lostSeconds <= tried.lostSeconds ? kept : tried
    }
    return kept
  }

  /** The smallest of those that do not fit. */
  *smallest(): Generator<undefined, RecipeDraft> {
    const isSmaller = (bytes: number): boolean => this.#tried.every(({ certificate }) => certificate.peakBytes > bytes)
    for (const { attempt, bytes } of this.#skipped) if (isSmaller(bytes)) yield* this.#try(attempt)
    const leastFirst = this.#tried.toSorted((a, b) => a.certificate.peakBytes - b.certificate.peakBytes)
    const [least] = leastFirst
    if (!least) throw new InternalError('a recipe was compiled in no way at all')
    const place = (): CompiledRecipe => {
      let best = least.place()
      for (const { certificate, place } of leastFirst.slice(1)) {
        // What is known before placing is the least that placing comes to.
        if (best.certificate.peakBytes <= certificate.peakBytes) break
        const other = place()
        if (other.certificate.peakBytes < best.certificate.peakBytes) best = other
      }
      return { ...best, attempts: this.#failed }
    }
    return { certificate: least.certificate, place }
  }

  /** What the compiler said of a program. */
  saidOf({ program }: CompiledRecipe): readonly string[] {
    return this.#said.get(program) ?? []
  }

  *#try(attempt: Attempt): Generator<undefined, Tried> {
    yield
    const { checkpoints, storage } = attempt
    this.#settings.onAttempt?.(attempt)
    const said: string[] = []
    const compiler = this.#compilerFor(storage, said)
    const excess: Excess = (planned) => certify(planned, this.#settings).peakBytes - this.#settings.memoryBudget
    const draft = compiler.draft(this.#checkpointsOf(attempt, excess), excess)
    const told = (compiled: Compiled): CompiledRecipe => {
      this.#said.set(compiled.program, said)
      const chosen = compiled.checkpointing ? 'chosen' : checkpoints === 'every layer' ? 'every' : 'none'
      return { ...compiled, checkpoints: chosen, certificate: certify(compiled, this.#settings) }
    }
    this.#known = draft.known ?? this.#known
    const { certificate } = told(draft.compiled)
    const lost = (draft.compiled.checkpointing?.seconds ?? 0) + (certificate.storage?.stallSeconds ?? 0)
    const tried = { attempt, certificate, lostSeconds: lost, place: () => told(draft.place()) }
    if (!certificate.fits) {
      this.#failed.push({ ...attempt, certificate })
      const known = [...this.#tried, tried]
      const least = known.reduce((peak, one) => Math.min(peak, one.certificate.peakBytes), Number.POSITIVE_INFINITY)
      this.#tried = known.filter((one) => one.certificate.peakBytes <= MOST_WASTE * least)
    }
    return tried
  }

  #compilerFor(storage: Attempt['storage'], said: string[]): StepCompiler {
    const { device, threads, functions, dump } = this.#settings
    const known = this.#compilers.get(storage)
    if (known && !dump) return known
    const options = this.#storageOptions(storage)
    const compiler = new StepCompiler(this.#step, {
      name: this.#recipe.model.model,
      profile: scheduleProfile(device, threads),
      ...(functions ? { functions } : {}),
      ...(options ? { storage: options } : {}),
      ...(dump ? { dump: (text: string) => void said.push(text) } : {}),
    })
    this.#compilers.set(storage, compiler)
    return compiler
  }

  #storageOptions(storage: Attempt['storage']): CompileOptions['storage'] {
    const { device, threads, memoryBudget } = this.#settings
    if (storage === 'none') return undefined
    const state = storage !== 'frozen'
    return storageOf(device, threads, memoryBudget, { state, least: storage === 'least' })
  }

  /** Which tensors may leave memory, and how small their ranges are. */
  #moved(storage: (typeof storages)[number]): string {
    const { shardBytes, residentBytes, state } = this.#storageOptions(storage) as NonNullable<CompileOptions['storage']>
    const names = [...this.#step.graph.declarations.values()].flatMap((declared) => {
      const isMeant = declared.role === 'frozen' || (state === true && declared.role !== 'input')
      return isMeant && declaredBytes(declared) > residentBytes ? [declared.name] : []
    })
    return names.length === 0 ? '' : JSON.stringify([shardBytes, names])
  }

  /** Whether it is known to need too much without being compiled. It is left out then. */
  #isHopeless(attempt: Attempt): boolean {
    const { memoryBudget, isTooMuch } = this.#settings
    const { storage } = attempt
    const chosen = this.#failed.find((one) => one.checkpoints === 'auto' && one.storage === storage)
    const planned = (chosen?.certificate.peakBytes ?? 0) / MODEL_ERROR
    const bytes = Math.max(planned, storage === 'none' ? this.#bytesInMemory() : 0, isTooMuch?.(storage) ? Infinity : 0)
    if (bytes > memoryBudget) this.#skipped.push({ attempt, bytes })
    return bytes > memoryBudget
  }

  /** What everything that is declared takes in memory: no program that has it there needs less. */
  #bytesInMemory(): number {
    const declared = [...this.#step.graph.declarations.values()]
    return declared.reduce((sum, one) => sum + declaredBytes(one), this.#settings.device.runtimeBytes)
  }

  #checkpointsOf({ checkpoints, storage }: Attempt, excess: Excess): CompileOptions['checkpoints'] {
    if (checkpoints === 'none') return 'none'
    if (checkpoints === 'every layer') return 'every'
    const { device, threads, memoryBudget } = this.#settings
    const rates = ratesOf(device, threads)
    // Smaller ranges change nothing of what can be computed again; what that comes to is measured in any case.
    const known = storage === 'least' ? this.#known : undefined
    return { excess, most: memoryBudget, ...(rates ? { rates } : {}), ...(known ? { known } : {}) }
  }
}
