// A benchmark's result on the disk: what `heddle bench --out` writes and `--against` reads. A file that is read may be
// anything; it is bounded and checked before a number of it is used.

import { z } from 'zod'
import { UserError } from '../../compiler/diagnostic.ts'
import { writeOutput } from '../../formats/files.ts'
import { readJsonObject } from '../../formats/json.ts'
import { LONGEST_KEY } from './result.ts'
import type { BenchResult } from './result.ts'

const LARGEST_FILE = 16 << 20
const MOST_KERNELS = 100_000
const MOST_THREADS = 64

const positive = z.number().positive().finite()
const amount = z.number().nonnegative().finite()
const count = z.int().min(1)
const quartiles = z.object({ low: positive, median: positive, high: positive })
const text = z.string().max(LONGEST_KEY + 20)

const schema = z.object({
  benchmark: z.literal(1),
  subject: z.object({
    model: text,
    adapt: z.enum(['lora', 'full']),
    sequences: count,
    length: count,
    accumulate: count,
    checkpoints: z.enum(['none', 'every', 'chosen']),
  }),
  toolchain: z.string().max(1000),
  isa: z.string().max(100),
  results: z
    .array(
      z.object({
        threads: count.max(MOST_THREADS),
        rounds: count,
        peak: positive,
        memoryRate: positive,
        step: quartiles,
        tokensPerSecond: positive,
        shareOfPeak: amount,
        multiplyAdds: amount,
        executed: amount,
        compulsoryBytes: amount,
        movedBytes: amount,
        kernels: z
          .array(
            z.object({
              key: text,
              kernel: text,
              launches: amount,
              seconds: amount,
              share: amount,
              shareOfPeak: amount,
              shareOfMemory: amount,
              multiplyAdds: amount,
              executed: amount,
              compulsoryBytes: amount,
              movedBytes: amount,
            }),
          )
          .max(MOST_KERNELS),
        torch: z.object({ step: quartiles, timesAsFast: positive }).nullable(),
      }),
    )
    .min(1)
    .max(MOST_THREADS),
})

/** Replaces the file. UserError HD405 when it cannot be written. */
export function writeResult(file: string, result: BenchResult): void {
  writeOutput(file, `${JSON.stringify(result, null, 1)}\n`)
}

/** UserError HD401 or HD402 for a file that cannot be read or is no JSON, HD610 for one that holds no result. */
export function readResult(file: string): BenchResult {
  const parsed = schema.safeParse(readJsonObject(file, LARGEST_FILE))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const key = issue?.path.join('.') ?? ''
  const reason = (issue?.message ?? 'it is something else')
    .replace(/^Invalid input: /, '')
    .replace(/[^\x20-\x7e]+/g, ' ')
  throw new UserError('HD610', `the file is no result of a benchmark: ${reason.slice(0, 200)}`, {
    place: key === '' ? { file } : { file, at: `key "${key}"` },
    mend: '`heddle bench --out FILE` writes one',
  })
}
