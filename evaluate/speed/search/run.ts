// A search for schedules of a recipe's step: its multiply-add nests one after the other, those with most work first, each
// in the kernels it is in. What is faster than the rule's is handed over at once. Prints nothing and handles no signal.

import { chooseToolChain } from '../../../backends/neon/toolchain/index.ts'
import type { ToolChain, ToolChainPreference } from '../../../backends/neon/toolchain/index.ts'
import { UserError } from '../../../compiler/diagnostic.ts'
import type { ScheduleProfile, TileChoice } from '../../../compiler/schedule/profile.ts'
import { tileCandidates } from '../../../compiler/schedule/tileCandidates.ts'
import { chooseTile } from '../../../compiler/schedule/tileChoice.ts'
import { fasterThanRule, readFound, scheduleProfile, storeFound } from '../../../devices/index.ts'
import type { FoundTile } from '../../../devices/index.ts'
import type { ResolveOptions } from '../../../formats/hub.ts'
import { compileRecipe } from '../../../train/compileRecipe.ts'
import { machineKey, ruledDeviceOf, schedulesFile } from '../../../train/hostDevice.ts'
import type { LoadedRecipe } from '../../../train/loadRecipe.ts'
import { prepareModel } from '../../../train/prepare.ts'
import { SOME_STEPS, stepFunctions } from '../run.ts'
import { fastest, measurements } from './fastest.ts'
import { searchSites } from './sites.ts'
import type { SearchSite } from './sites.ts'
import { Trial, trialKernels } from './trial.ts'

export interface SearchOptions {
  readonly toolchain: ToolChainPreference
  /** One search for each number of threads. */
  readonly threads: readonly number[]
  /** Of each number of threads: no nest is begun after so many, and measuring one takes its share of them. */
  readonly seconds: number
  /** Most choices of a nest that are tried. */
  readonly candidates: number
  readonly optimise?: 'full' | 'light'
  readonly resolving?: ResolveOptions
  /** Ends it; what was found is kept. */
  readonly stop?: AbortSignal
  /** Kills what runs. */
  readonly kill?: AbortSignal
}

/** What was found for one nest. Times are of the kernels that were measured, in one step. */
export interface NestResult {
  readonly threads: number
  readonly nest: string
  /** Of the step's multiply-adds. */
  readonly share: number
  readonly tried: number
  readonly rule: TileChoice
  readonly ruleSeconds: number
  /** Of the fastest, whether or not it is kept. */
  readonly seconds: number
  /** Null where the rule's is as good. */
  readonly found: FoundTile | null
}

export interface SearchObserver {
  note?(sentence: string): void
  /** The nests of a number of threads are known. */
  began?(toolchain: string, threads: number, nests: number): void
  compiling?(site: SearchSite, schedules: number): void
  measured?(site: SearchSite, done: number, all: number): void
  /** It is stored by then. */
  nest?(result: NestResult): void
}

export interface SearchResult {
  readonly toolchain: string
  readonly isa: string
  /** Where it is kept. */
  readonly file: string
  readonly nests: readonly NestResult[]
  /** Nests that there was no time for. */
  readonly left: number
}

/** Less than this is disturbance. */
const LEAST_GAIN = 1.03
const FEWEST_CANDIDATES = 4
/** A measurement that takes less is repeated. */
const TURN_SECONDS = 0.004
const MOST_REPEATS = 64

/**
 * Searches, and keeps what is found for later compilations on this machine.
 *
 * @throws UserError as `prepareModel`, `compileRecipe` and tool chains state; HD613 under an emulator; HD405 when what is
 * found cannot be written
 */
