// Reads the regular expressions of tokenizer.json: the part of Oniguruma's language that pre-tokenizers use. What is
// outside of it is refused by name. Knows neither automata nor Unicode data.

import { UserError } from '../../compiler/diagnostic.ts'
import type { Place } from '../../compiler/diagnostic.ts'
import { caseless, codePoints, complement, knownProperty, property } from './codePoints.ts'
import type { CodePoints, Range } from './codePoints.ts'

export type Pattern =
  | { readonly kind: 'one'; readonly of: CodePoints }
  | { readonly kind: 'sequence'; readonly parts: readonly Pattern[] }
  /** In the order of preference. */
  | { readonly kind: 'choice'; readonly options: readonly Pattern[] }
  | {
      readonly kind: 'repeat'
      readonly body: Pattern
      readonly least: number
      /** undefined: without end. */
      readonly most: number | undefined
      readonly prefer: 'more' | 'fewer'
    }
  /** What the next code point must be (`is`), or must not be, the end of the text included (`isNot`). Consumes nothing. */
  | { readonly kind: 'ahead'; readonly next: 'is' | 'isNot'; readonly of: CodePoints }

/** Real patterns have some hundred characters. */
const LONGEST_PATTERN = 4096
const DEEPEST = 32
const MOST_REPEATS = 64

/**
 * A pattern as a tree. `place` says where it was written. UserError HD432 for what is malformed or outside of the
 * language that tables are made from.
 */
export function parsePattern(source: string, place: Place): Pattern {
  if (source.length > LONGEST_PATTERN) {
    throw new UserError('HD432', `the pattern has ${source.length} characters, more than ${LONGEST_PATTERN}`, { place })
  }
  const parser = new Parser(Array.from(source), place)
  return parser.whole()
}

/** A text as the pattern that matches exactly it. */
export function literalPattern(text: string): Pattern {
  return { kind: 'sequence', parts: Array.from(text, one) }
}

function one(character: string): Pattern {
  const code = character.codePointAt(0) ?? 0
  return { kind: 'one', of: codePoints([[code, code]]) }
}

/** Whether a pattern can match without a character. */
function maybeEmpty(pattern: Pattern): boolean {
  switch (pattern.kind) {
    case 'one':
      return false
    case 'ahead':
      return true
    case 'sequence':
      return pattern.parts.every(maybeEmpty)
    case 'choice':
      return pattern.options.some(maybeEmpty)
    case 'repeat':
      return pattern.least === 0 || maybeEmpty(pattern.body)
  }
}

const controls: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' }
const shorthands: Readonly<Record<string, string>> = { s: 'White_Space', d: 'Nd' }

class Parser {
  readonly #characters: readonly string[]
  readonly #place: Place
  #next = 0
  #ignoresCase = false
  #depth = 0

  constructor(characters: readonly string[], place: Place) {
    this.#characters = characters
    this.#place = place
  }

