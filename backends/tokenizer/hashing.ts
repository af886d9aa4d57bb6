// Open-addressing tables as the device reads them: entries in the order of their home slots, so that a look-up is a short
// run from there, of a length that is known. The same hash is in runtime/heddle_tokenizer_table.h.

import { InternalError } from '../../compiler/diagnostic.ts'

export const EMPTY = 0xffffffff

/** 32 well-mixed bits of two numbers (multiply and shift, as in MurmurHash3's last step). */
export function mixed(a: number, b: number): number {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77)
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae3d)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** FNV-1a over bytes, mixed with their number. */
export function hashedBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return mixed(hash >>> 0, bytes.length)
}

export interface HashTable {
  /** `width` words per slot; a slot whose first word is `EMPTY` holds nothing. */
  readonly words: Uint32Array<ArrayBuffer>
  /** How many slots a look-up may have to see. There are that many more slots than home slots. */
  readonly probes: number
}

/** Lays entries out by their hashes. An entry's words begin with its key, whose first word is never `EMPTY`. */
export function hashTable(
  width: number,
  entries: readonly { readonly hash: number; readonly words: readonly number[] }[],
): HashTable {
  if (entries.length === 0) return { words: new Uint32Array(0), probes: 0 }
  // Two of three are taken: a look-up that finds nothing sees five slots on average, eighty bytes.
  const homes = Math.ceil(entries.length * 1.5) + 1
  // Exact: a hash below 2^32 times fewer than 2^21.
  if (homes >= 2 ** 21 && homes * 2 ** 32 > Number.MAX_SAFE_INTEGER) {
    throw new InternalError(`${entries.length} entries are too many for one table`)
  }
  const placed = entries
    .map(({ hash, words }) => ({ home: Math.floor((hash * homes) / 2 ** 32), words }))
    .sort((a, b) => a.home - b.home)
  let probes = 1
  let free = 0
  const slots = placed.map(({ home }) => {
    const slot = Math.max(home, free)
    free = slot + 1
    probes = Math.max(probes, slot - home + 1)
    return slot
  })
  const words = new Uint32Array((homes + probes) * width).fill(EMPTY)
  for (const [index, slot] of slots.entries()) words.set(placed[index]?.words ?? [], slot * width)
  return { words, probes }
}