export async function searchSchedules(
  loaded: LoadedRecipe,
  options: SearchOptions,
  observer: SearchObserver = {},
): Promise<SearchResult> {
  const chain = await chooseToolChain(options.toolchain)
  if (chain.launcher.length > 0) {
    throw new UserError('HD613', 'what an emulator runs fast says nothing of the processor', {
      mend: 'search with --toolchain host or wasm',
    })
  }
  const model = await prepareModel(loaded, options.resolving)
  const file = schedulesFile(chain)
  const { found, note } = readFound(file, machineKey(chain))
  for (const sentence of [model.note, note]) if (sentence !== undefined) observer.note?.(sentence)
  const { recipe } = loaded
  const device = ruledDeviceOf(chain)
  const nests: NestResult[] = []
  let left = 0
  for (const threads of options.threads) {
    const steps = recipe.batch.steps ?? SOME_STEPS
    // No choice for a nest is one of memory: whatever a budget would leave in its file is in memory here.
    const settings = { device, threads, steps, memoryBudget: Number.MAX_SAFE_INTEGER, functions: stepFunctions }
    const { functions } = compileRecipe(recipe, model.traced, settings)
    const sites = searchSites(functions, recipe.batch.accumulate)
    observer.began?.(chain.describe(), threads, sites.length)
    const known = found.find((one) => one.threads === threads)?.choices ?? {}
    const search = new Search(
      chain,
      scheduleProfile({ ...device, found: fasterThanRule(found) }, threads),
      options,
      observer,
    )
    // So that a search goes on where an earlier one ran out of time.
    const isKnown = ({ name }: SearchSite): number => (Object.hasOwn(known, name) ? 1 : 0)
    sites.sort((a, b) => isKnown(a) - isKnown(b))
    const start = performance.now()
    const secondsLeft = (): number => options.seconds - (performance.now() - start) / 1000
    for (const [place, site] of sites.entries()) {
      const rest = sites.slice(place).reduce((sum, other) => sum + other.share, 0)
      const seconds = (secondsLeft() * site.share) / rest
      const result = options.stop?.aborted === true || seconds <= 0 ? undefined : await search.nest(site, seconds)
      if (result) {
        storeFound(file, machineKey(chain), threads, {
          [site.name]: result.found ?? { ...result.rule, timesAsFast: 1 },
        })
        observer.nest?.(result)
        nests.push(result)
      } else left++
    }
  }
  return { toolchain: chain.describe(), isa: chain.isa.name, file, nests, left }
}

/** One number of threads; what is found for a nest holds while the next is searched. */
class Search {
  readonly #chain: ToolChain
  readonly #profile: ScheduleProfile
  readonly #choices: Map<string, TileChoice>
  readonly #options: SearchOptions
  readonly #observer: SearchObserver

  constructor(chain: ToolChain, profile: ScheduleProfile, options: SearchOptions, observer: SearchObserver) {
    this.#chain = chain
    this.#profile = profile
    this.#choices = new Map(Object.entries(profile.choices ?? {}))
    this.#options = options
    this.#observer = observer
  }

  /** Measures for about so long. Undefined when it was stopped. */
  async nest(site: SearchSite, seconds: number): Promise<NestResult | undefined> {
    const { candidates: most, optimise = 'full', kill, stop } = this.#options
    const { threads } = this.#profile
    const [rule, ...others] = tileCandidates(site.nest, this.#profile, most)
    if (!rule) return undefined
    const earlier = this.#choices.get(site.name)
    const base = { ...this.#profile, choices: Object.fromEntries(this.#choices) }
    const isUsable = earlier && chooseTile(site.nest, base).from === 'search'
    const kernels = trialKernels(site, [undefined, ...(isUsable ? [earlier] : []), ...others], base)
    this.#observer.compiling?.(site, kernels.candidates.length)
    const common = { toolchain: this.#chain, threads, optimise, ...(kill ? { signal: kill } : {}) }
    const trial = await Trial.open(kernels, common)
    try {
      // The first run finds untouched memory.
      await trial.seconds(0, 1)
      const start = performance.now()
      await trial.seconds(0, 1)
      const once = (performance.now() - start) / 1000
      const times = Math.min(MOST_REPEATS, Math.max(1, Math.ceil(TURN_SECONDS / once)))
      const tried = affordable(kernels.candidates.length, once * times, seconds)
      const all = measurements(tried)
      let done = 0
      const measure = async (candidate: number): Promise<number> => {
        const taken = await trial.seconds(candidate, times)
        this.#observer.measured?.(site, ++done, all)
        return taken
      }
      const found = await fastest(tried, measure, () => stop?.aborted !== true)
      if (!found) return undefined
      const choice = kernels.candidates[found.best]?.choice
      const { timesAsFast } = found
      const kept = choice && timesAsFast >= LEAST_GAIN ? { ...choice, timesAsFast: rounded(timesAsFast) } : null
      if (kept) this.#choices.set(site.name, kept)
      else this.#choices.delete(site.name)
      return {
        threads,
        nest: site.name,
        share: site.share,
        tried,
        rule,
        ruleSeconds: found.firstSeconds,
        seconds: found.seconds,
        found: kept,
      }
    } finally {
      await trial.close()
    }
  }
}

/** As many candidates as so much time allows when each measurement takes `each`. */
function affordable(count: number, each: number, seconds: number): number {
  let tried = count
  while (tried > FEWEST_CANDIDATES && measurements(tried) * each > seconds) tried--
  return tried
}

function rounded(ratio: number): number {
  return Math.round(ratio * 1000) / 1000
}
