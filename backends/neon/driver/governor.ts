// What a session tells the run-time's governor, and what it hears of it: the words of `runtime/heddle_governing.h` read and
// written. Knows no recipe and decides nothing.

import { InternalError } from '../../../compiler/diagnostic.ts'

/** Limits within which a program computes. What it computes does not depend on them. */
export interface GovernorPolicy {
  /** Share of the time that is computed, above 0, at most 1; the rest is rest. */
  readonly duty?: number
  /** Computing and resting together, in milliseconds; 10,000 unless stated. */
  readonly period?: number
  /** Share of the batteries' charge below which nothing is computed. */
  readonly batteryFloor?: number
  /** Degrees Celsius above which nothing is computed. */
  readonly ceiling?: number
  /** Type of the thermal zones that count; all unless stated. */
  readonly zone?: string
  /** Only while power comes from outside. */
  readonly onlyCharging?: boolean
  /** Only while other processes leave the machine mostly alone. */
  readonly onlyIdle?: boolean
  /** Milliseconds between two looks at the system's files; 5,000 unless stated. */
  readonly look?: number
  /** What stands in front of /sys and /proc; nothing unless stated. */
  readonly root?: string
}

/** Charge is to be this much above the floor, heat so many degrees below the ceiling, before work goes on. */
export const batteryMargin = 0.02
export const ceilingMargin = 3
/** Share of all cores that other processes may use while the machine counts as idle, and where it does so again. */
export const busyShare = 0.25
export const busyMargin = 0.1
export const usualLook = 5000
const usualPeriod = 10_000

/** `absent`: the machine has no such thing. `unreadable`: it has, but does not say. */
export type Reading = number | 'absent' | 'unreadable'

export const gates = ['battery', 'temperature', 'charging', 'idle'] as const
export type Gate = (typeof gates)[number]
export type Standing = 'begun' | 'run' | 'rest' | 'hold'

/** What the governor decided, and on which figures. */
export interface Decision {
  /** Since the policy was set. */
  readonly milliseconds: number
  readonly from: Standing
  readonly to: Standing
  /** What holds: limits that are not kept… */
  readonly gates: readonly Gate[]
  /** …and limits whose figure is there but cannot be read. */
  readonly unread: readonly Gate[]
  /** How long a rest is going to be, in milliseconds. */
  readonly rest: number
  /** Share of full. */
  readonly battery: Reading
  /** 1: power comes from outside. */
  readonly charging: Reading
  /** Degrees Celsius of the hottest zone that counts. */
  readonly temperature: Reading
  /** Share of all cores that other processes used since the look before. */
  readonly others: Reading
}

/** Since the policy was set. */
export interface EnergyUse {
  /** Milliseconds in calls, without rests and holds. */
  readonly computing: number
  readonly resting: number
  readonly held: number
  /** Of the whole processor package, or the whole machine where batteries are what measures. */
  readonly joules: number
  /** Milliseconds that nothing measured. */
  readonly unmeasured: number
  readonly by: 'nothing' | 'powercap' | 'battery' | 'both'
}

/** The command that sets a policy; `undefined` takes it off. */
export function governCommand(policy: GovernorPolicy | undefined): string {
  if (policy === undefined) return 'govern off\n'
  const { zone = '-', root = '' } = policy
  if (/[\s\0]/.test(zone) || zone === '' || /[\n\0]/.test(root)) {
    throw new InternalError('the zone or the root of a policy is no name')
  }
  const thousandths = (value: number): number => Math.round(value * 1000)
  const numbers = [
    thousandths(policy.duty ?? 1),
    policy.period ?? usualPeriod,
    thousandths(policy.batteryFloor ?? 0),
    thousandths(batteryMargin),
    thousandths(policy.ceiling ?? 0),
    thousandths(ceilingMargin),
    policy.onlyCharging === true ? 1 : 0,
    policy.onlyIdle === true ? 1 : 0,
    thousandths(busyShare),
    thousandths(busyMargin),
    policy.look ?? usualLook,
  ]
  return `govern ${numbers.join(' ')} ${zone} ${root}\n`
}

type Fields = Readonly<Record<string, unknown>>

const bySet = (bits: unknown): Gate[] => gates.filter((_, index) => (Number(bits) & (1 << index)) !== 0)

function reading(value: unknown, unit: number): Reading {
  return typeof value === 'number' ? value / unit : value === 'absent' ? 'absent' : 'unreadable'
}

/** Reads the decisions of one policy off their lines. */
export class DecisionReader {
  #number = 0

  /** InternalError when one is missing. */
  read(fields: Fields): Decision {
    if (fields['number'] !== ++this.#number) throw new InternalError(`decision ${this.#number} of the governor is lost`)
    return {
      milliseconds: Number(fields['milliseconds']),
      from: fields['from'] as Standing,
      to: fields['to'] as Standing,
      gates: bySet(fields['gates']),
      unread: bySet(fields['unread']),
      rest: Number(fields['rest']),
      battery: reading(fields['battery'], 1000),
      charging: reading(fields['charging'], 1),
      temperature: reading(fields['temperature'], 1000),
      others: reading(fields['others'], 1000),
    }
  }
}

export function energyUse(fields: Fields): EnergyUse {
  const { computing, resting, held, joules, unmeasured, by } = fields as unknown as EnergyUse
  return { computing, resting, held, joules, unmeasured, by }
}
