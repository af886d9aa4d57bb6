// The wearable-sensing world of the embedded demo: what a watch measures, which range is usual for people at large, and
// what is usual for one synthetic person. Integer arithmetic only; knows nothing of wording, tokens or models.

import { InternalError } from '../../compiler/diagnostic.ts'
import { Random } from '../../data/random.ts'

/** The three answers that every question of this world has. */
export type Verdict = 'low' | 'normal' | 'high'
export const verdicts: readonly Verdict[] = ['low', 'normal', 'high']

/** A range in ticks of its quantity, both ends included. */
export interface Range {
  readonly low: number
  readonly high: number
}

/** Something a watch writes down. Values are whole ticks; `render` turns them into what a person reads. */
export interface Quantity {
  readonly name: string
  /** One sentence that says what it is. */
  readonly meaning: string
  readonly unit: string
  /** What is usual for people at large, in ticks. */
  readonly usual: Range
  /** What the watch can show at all, in ticks. */
  readonly possible: Range
  /** One tick in the smallest shown digit: 100 for steps, 5 for minutes, 1 for beats. */
  readonly tick: number
  readonly decimals: 0 | 1
  /** Where a person's own usual range may lie beside the population's. */
  readonly shifts: 'up' | 'down' | 'either'
}

export const quantities: readonly Quantity[] = [
  {
    name: 'resting heart rate',
    meaning: 'how often the heart beats in a minute at rest',
    unit: 'beats per minute',
    usual: { low: 58, high: 66 },
    possible: { low: 30, high: 110 },
    tick: 1,
    decimals: 0,
    shifts: 'either',
  },
  {
    name: 'heart rate variability',
    meaning: 'how much the time between two heart beats varies',
    unit: 'milliseconds',
    usual: { low: 8, high: 16 },
    possible: { low: 1, high: 44 },
    tick: 5,
    decimals: 0,
    shifts: 'up',
  },
  {
    name: 'sleep',
    meaning: 'the time asleep in one night',
    unit: 'minutes',
    usual: { low: 40, high: 48 },
    possible: { low: 12, high: 76 },
    tick: 10,
    decimals: 0,
    shifts: 'either',
  },
  {
    name: 'deep sleep',
    meaning: 'the time in the deepest stage of sleep',
    unit: 'minutes',
    usual: { low: 12, high: 20 },
    possible: { low: 1, high: 46 },
    tick: 5,
    decimals: 0,
    shifts: 'up',
  },
  {
    name: 'step count',
    meaning: 'the number of steps in one day',
    unit: 'steps',
    usual: { low: 12, high: 20 },
    possible: { low: 1, high: 44 },
    tick: 500,
    decimals: 0,
    shifts: 'up',
  },
  {
    name: 'blood oxygen',
    meaning: 'the share of the blood that carries oxygen',
    unit: 'percent',
    usual: { low: 190, high: 197 },
    possible: { low: 170, high: 200 },
    tick: 5,
    decimals: 1,
    shifts: 'down',
  },
  {
    name: 'skin temperature',
    meaning: 'how warm the skin of the wrist is at night',
    unit: 'degrees',
    usual: { low: 334, high: 345 },
    possible: { low: 300, high: 380 },
    tick: 1,
    decimals: 1,
    shifts: 'either',
  },
  {
    name: 'breathing rate',
    meaning: 'the number of breaths in a minute of sleep',
    unit: 'breaths per minute',
    usual: { low: 26, high: 34 },
    possible: { low: 8, high: 64 },
    tick: 5,
    decimals: 1,
    shifts: 'either',
  },
]

/** Something that happened before a measurement, and what it does to people on whom it acts. */
export interface Circumstance {
  readonly words: string
  readonly quantity: string
  readonly moves: 'up' | 'down'
}

/** None of these moves the population's ranges; each moves some people's. */
export const circumstances: readonly Circumstance[] = [
  { words: 'after a hard workout', quantity: 'heart rate variability', moves: 'down' },
  { words: 'after a hot day', quantity: 'resting heart rate', moves: 'up' },
  { words: 'after late coffee', quantity: 'sleep', moves: 'down' },
  { words: 'after a glass of wine', quantity: 'breathing rate', moves: 'up' },
  { words: 'after a long flight', quantity: 'skin temperature', moves: 'up' },
  { words: 'after an evening swim', quantity: 'deep sleep', moves: 'up' },
]

/** One thing that can be asked: a quantity, with or without something that happened before. */
export interface Topic {
  readonly quantity: Quantity
  readonly circumstance: Circumstance | undefined
}

/** One person: their own usual range for every topic they were observed in. */
export interface Person {
  readonly topics: readonly { readonly topic: Topic; readonly usual: Range }[]
}

/** The number as it is shown, for example `12500`, `96.5`. */
export function render(quantity: Quantity, ticks: number): string {
  const shown = ticks * quantity.tick
  if (quantity.decimals === 0) return String(shown)
  return `${Math.floor(shown / 10)}.${shown % 10}`
}

/** `low` below the range, `high` above it, `normal` inside or on its ends. */
export function judge(value: number, usual: Range): Verdict {
  return value < usual.low ? 'low' : value > usual.high ? 'high' : 'normal'
}

/** Values worth asking about: the range itself and as much again on either side, within what the watch can show. */
export function around(quantity: Quantity, usual: Range, widths: number): Range {
  const reach = Math.floor((usual.high - usual.low + 1) * widths)
  return {
    low: Math.max(quantity.possible.low, usual.low - reach),
    high: Math.min(quantity.possible.high, usual.high + reach),
  }
}

/**
 * The person of a seed. Every quantity's usual range lies between eight and twelve tenths of its own width beside the
 * population's (a trained runner's heart, a short sleeper, someone who lives high up), and every circumstance moves its
 * quantity by half to nine tenths of a width more.
 */
export function createPerson(seed: number): Person {
  const random = new Random(seed, 1)
  const own = quantities.map((quantity) => {
    const up = quantity.shifts === 'either' ? random.below(2) === 0 : quantity.shifts === 'up'
    return { topic: { quantity, circumstance: undefined }, usual: moved(quantity.usual, up, random.between(8, 12)) }
  })
  const touched = circumstances.map((circumstance) => {
    const base = own.find(({ topic }) => topic.quantity.name === circumstance.quantity)
    if (base === undefined) throw new InternalError(`no quantity is called '${circumstance.quantity}'`)
    const usual = moved(base.usual, circumstance.moves === 'up', random.between(5, 9))
    return { topic: { quantity: base.topic.quantity, circumstance }, usual }
  })
  return { topics: [...own, ...touched] }
}

/**
 * A range that some wearer of a watch might have: anywhere that leaves room on both sides, up to three tenths
 * wider or narrower than is common. Drawn anew each time, so that nothing can be learnt from it but how to compare.
 */
export function anyUsualRange(quantity: Quantity, random: Random): Range {
  const { usual, possible } = quantity
  const width = usual.high - usual.low
  const room = Math.ceil(width / 2)
  const own = random.between(Math.ceil((width * 7) / 10), Math.floor((width * 13) / 10))
  const low = Math.max(possible.low + room, usual.low - 3 * width)
  const high = Math.min(possible.high - room, usual.high + 3 * width)
  const start = random.between(low, high - own)
  return { low: start, high: start + own }
}

function moved(range: Range, up: boolean, tenths: number): Range {
  const by = Math.max(1, Math.floor(((range.high - range.low + 1) * tenths) / 10)) * (up ? 1 : -1)
  return { low: range.low + by, high: range.high + by }
}