  whole(): Pattern {
    const pattern = this.#choice()
    if (this.#next < this.#characters.length) throw this.#refusal(`')' closes nothing`)
    return pattern
  }

  #refusal(what: string): UserError {
    return new UserError('HD432', `${what} (character ${this.#next + 1} of the pattern)`, { place: this.#place })
  }

  #peek(ahead = 0): string | undefined {
    return this.#characters[this.#next + ahead]
  }

  #take(text: string): boolean {
    const wanted = Array.from(text)
    const fits = wanted.every((character, index) => this.#peek(index) === character)
    if (fits) this.#next += wanted.length
    return fits
  }

  #choice(): Pattern {
    if (++this.#depth > DEEPEST) throw this.#refusal(`groups are nested deeper than ${DEEPEST}`)
    const options = [this.#sequence()]
    while (this.#take('|')) options.push(this.#sequence())
    this.#depth--
    return options.length === 1 ? (options[0] as Pattern) : { kind: 'choice', options }
  }

  #sequence(): Pattern {
    const parts: Pattern[] = []
    for (let next = this.#peek(); next !== undefined && next !== '|' && next !== ')'; next = this.#peek()) {
      parts.push(this.#repeated(this.#atom()))
    }
    return { kind: 'sequence', parts }
  }

  #repeated(body: Pattern): Pattern {
    let result = body
    for (let bounds = this.#bounds(); bounds; bounds = this.#bounds()) {
      if (result !== body) throw this.#refusal('a repetition of a repetition')
      // Engines differ in when they stop repeating nothing.
      if (maybeEmpty(body)) throw this.#refusal('a repetition of what may be nothing')
      if (this.#peek() === '+') throw this.#refusal('a possessive repetition')
      result = { kind: 'repeat', body, ...bounds, prefer: this.#take('?') ? 'fewer' : 'more' }
    }
    return result
  }

  #bounds(): { least: number; most: number | undefined } | undefined {
    if (this.#take('*')) return { least: 0, most: undefined }
    if (this.#take('+')) return { least: 1, most: undefined }
    if (this.#take('?')) return { least: 0, most: 1 }
    if (!this.#take('{')) return undefined
    const least = this.#number()
    const most = this.#take(',') ? (this.#peek() === '}' ? undefined : this.#number()) : least
    if (!this.#take('}')) throw this.#refusal("'}' is missing")
    if (most !== undefined && most < least) throw this.#refusal('the most repetitions are fewer than the least')
    return { least, most }
  }

  #number(): number {
    let digits = ''
    while (/^[0-9]$/.test(this.#peek() ?? '')) digits += this.#characters[this.#next++]
    if (digits === '') throw this.#refusal('a number is missing')
    const value = Number(digits)
    if (value > MOST_REPEATS) throw this.#refusal(`more than ${MOST_REPEATS} repetitions`)
    return value
  }

  #atom(): Pattern {
    const next = this.#characters[this.#next]
    if (next === '(') return this.#group()
    if (next === '[') return { kind: 'one', of: this.#classSet() }
    if (next === '\\') return { kind: 'one', of: this.#withCase(this.#escape()) }
    if (next === undefined || '.^$*+?{}]'.includes(next)) throw this.#refusal(`'${next ?? 'the end'}' at this place`)
    this.#next++
    const code = next.codePointAt(0) ?? 0
    return { kind: 'one', of: this.#withCase(codePoints([[code, code]])) }
  }

  #withCase(set: CodePoints): CodePoints {
    return this.#ignoresCase ? caseless(set) : set
  }

  #group(): Pattern {
    if (this.#take('(?!')) return this.#lookAhead('isNot')
    if (this.#take('(?=')) return this.#lookAhead('is')
    const before = this.#ignoresCase
    if (this.#take('(?i:')) this.#ignoresCase = true
    else if (!this.#take('(?:')) {
      this.#take('(')
      if (this.#peek() === '?' || this.#peek() === '*') throw this.#refusal('this kind of group')
    }
    const inside = this.#choice()
    this.#ignoresCase = before
    if (!this.#take(')')) throw this.#refusal("')' is missing")
    return inside
  }

  #lookAhead(next: 'is' | 'isNot'): Pattern {
    const inside = this.#choice()
    if (!this.#take(')')) throw this.#refusal("')' is missing")
    const only = inside.kind === 'sequence' && inside.parts.length === 1 ? inside.parts[0] : undefined
    if (only?.kind !== 'one') throw this.#refusal('a look-ahead of more than one character')
    return { kind: 'ahead', next, of: only.of }
  }

  /** A class in brackets. */
  #classSet(): CodePoints {
    this.#take('[')
    const isNegated = this.#take('^')
    const ranges: Range[] = []
    for (let first = true; !this.#take(']'); first = false) {
      const next = this.#peek()
      if (next === undefined) throw this.#refusal("']' is missing")
      // Oniguruma nests and intersects classes, and takes a ']' at the start literally.
      if (next === '[' || (next === '&' && this.#peek(1) === '&')) throw this.#refusal('a class inside of a class')
      if (next === ']' && first) throw this.#refusal('an empty class')
      const item = this.#classItem()
      if (typeof item !== 'number') {
        ranges.push(...item)
      } else if (this.#peek() === '-' && this.#peek(1) !== ']' && this.#peek(1) !== undefined) {
        this.#next++
        const last = this.#classItem()
        if (typeof last !== 'number' || last < item) throw this.#refusal('a range that does not go upwards')
        ranges.push([item, last])
      } else {
        ranges.push([item, item])
      }
    }
    if (ranges.length === 0) throw this.#refusal('an empty class')
    const set = this.#withCase(codePoints(ranges))
    return isNegated ? complement(set) : set
  }

  #classItem(): number | CodePoints {
    if (this.#peek() !== '\\') return this.#characters[this.#next++]?.codePointAt(0) ?? 0
    const set = this.#escape()
    const [only] = set
    return set.length === 1 && only && only[0] === only[1] ? only[0] : set
  }

  /** What stands behind a backslash, as a set. */
  #escape(): CodePoints {
    this.#take('\\')
    const letter = this.#characters[this.#next++]
    if (letter === undefined) throw this.#refusal('a backslash at the end')
    const control = controls[letter]
    const literal = control ?? (/^[\p{L}\p{N}]$/u.test(letter) ? undefined : letter)
    if (literal !== undefined) {
      const code = literal.codePointAt(0) ?? 0
      return codePoints([[code, code]])
    }
    const shorthand = shorthands[letter.toLowerCase()]
    if (shorthand !== undefined) {
      const set = knownProperty(shorthand)
      return letter === letter.toLowerCase() ? set : complement(set)
    }
    if (letter === 'p' || letter === 'P') return this.#property(letter === 'P')
    throw this.#refusal(`'\\${letter}'`)
  }

  #property(isNegated: boolean): CodePoints {
    let name = ''
    if (this.#take('{')) {
      while (this.#peek() !== undefined && this.#peek() !== '}') name += this.#characters[this.#next++]
      this.#take('}')
    }
    const set = property(name)
    if (!set) throw this.#refusal(`the property '\\p{${name.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')}}'`)
    return isNegated ? complement(set) : set
  }
}
