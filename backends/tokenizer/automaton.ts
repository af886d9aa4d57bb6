// Compiles patterns to deterministic automata that find what a backtracking matcher finds first: alternatives in their
// order, repetitions as greedy as written. Running one takes a table look-up per character and no memory.
// Knows neither syntax nor files.
//
// A state is the ordered list of places that a matcher may be at (Thompson's construction; the order and the cut behind a
// match as in Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009). A transition asks for the class of
// the next character, the end of the text being a class of its own, so look-aheads of one character are decided by it.

import { UserError } from '../../compiler/diagnostic.ts'
import type { Place } from '../../compiler/diagnostic.ts'
import { partition } from './codePoints.ts'
import type { CodePoints } from './codePoints.ts'
import type { Pattern } from './pattern.ts'

export interface Automata {
  /** Classes of characters; the end of the text is the class behind them, number `classes`. */
  readonly classes: number
  /** By code point. */
  readonly classOf: Uint8Array
  /** One per pattern. State 0 is where nothing can match any more, state 1 is the start. */
  readonly automata: readonly Automaton[]
}

export interface Automaton {
  readonly states: number
  /** [state, class, the end's included]: the next state, and `MATCHED` when the text up to before this character matches. */
  readonly transitions: Uint16Array
}

export const MATCHED = 0x8000
const MOST_STATES = 4096
const MOST_INSTRUCTIONS = 20_000
/** Places looked at while states are found: a second or two; real patterns need some ten thousand. */
const MOST_WORK = 20_000_000

type Instruction =
  | { readonly op: 'one'; readonly set: number }
  | { readonly op: 'ahead'; readonly set: number; readonly next: 'is' | 'isNot' }
  /** Goes on at both, preferring the first. */
  | { readonly op: 'fork'; first: number; second: number }
  | { readonly op: 'match' }

/**
 * Automata of several patterns over common classes. UserError HD432 at a pattern's place when it is too large or can match
 * nothing at all (an empty piece), which no tokenizer means.
 */
export function compilePatterns(patterns: readonly { readonly pattern: Pattern; readonly place: Place }[]): Automata {
  const sets = new SetNumbers()
  const programs = patterns.map(({ pattern, place }) => ({
    place,
    program: new Assembler(sets, place).program(pattern),
  }))
  const classes = partition(sets.all)
  if (!classes) {
    throw new UserError('HD432', 'the patterns tell more than 255 kinds of characters apart', {
      place: patterns[0]?.place,
    })
  }
  const automata = programs.map(({ program, place }) => determine(program, classes.members, classes.classes, place))
  return { classes: classes.classes, classOf: classes.classOf, automata }
}

/** Numbers equal sets alike. */
class SetNumbers {
  readonly all: CodePoints[] = []
  readonly #numbers = new Map<string, number>()

  numberOf(set: CodePoints): number {
    const key = set.map((range) => range.join('-')).join()
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    this.#numbers.set(key, this.all.length)
    return this.all.push(set) - 1
  }
}

/** From a tree to instructions. An instruction that is no fork goes on at the one behind it. */
class Assembler {
  readonly #sets: SetNumbers
  readonly #place: Place
  readonly #instructions: Instruction[] = []

  constructor(sets: SetNumbers, place: Place) {
    this.#sets = sets
    this.#place = place
  }

  program(pattern: Pattern): readonly Instruction[] {
    this.#write(pattern)
    this.#add({ op: 'match' })
    return this.#instructions
  }

  #add(instruction: Instruction): void {
    if (this.#instructions.length >= MOST_INSTRUCTIONS) throw tooLarge(this.#place)
    this.#instructions.push(instruction)
  }

