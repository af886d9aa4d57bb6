// What the tests of formats share: temporary directories, the sentence of a refusal, hand-made safetensors bytes.
// Builds files without the code under test.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'

const made: string[] = []

after(() => {
  for (const dir of made.splice(0)) fs.rmSync(dir, { recursive: true, force: true })
})

/** A fresh directory that is removed when the tests are done. */
export function temporaryDirectory(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'heddle-formats-'))
  made.push(dir)
  return dir
}

function checkSentence(error: unknown, code: string, text: RegExp): true {
  assert.ok(error instanceof UserError, `a UserError was expected, not ${String(error)}`)
  assert.equal(error.code, code, error.sentence)
  assert.match(error.sentence, text)
  assert.doesNotMatch(error.sentence, /\p{Cc}/u, 'the sentence is one line without control characters')
  return true
}

/** Asserts that an action raises a UserError with a code and a sentence. */
export function refuses(action: () => unknown, code: string, text: RegExp): void {
  assert.throws(action, (error) => checkSentence(error, code, text))
}

export async function rejects(action: Promise<unknown>, code: string, text: RegExp): Promise<void> {
  await assert.rejects(action, (error) => checkSentence(error, code, text))
}

/** The bytes of a safetensors file with this header text, whatever it says. */
export function rawSafetensors(header: string | Uint8Array, data: Uint8Array, claimed?: bigint): Buffer {
  const text = Buffer.from(header as string)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(claimed ?? BigInt(text.byteLength))
  return Buffer.concat([length, text, data])
}

export function writeRaw(dir: string, name: string, bytes: Uint8Array): string {
  const file = path.join(dir, name)
  fs.writeFileSync(file, bytes)
  return file
}

export function floatBytes(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer)
}

export function fullDisk(): NodeJS.ErrnoException {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    errno: -28,
    syscall: 'write',
  })
}
