// Amounts of memory as people write them: 512MiB, 2GiB, 800MB.

import { InvalidArgumentError } from 'commander'

const units: Readonly<Record<string, number>> = {
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
}

/** Bytes; at least one, and less than a petabyte. */
export function bytesOf(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6}(?:\.\d{1,3})?) ?([KMG]i?B)$/i.exec(text) ?? []
  const bytes = Math.floor(Number(digits) * (units[unit.toUpperCase()] ?? 0))
  if (bytes >= 1) return bytes
  throw new InvalidArgumentError(
    'It is a number below 1,000,000 with a unit, such as 512MiB or 2GB, and at least a byte.',
  )
}
