// The C++ tokenizer in a process of its own, compiled by any native compiler: many texts or ids in, results out.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const source = fileURLToPath(new URL('native.cpp', import.meta.url))
const include = fileURLToPath(new URL('../../backends/tokenizer/runtime', import.meta.url))
const strict = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-Wall', '-Wextra', '-Werror']

export interface NativeTokenizer {
  /** Runs the driver (see native.cpp) and returns what it printed. */
  run(operands: readonly string[], input?: Uint8Array): Promise<Buffer>
}

/** Compiles the driver in a folder. `launcher` stands in front of the program. */
export async function compileNative(
  folder: string,
  compiler: string,
  flags: readonly string[] = ['-O2'],
  launcher: readonly string[] = [],
): Promise<NativeTokenizer> {
  const program = join(folder, `tokenizer-${compiler}-${flags.join('').replace(/\W/g, '')}`)
  await promisify(execFile)(compiler, [...strict, ...flags, `-I${include}`, source, '-o', program])
  return {
    run(operands, input = new Uint8Array(0)) {
      const [command = program, ...rest] = [...launcher, program, ...operands]
      const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] })
      const chunks: Buffer[] = []
      let words = ''
      child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text))
      child.stdin.on('error', () => {})
      child.stdin.end(input)
      return new Promise((resolve, reject) => {
        child.on('error', reject)
        child.on('close', (code, signal) => {
          if (code === 0) resolve(Buffer.concat(chunks))
          else reject(new Error(`the tokenizer ended with ${code ?? signal}: ${words.slice(0, 4000)}`))
        })
      })
    },
  }
}

type Job =
  | { readonly encode: string; readonly flags?: number }
  | { readonly decode: readonly number[]; readonly flags?: number }
  | { readonly name: string }

/** Results in the order of the jobs: ids for `encode`, a text for `decode`, an id for `name`; below 0 where refused. */
export async function runJobs(
  native: NativeTokenizer,
  table: string,
  jobs: readonly Job[],
): Promise<(number[] | string | number)[]> {
  const parts = jobs.map((job): Buffer => {
    if ('encode' in job) return packed(0, job.flags ?? 0, Buffer.from(job.encode))
    if ('name' in job) return packed(2, 0, Buffer.from(job.name))
    return packed(1, job.flags ?? 0, Buffer.from(Int32Array.from(job.decode).buffer), 4)
  })
  const longest = Math.max(64, ...parts.map(({ length }) => length))
  const output = await native.run(['run', table, String(longest)], Buffer.concat(parts))
  let offset = 0
  const results = jobs.map((job) => {
    const result = output.readInt32LE(offset)
    offset += 4
    if (result < 0 || 'name' in job) return result
    if ('decode' in job) {
      offset += result
      return output.toString('utf8', offset - result, offset)
    }
    const ids = Array.from({ length: result }, (_, index) => output.readInt32LE(offset + 4 * index))
    offset += 4 * result
    return ids
  })
  assert.equal(offset, output.length, 'the driver wrote more or less than results')
  return results
}

function packed(kind: number, flags: number, data: Buffer, width = 1): Buffer {
  const head = Buffer.alloc(12)
  head.writeInt32LE(kind, 0)
  head.writeInt32LE(flags, 4)
  head.writeInt32LE(data.length / width, 8)
  return Buffer.concat([head, data])
}

/** A folder for a suite's files, and a function that removes it. */
export function workFolder(): { readonly folder: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-tokenizer-'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

export function writeTable(folder: string, name: string, table: Uint8Array): string {
  const path = join(folder, `${name}.table`)
  writeFileSync(path, table)
  return path
}
