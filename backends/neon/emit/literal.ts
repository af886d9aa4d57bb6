// Numbers and texts as C++ literals: exactly the value given, whatever it is.

import type { DType } from '../../../compiler/graph/axis.ts'
import type { ValueType } from '../../../compiler/kernel/ir.ts'
import { InternalError } from '../../../compiler/diagnostic.ts'

/** C++ types of what lies in memory. */
export const storedTypes: Readonly<Record<DType, string>> = {
  f32: 'float',
  i32: 'int32_t',
  bool: 'int32_t',
  f16: 'uint16_t',
  bf16: 'uint16_t',
}

/** A constant of the kernel IR. A float32 prints as the shortest decimal of the same double, which rounds back to it. */
export function constantText(type: ValueType, value: number): string {
  switch (type) {
    case 'bool':
      return value === 0 ? 'false' : 'true'
    case 'i32': {
      if (value !== (value | 0)) throw new InternalError(`${value} is no 32-bit integer constant`)
      if (value === -2147483648) return '(-2147483647 - 1)'
      return value < 0 ? `(${value})` : String(value)
    }
    case 'f32': {
      if (Number.isNaN(value)) return '__builtin_nanf("")'
      const single = Math.fround(value)
      if (!Number.isFinite(single)) return single < 0 ? '(-__builtin_inff())' : '__builtin_inff()'
      const digits = String(Math.abs(single))
      const text = `${/[.e]/.test(digits) ? digits : `${digits}.0`}f`
      return single < 0 || Object.is(single, -0) ? `(-${text})` : text
    }
  }
}

/** A whole number of at most 53 bits, as an int64_t. */
export function integerText(value: number): string {
  if (!Number.isSafeInteger(value)) throw new InternalError(`${value} is no whole number that fits`)
  return Math.abs(value) > 0x7fffffff ? `INT64_C(${value})` : String(value)
}

/** A C string literal of the text's UTF-8 bytes. */
export function stringText(text: string): string {
  const bytes = [...new TextEncoder().encode(text)]
  const parts = bytes.map((byte) => {
    const letter = String.fromCharCode(byte)
    // A question mark could begin a trigraph; three octal digits never swallow what follows.
    return /[ -~]/.test(letter) && !/["\\?]/.test(letter) ? letter : `\\${byte.toString(8).padStart(3, '0')}`
  })
  return `"${parts.join('')}"`
}
