// First values of state and of trainable tensors that no file gives: counter-based and in exact arithmetic, so that a
// seed means the same bits on every machine. Knows nothing of where they go.

import { InternalError } from '../../../compiler/diagnostic.ts'
import type { ProgramValue } from '../../../compiler/plan/program.ts'
import type { TensorData } from './session.ts'

/**
 * The first elements of a value with an `initial`; the same for the same name, seed (a safe integer) and shape.
 * Uniform: multiples of `bound`·2⁻²⁴ in (−bound, bound). Normal: the sum of 12 uniforms of 16 bits, less its mean
 * (Irwin and Hall), which has deviation 1 and ends at 6. Every element is rounded once to float32.
 */
export function initialData(value: ProgramValue, seed: number): TensorData {
  const { initial } = value
  if (!initial) throw new InternalError(`'${value.name}' has no first value`)
  const count = value.shape.reduce((product, extent) => product * extent, 1)
  if (initial.kind === 'values' && initial.values.length !== count) {
    throw new InternalError(`'${value.name}' has ${count} elements and ${initial.values.length} first values`)
  }
  if (value.dtype === 'i32' || value.dtype === 'bool') {
    if (initial.kind === 'values') return Int32Array.from(initial.values)
    if (initial.kind !== 'constant') throw new InternalError(`'${value.name}' is ${value.dtype} and cannot be random`)
    return new Int32Array(count).fill(initial.value)
  }
  if (value.dtype !== 'f32') throw new InternalError(`'${value.name}' is ${value.dtype}; only frozen tensors are`)
  if (initial.kind === 'values') return Float32Array.from(initial.values)
  const data = new Float32Array(count)
  if (initial.kind === 'constant') return data.fill(initial.value)
  const key = keyOf(value.name, seed)
  if (initial.kind === 'uniform') {
    for (let index = 0; index < count; index++) {
      // An odd number of half-steps: never 0, and symmetric.
      data[index] = ((2 * (draw(key, index) >>> 8) + 1 - 2 ** 24) / 2 ** 24) * initial.bound
    }
    return data
  }
  for (let index = 0; index < count; index++) {
    let sum = 0
    for (let part = 0; part < 6; part++) {
      const bits = draw(key, 6 * index + part)
      sum += (bits >>> 16) + (bits & 0xffff)
    }
    // The mean of 12 integers in 0…65,535 is 393,210; their deviation is 65,536 but for one part in 10¹⁰.
    data[index] = ((sum - 393210) / 65536) * initial.deviation
  }
  return data
}

interface Key {
  readonly first: number
  readonly second: number
}

/** Two words from a name and a seed (FNV-1a over UTF-16 units, both halves of the seed mixed in). */
function keyOf(name: string, seed: number): Key {
  if (!Number.isSafeInteger(seed)) throw new InternalError(`seed ${seed} is no safe integer`)
  let hash = 0x811c9dc5
  for (let index = 0; index < name.length; index++) {
    const unit = name.charCodeAt(index)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
  }
  const first = mix(mix(hash ^ (seed | 0)) ^ (Math.floor(seed / 2 ** 32) | 0))
  return { first, second: mix(first ^ 0x5bd1e995) }
}

/** 32 random bits for a counter. */
function draw(key: Key, counter: number): number {
  // Beyond 2³² draws the high part changes the key instead of wrapping round.
  const high = Math.floor(counter / 2 ** 32)
  return mix(mix((counter | 0) + Math.imul(high, 0x9e3779b9) + key.first) ^ key.second)
}

/** The finaliser of MurmurHash3: a bijection of 32 bits. */
function mix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
