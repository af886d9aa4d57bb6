// What a device needs to compose text as NFC does (Unicode Standard Annex 15), taken from String.prototype.normalize, so
// that both are of the same version of Unicode. Hangul is left to arithmetic. Knows no file format.

import { InternalError } from '../../compiler/diagnostic.ts'
import { everything, knownProperty, LAST_CODE_POINT } from './codePoints.ts'

export interface Composition {
  /**
   * By code point: 0 for what starts a piece that can be composed by itself and is composed already; otherwise the rank of
   * its combining class (`RANK_BITS`, 0 for none), and `CHANGES` when composing may change it or what is before it.
   */
  readonly properties: Uint8Array
  /** Canonical decompositions, as far as they go, in the order of code points. */
  readonly decompositions: readonly (readonly [code: number, parts: readonly number[]])[]
  /** In the order of first, then second. */
  readonly pairs: readonly (readonly [first: number, second: number, composed: number])[]
}

export const RANK_BITS = 0x3f
export const CHANGES = 0x40
/** The longest canonical decomposition there is has four. */
export const LONGEST_DECOMPOSITION = 8

const HANGUL_FIRST = 0xac00
const HANGUL_LAST = 0xd7a3
/** Vowels and final consonants, which compose with what is before them. */
const JAMO = [
  [0x1161, 0x1175],
  [0x11a8, 0x11c2],
] as const

export function compositionData(): Composition {
  const properties = new Uint8Array(LAST_CODE_POINT + 1)
  const decompositions: [number, number[]][] = []
  const pairs: [number, number, number][] = []
  for (const [code, rank] of combiningRanks()) properties[code] = rank
  for (const [first, last] of everything) {
    for (let code = first; code <= last; code++) {
      if (code >= HANGUL_FIRST && code <= HANGUL_LAST) continue
      const text = String.fromCodePoint(code)
      const apart = text.normalize('NFD')
      if (apart === text) continue
      const parts = codes(apart)
      if (parts.length > LONGEST_DECOMPOSITION)
        throw new InternalError(`U+${code.toString(16)} has ${parts.length} parts`)
      decompositions.push([code, parts])
      if (text.normalize('NFC') !== text) properties[code] = (properties[code] ?? 0) | CHANGES
      else pairs.push(pairOf(code, parts))
    }
  }
  for (const [, second] of pairs) properties[second] = (properties[second] ?? 0) | CHANGES
  for (const [first, last] of JAMO) {
    for (let code = first; code <= last; code++) properties[code] = (properties[code] ?? 0) | CHANGES
  }
  pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1])
  return { properties, decompositions, pairs }
}

function codes(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0) ?? 0)
}

/** The two that compose to a character: its last part, and all before it composed. */
function pairOf(code: number, parts: readonly number[]): [number, number, number] {
  const before = String.fromCodePoint(...parts.slice(0, -1)).normalize('NFC')
  const second = parts.at(-1) ?? 0
  const first = codes(before)
  const isPair =
    first.length === 1 && (before + String.fromCodePoint(second)).normalize('NFC') === String.fromCodePoint(code)
  if (!isPair) throw new InternalError(`U+${code.toString(16)} is not composed of two`)
  return [first[0] ?? 0, second, code]
}

/**
 * The combining classes that are not 0, as ranks: their order is all that normalization asks for, and it shows in which
 * two marks NFD exchanges.
 */
function combiningRanks(): Map<number, number> {
  const exchanges = (a: number, b: number): boolean => {
    const text = String.fromCodePoint(a, b)
    return text.normalize('NFD') !== String.fromCodePoint(a).normalize('NFD') + String.fromCodePoint(b).normalize('NFD')
  }
  // Of the lowest class (an overlay) and of the highest (the iota below): every other mark goes past one of them.
  const lowest = 0x334
  const highest = 0x345
  const marks: number[] = []
  for (const [first, last] of knownProperty('M')) {
    for (let code = first; code <= last; code++) {
      const text = String.fromCodePoint(code)
      // What decomposes is replaced by its parts, which are marks themselves.
      if (text.normalize('NFD') !== text) continue
      if (exchanges(code, lowest) || exchanges(highest, code)) marks.push(code)
    }
  }
  const classes: number[][] = []
  for (const mark of marks) {
    let low = 0
    let high = classes.length
    let same: number[] | undefined
    while (low < high && !same) {
      const middle = (low + high) >> 1
      const other = classes[middle]?.[0] ?? 0
      if (exchanges(mark, other)) low = middle + 1
      else if (exchanges(other, mark)) high = middle
      else same = classes[middle]
    }
    if (same) same.push(mark)
    else classes.splice(low, 0, [mark])
  }
  if (classes.length > RANK_BITS) throw new InternalError(`${classes.length} combining classes`)
  return new Map(classes.flatMap((members, index) => members.map((code) => [code, index + 1] as const)))
}