  get #here(): number {
    return this.#instructions.length
  }

  #write(pattern: Pattern): void {
    switch (pattern.kind) {
      case 'one':
        return this.#add({ op: 'one', set: this.#sets.numberOf(pattern.of) })
      case 'ahead':
        return this.#add({ op: 'ahead', set: this.#sets.numberOf(pattern.of), next: pattern.next })
      case 'sequence':
        for (const part of pattern.parts) this.#write(part)
        return
      case 'choice':
        return this.#writeChoice(pattern.options)
      case 'repeat':
        return this.#writeRepeat(pattern)
    }
  }

  #fork(): Extract<Instruction, { op: 'fork' }> {
    const fork = { op: 'fork' as const, first: this.#here + 1, second: this.#here + 1 }
    this.#add(fork)
    return fork
  }

  #writeChoice(options: readonly Pattern[]): void {
    const ends: Extract<Instruction, { op: 'fork' }>[] = []
    for (const [index, option] of options.entries()) {
      const isLast = index === options.length - 1
      const fork = isLast ? undefined : this.#fork()
      this.#write(option)
      // A fork with one goal is a jump.
      if (!isLast) ends.push(this.#fork())
      if (fork) fork.second = this.#here
    }
    for (const end of ends) end.first = end.second = this.#here
  }

  #writeRepeat({ body, least, most, prefer }: Extract<Pattern, { kind: 'repeat' }>): void {
    const goals = (fork: Extract<Instruction, { op: 'fork' }>, more: number, on: number): void => {
      fork.first = prefer === 'more' ? more : on
      fork.second = prefer === 'more' ? on : more
    }
    for (let count = 0; count < least; count++) this.#write(body)
    if (most === undefined) {
      const loop = this.#here
      const fork = this.#fork()
      this.#write(body)
      const back = this.#fork()
      back.first = back.second = loop
      goals(fork, loop + 1, this.#here)
      return
    }
    const forks = Array.from({ length: most - least }, () => {
      const fork = this.#fork()
      const inside = this.#here
      this.#write(body)
      return { fork, inside }
    })
    for (const { fork, inside } of forks) goals(fork, inside, this.#here)
  }
}

function tooLarge(place: Place): UserError {
  return new UserError('HD432', 'the pattern is too large', { place })
}

interface Step {
  readonly matched: boolean
  readonly next: readonly number[]
  /** How many places were looked at. */
  readonly work: number
}

/** Where the ordered places lead when the next character is of a class; `undefined`: the text is at its end. */
function step(
  program: readonly Instruction[],
  members: readonly ReadonlySet<number>[],
  places: readonly number[],
  next: number | undefined,
): Step {
  const seen = new Set<number>()
  const after = new Set<number>()
  const isNext = (set: number): boolean => next !== undefined && members[set]?.has(next) === true
  // Depth first, in the order of preference.
  const open = [...places].reverse()
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (seen.has(at)) continue
    seen.add(at)
    const instruction = program[at]
    if (instruction === undefined) continue
    // What is less preferred than a match cannot win any more; what was preferred goes on.
    if (instruction.op === 'match') return { matched: true, next: [...after], work: seen.size }
    if (instruction.op === 'one') {
      if (isNext(instruction.set)) after.add(at + 1)
    } else if (instruction.op === 'ahead') {
      if (isNext(instruction.set) === (instruction.next === 'is')) open.push(at + 1)
    } else {
      open.push(instruction.second, instruction.first)
    }
  }
  return { matched: false, next: [...after], work: seen.size }
}

function determine(
  program: readonly Instruction[],
  members: readonly ReadonlySet<number>[],
  classes: number,
  place: Place,
): Automaton {
  const states: (readonly number[])[] = [[], [0]]
  const numbers = new Map(states.map((places, number) => [places.join(), number]))
  const rows: number[] = []
  let work = 0
  for (let state = 0; state < states.length; state++) {
    for (let next = 0; next <= classes; next++) {
      const taken = step(program, members, states[state] ?? [], next < classes ? next : undefined)
      const { matched, next: places } = taken
      work += taken.work
      if (work > MOST_WORK) throw tooLarge(place)
      if (matched && state === 1) {
        throw new UserError('HD432', 'the pattern matches where there is nothing', { place })
      }
      const key = places.join()
      let number = numbers.get(key)
      if (number === undefined) {
        number = states.push(places) - 1
        if (number >= MOST_STATES) throw tooLarge(place)
        numbers.set(key, number)
      }
      rows.push(number | (matched ? MATCHED : 0))
    }
  }
  return { states: states.length, transitions: Uint16Array.from(rows) }
}
