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
import { leastPrograms } from './leastPrograms.ts'
import type { LeastProgram, LeastPrograms } from './leastPrograms.ts'
import { canStream, storageOf } from './storage.ts'

export interface CompileSettings {
  /** What the program will run on: decides tiles. */
  readonly device: DeviceProfile
  readonly threads: number
  /** Optimizer steps of the whole run: what the learning rate is stretched over. */
  readonly steps: number
  /** Bytes that the whole process may hold. */
  readonly memoryBudget: number
  /** Of files that are copied beside the result. */
  readonly copiedBytes?: number | undefined
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
  /** The same computed within as little memory as goes. */
  readonly least: Compiled
}

const storages = ['frozen', 'trained'] as const

/** The planner's model of memory is not so wrong: computing every layer again does not need so much less than its least plan. */
const MODEL_ERROR = 1.1

/** Programs of one step for one device and budget. */
export class Attempts {
  readonly #step: PreparedStep
  readonly #recipe: Recipe
  readonly #settings: CompileSettings
  readonly #compilers = new Map<Attempt['storage'], StepCompiler>()
  readonly #failed: FailedAttempt[] = []
  #least: RecipeDraft | undefined
  #known: KnownPlanner | undefined
  /** What was said while a program was compiled: only that of the one that is taken is of use. */
  readonly #said = new WeakMap<Program, readonly string[]>()

  constructor(step: PreparedStep, recipe: Recipe, settings: CompileSettings) {
    this.#step = step
    this.#recipe = recipe
    this.#settings = settings
  }

