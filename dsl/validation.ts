// Checks of recipe values at run time: recipes may be written in JavaScript, and types do not know that a rate is
// positive. Every refusal names the key and stands at the researcher's call.

import type { Place } from '../compiler/diagnostic.ts'
import { userError } from './trace.ts'

/** What the language's own functions made, so that a look-alike does not pass unchecked. */
const checked = new WeakSet<object>()

/** A record of values given by the researcher, read key by key; what nobody asked for is an error. */
export class GivenValues {
  readonly #given: Record<string, unknown>
  readonly #call: string
  readonly #place: Place

  /** @throws UserError HD302 when `given` is no object, HD301 naming the first key that nothing implements */
  constructor(given: unknown, call: string, keys: readonly string[], place: Place) {
    this.#call = call
    this.#place = place
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw userError('HD302', `${call}: takes an object`, place)
    }
    this.#given = given as Record<string, unknown>
    const unknownKey = Object.keys(given).find((key) => !keys.includes(key))
    if (unknownKey !== undefined) {
      throw userError(
        'HD301',
        `${call}: no stage implements the key '${unknownKey}'`,
        place,
        `keys are ${keys.join(', ')}`,
      )
    }
  }

  has(key: string): boolean {
    return this.value(key) !== undefined
  }

  value(key: string): unknown {
    return Object.hasOwn(this.#given, key) ? this.#given[key] : undefined
  }

  fail(key: string, expected: string): never {
    const value = this.value(key)
    if (value === undefined)
      throw userError('HD304', `${this.#call}: '${key}' is missing; it is ${expected}`, this.#place)
    throw userError('HD302', `${this.#call}: '${key}' is ${show(value)}, not ${expected}`, this.#place)
  }

  refuse(sentence: string): never {
    throw userError('HD303', `${this.#call}: ${sentence}`, this.#place)
  }

  number(key: string, expected: string, accept: (value: number) => boolean, otherwise?: number): number {
    const value = this.value(key) ?? otherwise
    if (typeof value !== 'number' || !Number.isFinite(value) || !accept(value)) return this.fail(key, expected)
    return value
  }

  /** A positive integer. */
  count(key: string, otherwise?: number): number {
    const accept = (value: number) => Number.isSafeInteger(value) && value >= 1 && value <= 0x7fffffff
    return this.number(key, 'a positive integer', accept, otherwise)
  }

  text(key: string, expected: string): string {
    const value = this.value(key)
    return typeof value === 'string' && value.trim() !== '' ? value : this.fail(key, expected)
  }

  /** false unless given. */
  flag(key: string): boolean {
    const value = this.value(key) ?? false
    return typeof value === 'boolean' ? value : this.fail(key, 'true or false')
  }

  choice<T extends string>(key: string, choices: readonly T[], otherwise?: T): T {
    const value = this.value(key) ?? otherwise
    const found = choices.find((choice) => choice === value)
    return found ?? this.fail(key, choices.map((choice) => `'${choice}'`).join(' or '))
  }

  /** An object made by one of the language's functions, told by its `kind`. */
  made<T extends { readonly kind: string }>(key: string, kinds: readonly T['kind'][], expected: string): T {
    const value = this.value(key)
    const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
    if (typeof kind !== 'string' || !kinds.includes(kind) || !checked.has(value as object))
      return this.fail(key, expected)
    return value as T
  }
}

function show(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : String(value)
}

/** The same value, frozen throughout, so that a recipe means the same wherever it is read. */
export function frozen<T extends object>(value: T): Readonly<T> {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null && !Object.isFrozen(inner)) frozen(inner as object)
  }
  checked.add(value)
  return Object.freeze(value)
}
