// What the tests of broken files share: files cut, empty, in another encoding, or far larger than their room on the disk,
// and holding a command to one sentence, exit code 1 and nothing written.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { assertRefused, heddle } from './support.ts'

export type Content = string | Buffer | { readonly zeros: number }
export type Case = readonly [name: string, content: Content, expected: RegExp]

export const GIBIBYTE = 2 ** 30

/** A file of nothing but zero bytes takes no room on the disk, whatever it says that it holds. */
export function write(file: string, content: Content): void {
  const isSparse = typeof content === 'object' && 'zeros' in content
  fs.writeFileSync(file, isSparse ? '' : content)
  if (isSparse) fs.truncateSync(file, content.zeros)
}

export const bytes = (text: string, ...after: number[]): Buffer =>
  Buffer.concat([Buffer.from(text), Buffer.from(after)])
export const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
export const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le')

function filesIn(dir: string): string[] {
  const entries = fs.readdirSync(dir, { recursive: true, withFileTypes: true })
  return entries.flatMap((entry) => (entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [])).sort()
}

/** Runs the command and holds it to the promise; what it may allocate is far below what the file claims. */
export async function refuses(dir: string, expected: RegExp, ...operands: string[]): Promise<void> {
  const before = filesIn(dir)
  const resident = process.memoryUsage().rss
  const ran = await heddle(dir, ...operands)
  assertRefused(ran, expected)
  assert.deepEqual(filesIn(dir), before, 'something was written')
  assert.ok(process.memoryUsage().rss - resident < GIBIBYTE / 2, 'the file was held in memory')
}
