// A recipe's limits on energy at work: tells the session, and turns what it decides and measures into lines for people and
// for `metrics.jsonl`. Knows no file and decides nothing: that is the run-time's governor's business.

import { batteryMargin, ceilingMargin } from '../backends/neon/driver/index.ts'
import type { Decision, EnergyUse, Gate, GovernorPolicy, Reading, Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import { atWriting } from '../dsl/index.ts'
import type { Energy, Recipe } from '../dsl/index.ts'

/** A change between computing, resting and holding. */
export interface DecisionFigures {
  /** Optimizer steps made before it. */
  readonly step: number
  readonly decision: 'run' | 'rest' | 'hold'
  readonly from: 'begun' | 'run' | 'rest' | 'hold'
  /** What holds the run. */
  readonly reasons: readonly string[]
  /** When, in UTC. */
  readonly time: string
  /** Since steps began. */
  readonly milliseconds: number
  /** Of a rest. */
  readonly rest_seconds?: number
  /** Of a hold: how often it is asked whether it may end. */
  readonly look_seconds?: number
  /** The figures read last: shares of full and of all cores, degrees Celsius, 1 for power from outside. */
  readonly battery: Reading
  readonly charging: Reading
  readonly temperature: Reading
  readonly others: Reading
}

/** What some steps took: those of about a second, or one that lasted longer. */
export interface EnergyFigures {
  /** The last of them. */
  readonly step: number
  readonly steps: number
  readonly computing_seconds: number
  readonly resting_seconds: number
  readonly held_seconds: number
  /** Of the processor or the machine, whoever used it; absent where nothing measured all of the time. */
  readonly measured_joules?: number
  readonly measured_by?: Exclude<EnergyUse['by'], 'nothing'>
  /** The device profile's watts while computing, without rests; absent where the profile states none. */
  readonly predicted_joules?: number
}

export interface EnergySettings {
  readonly energy: Energy
  /** What the device's profile says it takes while it computes, in watts. */
  readonly watts?: number
  /** What stands in front of /sys and /proc. */
  readonly root?: string
}

/** What whoever starts a run may add to its recipe. */
export interface EnergyChoices extends Omit<EnergySettings, 'energy'> {
  readonly dutyCycle?: number
}

const noLimits: Energy = { dutyCycle: 1, whenCharging: false, whenIdle: false, lookEvery: 5 }

/** Counters and gauges say nothing new more often. */
const MEASURE_MILLISECONDS = 1000

/** The recipe's limits with what the command line says otherwise; undefined where neither says anything. */
export function energySettings(given: Energy | undefined, options: EnergyChoices = {}): EnergySettings | undefined {
  const { dutyCycle, ...system } = options
  if (dutyCycle === undefined) return given && { energy: given, ...system }
  return { energy: { ...noLimits, ...given, dutyCycle }, ...system }
}

/** UserError HD716, where the recipe states its limits, when a program of this tool chain cannot keep them. */
export function refuseUngoverned(recipe: Pick<Recipe, 'energy'>, toolchain: string): void {
  if (toolchain !== 'wasm') return
  const error = new UserError('HD716', 'energy is not governed in WebAssembly, which sees no battery and no sensor', {
    mend: 'install g++ or clang++ for the host, or leave energy out',
  })
  throw recipe.energy ? atWriting(recipe.energy, error) : error
}

export function policyOf({ energy, root }: EnergySettings): GovernorPolicy {
  const { dutyCycle, pauseBelowBattery, pauseAbove, whenCharging, whenIdle, lookEvery } = energy
  return {
    duty: dutyCycle,
    ...(pauseBelowBattery === undefined ? {} : { batteryFloor: pauseBelowBattery }),
    ...(pauseAbove === undefined ? {} : { ceiling: pauseAbove.degrees }),
    ...(pauseAbove?.zone === undefined ? {} : { zone: pauseAbove.zone }),
    onlyCharging: whenCharging,
    onlyIdle: whenIdle,
    look: Math.round(lookEvery * 1000),
    ...(root === undefined ? {} : { root }),
  }
}

const figureOf = (reading: Reading, unit: number): string =>
  typeof reading === 'number' ? `${Number((reading * unit).toFixed(1))}` : reading

const gateReasons: Readonly<Record<Gate, (decision: Decision, energy: Energy) => string>> = {
  battery: ({ battery, charging }, { pauseBelowBattery: floor = 0 }) => {
    const charges = charging === 1 ? ', charging' : charging === 0 ? ', not charging' : ''
    const isBelow = typeof battery === 'number' && battery < floor
    const enough = figureOf(Math.min(1, floor + batteryMargin), 100)
    const limit = isBelow ? ` < ${figureOf(floor, 100)} %` : `, goes on from ${enough} %`
    return `battery ${figureOf(battery, 100)} %${limit}${charges}`
  },
  temperature: ({ temperature }, { pauseAbove }) => {
    const ceiling = pauseAbove?.degrees ?? 0
    const isAbove = typeof temperature === 'number' && temperature > ceiling
    return `${figureOf(temperature, 1)} °C${isAbove ? ` > ${ceiling} °C` : `, goes on from ${ceiling - ceilingMargin} °C`}`
  },
  charging: () => 'no power from outside',
  idle: ({ others }) => `others use ${figureOf(others, 100)} % of the cores`,
}

const unreadReasons: Readonly<Record<Gate, (energy: Energy) => string>> = {
  battery: () => "the battery's charge cannot be read",
  temperature: ({ pauseAbove }) =>
    pauseAbove?.zone === undefined
      ? 'the temperature cannot be read'
      : `the temperature of a zone '${pauseAbove.zone}' cannot be read`,
  charging: () => 'whether power comes from outside cannot be read',
  idle: () => 'what others use of the cores is not known yet',
}

/** Why a run is held; a limit that is passed and unreadable now is told as passed. */
export function reasonsOf(decision: Decision, energy: Energy): string[] {
  return [
    ...decision.gates
      .filter((gate) => !decision.unread.includes(gate))
      .map((gate) => gateReasons[gate](decision, energy)),
    ...decision.unread.map((gate) => unreadReasons[gate](energy)),
  ]
}

/** Limits that limit nothing, as the machine has no such thing. */
export function idleLimits({ battery, temperature, charging }: Decision, energy: Energy): string[] {
  const idle = (isAsked: boolean, reading: Reading, what: string, key: string): string[] =>
    isAsked && reading === 'absent' ? [`this machine shows no ${what}, so ${key} limits nothing`] : []
  return [
    ...idle(energy.pauseBelowBattery !== undefined, battery, 'battery', 'pauseBelowBattery'),
    ...idle(energy.pauseAbove !== undefined, temperature, 'thermal zone', 'pauseAbove'),
    ...idle(energy.whenCharging, charging, 'battery and no charger', 'whenCharging'),
  ]
}

export interface EnergyObserver {
  note(sentence: string): void
  decided(figures: DecisionFigures): void
}

export class GovernedSession {
  readonly #session: Session
  readonly #settings: EnergySettings
  readonly #observer: EnergyObserver
  #step: number
  #measuredStep: number
  #measuredAt = performance.now()
  #before: EnergyUse = { computing: 0, resting: 0, held: 0, joules: 0, unmeasured: 0, by: 'nothing' }

  /** `step`: steps made before. */
  constructor(session: Session, settings: EnergySettings, observer: EnergyObserver, step: number) {
    this.#session = session
    this.#settings = settings
    this.#observer = observer
    this.#step = step
    this.#measuredStep = step
  }

  /** From now on the session keeps the limits. UserError HD716 where it cannot. */
  begin(): Promise<void> {
    return this.#session.govern(policyOf(this.#settings), (decision) => this.#decided(decision))
  }

  end(): Promise<void> {
    return this.#session.govern(undefined)
  }

  /** After a step: what the steps since the last figures took, when it is time for figures, or there will be no more. */
  async measured(step: number, isLast: boolean): Promise<EnergyFigures | undefined> {
    this.#step = step
    const now = performance.now()
    const steps = step - this.#measuredStep
    if (steps === 0 || (!isLast && now - this.#measuredAt < MEASURE_MILLISECONDS)) return undefined
    const use = await this.#session.energy()
    const figures = energyFigures(this.#before, use, this.#settings.watts)
    this.#before = use
    this.#measuredStep = step
    this.#measuredAt = now
    return { step, steps, ...figures }
  }

  #decided(decision: Decision): void {
    const { energy } = this.#settings
    const { from, to, rest, milliseconds, battery, charging, temperature, others } = decision
    if (from === 'begun') for (const sentence of idleLimits(decision, energy)) this.#observer.note(sentence)
    this.#observer.decided({
      step: this.#step,
      decision: to === 'begun' ? 'run' : to,
      from,
      reasons: reasonsOf(decision, energy),
      time: new Date().toISOString(),
      milliseconds,
      ...(to === 'rest' ? { rest_seconds: rest / 1000 } : {}),
      ...(to === 'hold' ? { look_seconds: energy.lookEvery } : {}),
      battery,
      charging,
      temperature,
      others,
    })
  }
}

/** What was used between two moments. */
export function energyFigures(
  before: EnergyUse,
  after: EnergyUse,
  watts: number | undefined,
): Omit<EnergyFigures, 'step' | 'steps'> {
  const seconds = (key: 'computing' | 'resting' | 'held'): number => (after[key] - before[key]) / 1000
  const { by } = after
  const isMeasured = after.unmeasured === before.unmeasured
  return {
    computing_seconds: seconds('computing'),
    resting_seconds: seconds('resting'),
    held_seconds: seconds('held'),
    ...(isMeasured && by !== 'nothing' ? { measured_joules: after.joules - before.joules, measured_by: by } : {}),
    ...(watts === undefined ? {} : { predicted_joules: watts * seconds('computing') }),
  }
}
