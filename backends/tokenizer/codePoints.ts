// Sets of code points as sorted ranges, and what Node's own regular expressions say about them: properties and case.
// Surrogates are in no set: text is UTF-8 here. Knows no pattern and no tokenizer.

import { InternalError } from '../../compiler/diagnostic.ts'

/** First and last code point of a range, both included. */
export type Range = readonly [first: number, last: number]
/** Sorted, without overlaps, never touching. */
export type CodePoints = readonly Range[]

export const LAST_CODE_POINT = 0x10ffff
const SURROGATES: Range = [0xd800, 0xdfff]

/** Every code point of UTF-8 text. */
export const everything: CodePoints = [
  [0, SURROGATES[0] - 1],
  [SURROGATES[1] + 1, LAST_CODE_POINT],
]

/** The set of ranges in any order, overlapping or not; surrogates are left out. */
export function codePoints(ranges: Iterable<Range>): CodePoints {
  const sorted = [...ranges].flatMap(withoutSurrogates).sort((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const [first, last] of sorted) {
    const previous = merged.at(-1)
    if (previous && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last)
    else merged.push([first, last])
  }
  return merged
}

function withoutSurrogates([first, last]: Range): Range[] {
  const parts: Range[] = []
  if (first < SURROGATES[0]) parts.push([first, Math.min(last, SURROGATES[0] - 1)])
  if (last > SURROGATES[1]) parts.push([Math.max(first, SURROGATES[1] + 1), last])
  return parts
}

export function complement(set: CodePoints): CodePoints {
  const gaps: Range[] = []
  let next = 0
  for (const [first, last] of set) {
    if (next < first) gaps.push([next, first - 1])
    next = last + 1
  }
  if (next <= LAST_CODE_POINT) gaps.push([next, LAST_CODE_POINT])
  return codePoints(gaps)
}

let allText: string | undefined

/** One string of all code points in order. */
function everyCodePoint(): string {
  if (allText !== undefined) return allText
  const pieces: string[] = []
  for (const [first, last] of everything) {
    for (let from = first; from <= last; from += 4096) {
      const length = Math.min(4096, last - from + 1)
      pieces.push(String.fromCodePoint(...Array.from({ length }, (_, index) => from + index)))
    }
  }
  allText = pieces.join('')
  return allText
}

/** The code point at an index of `everyCodePoint()`. */
function codePointAt(index: number): number {
  if (index < SURROGATES[0]) return index
  const behindSurrogates = SURROGATES[1] + 1 - SURROGATES[0]
  const planeOne = 0x10000 - behindSurrogates
  return index < planeOne ? index + behindSurrogates : 0x10000 + (index - planeOne) / 2
}

const known = new Map<string, CodePoints>()

/** The code points that a class of Node's regular expressions (`\p{L}`, `[a-z]`) matches, with further flags. */
function matchedByNode(source: string, flags: '' | 'i'): CodePoints {
  const key = `${flags}/${source}`
  const found = known.get(key)
  if (found) return found
  const ranges: Range[] = []
  for (const match of everyCodePoint().matchAll(new RegExp(`${source}+`, `gu${flags}`))) {
    const end = match.index + match[0].length
    // A match may go over the place of the surrogates; `codePoints` takes them out again.
    ranges.push([codePointAt(match.index), lastBefore(end)])
  }
  const set = codePoints(ranges)
  known.set(key, set)
  return set
}

function lastBefore(index: number): number {
  const text = everyCodePoint()
  const unit = text.charCodeAt(index - 1)
  return codePointAt(unit >= 0xdc00 && unit <= 0xdfff ? index - 2 : index - 1)
}

/** A Unicode property such as `L`, `White_Space` or `Script=Han`; undefined when Node knows none of this name. */
export function property(name: string): CodePoints | undefined {
  if (!/^[A-Za-z_]+(?:=[A-Za-z_]+)?$/.test(name)) return undefined
  try {
    return matchedByNode(`\\p{${name}}`, '')
  } catch {
    return undefined
  }
}

/** A property that every version of Node has. */
export function knownProperty(name: string): CodePoints {
  return property(name) ?? raiseUnknown(name)
}

function raiseUnknown(name: string): never {
  throw new InternalError(`Node's regular expressions do not know \\p{${name}}`)
}

/** A set with every code point that differs from one of its own in case only (simple case folding). */
export function caseless(set: CodePoints): CodePoints {
  if (set.length === 0) return set
  const hexadecimal = (value: number): string => `\\u{${value.toString(16)}}`
  return matchedByNode(`[${set.map(([first, last]) => `${hexadecimal(first)}-${hexadecimal(last)}`).join('')}]`, 'i')
}

export interface Partition {
  /** How many classes there are; the last one holds what is in no set. */
  readonly classes: number
  /** For every code point, surrogates included, its class. */
  readonly classOf: Uint8Array
  /** The classes that make up a set, by the set's position. */
  readonly members: readonly ReadonlySet<number>[]
}

/** The coarsest division of all code points such that every given set is a union of classes; undefined above 255. */
export function partition(sets: readonly CodePoints[]): Partition | undefined {
  // By code point: which sets begin or end there.
  const changes = new Map<number, number[]>()
  const change = (at: number, set: number): void => {
    const list = changes.get(at)
    if (list) list.push(set)
    else changes.set(at, [set])
  }
  for (const [index, set] of sets.entries()) {
    for (const [first, last] of set) {
      change(first, index)
      change(last + 1, index)
    }
  }
  const inside = new Set<number>()
  const classes = new Map<string, number>()
  const members = sets.map(() => new Set<number>())
  const classOf = new Uint8Array(LAST_CODE_POINT + 1)
  const starts = [...new Set([0, ...changes.keys(), LAST_CODE_POINT + 1])].sort((a, b) => a - b)
  for (const [index, start] of starts.entries()) {
    for (const set of changes.get(start) ?? []) {
      if (!inside.delete(set)) inside.add(set)
    }
    const end = starts[index + 1]
    if (end === undefined) break
    const signature = [...inside].sort((a, b) => a - b).join()
    const number = classes.get(signature) ?? classes.size
    if (number > 254) return undefined
    classes.set(signature, number)
    for (const set of inside) members[set]?.add(number)
    classOf.fill(number, start, end)
  }
  return { classes: classes.size, classOf, members }
}