  /**
   * The first that fits; of everything in memory and frozen tensors in their files, the faster. Within less than the least program
   * needs nothing does, whatever it seems. Stops before each.
   */
  *fitting(checkpoints: Recipe['checkpoints']): Generator<undefined, RecipeDraft | undefined> {
    const found = yield* this.#fitting(checkpoints)
    if (!found || this.#hasRoom(found)) return found
    const least = yield* this.least()
    return least.certificate.fits ? found : least
  }

  *#fitting(checkpoints: Recipe['checkpoints']): Generator<undefined, Tried | undefined> {
    const inMemory = { checkpoints, storage: 'none' } as const
    const streams = canStream(this.#settings.device)
    const first = streams && this.#isHopeless(inMemory) ? undefined : yield* this.#try(inMemory)
    const kept = first?.certificate.fits ? first : undefined
    if (!streams || kept?.lostSeconds === 0) return kept
    let before = ''
    for (const storage of kept ? storages.slice(0, 1) : storages) {
      // Nothing more may be moved than before: it is the same program.
      const moved = JSON.stringify(this.#moved(storage))
      if (moved === before || moved === '[]') continue
      before = moved
      if (this.#isHopeless({ checkpoints, storage })) continue
      const tried = yield* this.#try({ checkpoints, storage })
      if (tried.certificate.fits) return kept && kept.lostSeconds <= tried.lostSeconds ? kept : tried
    }
    return kept
  }

  /**
   * The first of the programs that may need least which fits; where none does the least of them, which is the same for every
   * budget. Stops before each.
   */
  *least(): Generator<undefined, RecipeDraft> {
    return (this.#least ??= yield* this.#findLeast())
  }

  *#findLeast(): Generator<undefined, RecipeDraft> {
    const { memoryBudget, isTooMuch } = this.#settings
    let said: string[] = []
    const programs = this.#leastPrograms((storage) => this.#compilerFor(storage, (said = [])))
    const drafts: (RecipeDraft & { readonly bytes: number })[] = []
    for (;;) {
      yield
      const { done, value } = programs.next()
      if (done === true) break
      const { attempt, compiled, fill } = value
      const its = said
      const told = (one: Compiled): CompiledRecipe => this.#told(attempt, one, its)
      let placed: CompiledRecipe | undefined
      const place = (): CompiledRecipe => (placed ??= told(value.place()))
      if (value.bytes <= memoryBudget && place().certificate.fits) {
        const filled = told(fill())
        const found = filled.certificate.fits ? filled : place()
        return { certificate: found.certificate, place: () => found }
      }
      const { certificate } = placed ?? told(compiled)
      if (!this.#isTried(attempt)) this.#failed.push({ ...attempt, certificate })
      drafts.push({ certificate, bytes: certificate.peakBytes, place })
      // Whoever knows that it needs too much asks only about how much.
      if (isTooMuch?.('least') === true) break
    }
    const [least, ...others] = drafts.sort((a, b) => a.bytes - b.bytes)
    if (!least) throw new InternalError('a recipe was compiled in no way at all')
    const place = (): CompiledRecipe => {
      let best = least.place()
      for (const { bytes, place } of others) {
        // What is known before placing is the least that placing comes to.
        if (best.certificate.peakBytes <= bytes) break
        const other = place()
        if (other.certificate.peakBytes < best.certificate.peakBytes) best = other
      }
      return { ...best, attempts: this.#failed }
    }
    return { certificate: least.certificate, place }
  }

  #leastPrograms(compilerFor: LeastPrograms['compilerFor']): Generator<LeastProgram> {
    const { device, threads, onAttempt } = this.#settings
    const declared = [...this.#step.graph.declarations.values()]
    const moved = new Set(canStream(device) ? this.#moved('least') : [])
    return leastPrograms({
      checkpoints: this.#recipe.checkpoints,
      rates: ratesOf(device, threads),
      movable: declared.filter(({ name }) => moved.has(name)).map(declaredBytes),
      inMemory: this.#bytesInMemory(),
      compilerFor,
      tell: (attempt) => (this.#isTried(attempt) ? undefined : onAttempt?.(attempt)),
      bytesOf: (compiled) => certify(compiled, this.#settings).peakBytes,
    })
  }

  /** What the compiler said of a program. */
  saidOf({ program }: CompiledRecipe): readonly string[] {
    return this.#said.get(program) ?? []
  }

  *#try(attempt: Attempt): Generator<undefined, Tried> {
    yield
    const { storage } = attempt
    this.#settings.onAttempt?.(attempt)
    const said: string[] = []
    const compiler = this.#compilerFor(storage, said)
    const excess: Excess = (planned) => certify(planned, this.#settings).peakBytes - this.#settings.memoryBudget
    const draft = compiler.draft(this.#checkpointsOf(attempt, excess), excess)
    this.#known = draft.known ?? this.#known
    const told = (compiled: Compiled): CompiledRecipe => this.#told(attempt, compiled, said)
    const { certificate } = told(draft.compiled)
    const lost = (draft.compiled.checkpointing?.seconds ?? 0) + (certificate.storage?.stallSeconds ?? 0)
    if (!certificate.fits) this.#failed.push({ ...attempt, certificate })
    const { least } = draft
    return { attempt, certificate, lostSeconds: lost, least, place: () => told(draft.place()) }
  }

  #told({ checkpoints }: Attempt, compiled: Compiled, said: readonly string[]): CompiledRecipe {
    this.#said.set(compiled.program, said)
    const chosen = compiled.checkpointing ? 'chosen' : checkpoints === 'every layer' ? 'every' : 'none'
    return { ...compiled, checkpoints: chosen, certificate: certify(compiled, this.#settings) }
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

  /** Which tensors may leave memory. */
  #moved(storage: Exclude<Attempt['storage'], 'none'>): string[] {
    const { residentBytes, state } = this.#storageOptions(storage) as NonNullable<CompileOptions['storage']>
    return [...this.#step.graph.declarations.values()].flatMap((declared) => {
      const isMeant = declared.role === 'frozen' || (state === true && declared.role !== 'input')
      return isMeant && declaredBytes(declared) > residentBytes ? [declared.name] : []
    })
  }

  /** Whether it is a program that no budget changes, and did not fit. */
  #isTried({ checkpoints, storage }: Attempt): boolean {
    if (storage !== 'none' || checkpoints === 'auto') return false
    return this.#failed.some((one) => one.checkpoints === checkpoints && one.storage === storage)
  }

  /** Whether it is known to need too much without being compiled. It is left out then. */
  #isHopeless({ checkpoints, storage }: Attempt): boolean {
    const { memoryBudget, isTooMuch } = this.#settings
    const of = (one: Attempt): FailedAttempt['certificate'] | undefined =>
      this.#failed.find((other) => other.checkpoints === one.checkpoints && other.storage === one.storage)?.certificate
    const planned = of({ checkpoints: 'auto', storage })?.peakBytes ?? 0
    // What is trained can take no more than its bytes away with it.
    const frozen = storage === 'trained' ? of({ checkpoints, storage: 'frozen' }) : undefined
    const streamed = frozen ? frozen.peakBytes - frozen.parts.state : 0
    const bytes = Math.max(planned, streamed) / MODEL_ERROR
    return Math.max(bytes, this.#bytesInMemory(storage)) > memoryBudget || isTooMuch?.(storage) === true
  }

  /** Whether it fits with so much to spare that the least program needs no more. */
  #hasRoom({ attempt: { storage }, least }: Tried): boolean {
    const { checkpointing } = least
    const { peakBytes, parts } = certify(least, this.#settings)
    // It is one of the programs among which the least is, or that one needs less than all that it holds.
    if (storage === 'none' && !checkpointing) return true
    const computedAgain = checkpointing ? Math.max(0, parts.arena - checkpointing.leastPeak) : 0
    const moved = storage === 'none' ? this.#bytesInMemory() - this.#bytesInMemory('least') : 0
    return MODEL_ERROR * (peakBytes - computedAgain - moved) <= this.#settings.memoryBudget
  }

  /** What everything that is declared takes which is in memory in any case: no program needs less. */
  #bytesInMemory(storage: Attempt['storage'] = 'none'): number {
    const { device } = this.#settings
    const moved = new Set(storage === 'none' || !canStream(device) ? [] : this.#moved(storage))
    const kept = [...this.#step.graph.declarations.values()].filter(({ name }) => !moved.has(name))
    return kept.reduce((sum, one) => sum + declaredBytes(one), device.runtimeBytes)
  }

  #checkpointsOf({ checkpoints, storage }: Attempt, excess: Excess): CompileOptions['checkpoints'] {
    if (checkpoints === 'none') return 'none'
    if (checkpoints === 'every layer') return 'every'
    const { device, threads, memoryBudget } = this.#settings
    const rates = ratesOf(device, threads)
    // What is trained changes nothing of what can be computed again; what that comes to is measured in any case.
    const known = storage === 'trained' ? this.#known : undefined
    return { excess, most: memoryBudget, ...(rates ? { rates } : {}), ...(known ? { known } : {}) }
  }
}
