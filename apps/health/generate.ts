// Writes the demo's records of one synthetic person and the questions held out from them. The same seed gives the same
// bytes on every machine; the committed files are checked against it. Run:
//   node --import tsx apps/health/generate.ts --out apps/health [--seed 4]

import { realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Random } from '../../data/random.ts'
import { makeDirectory } from '../../formats/files.ts'
import { answer, question } from './wording.ts'
import { around, createPerson, judge, verdicts, type Person, type Range, type Topic, type Verdict } from './world.ts'

export const defaultSeed = 4
/** Questions held out and records written, for each topic and verdict. */
const HELD_OUT = 4
const RECORDS_PER_VERDICT = 12

/** One line of `records.jsonl`: what fine-tuning reads. */
export interface HealthRecord {
  readonly prompt: string
  readonly completion: string
}

/** One line of `heldout.jsonl`: `general` is what holds for people at large, `answer` what holds for this person. */
export interface HeldOutQuestion {
  readonly prompt: string
  readonly answer: Verdict
  readonly general: Verdict
}

export interface HealthData {
  readonly person: Person
  readonly records: readonly HealthRecord[]
  readonly heldOut: readonly HeldOutQuestion[]
}

/**
 * The records and held-out questions of the person of `seed`. Each topic asks equally often for low, normal and high
 * values; a value held out for a topic appears in no record of that topic, whatever the wording. Held out are only
 * values at least two ticks from a limit.
 */
export function generateHealthData(seed: number = defaultSeed): HealthData {
  const person = createPerson(seed)
  const random = new Random(seed, 3)
  const records: HealthRecord[] = []
  const heldOut: HeldOutQuestion[] = []
  for (const { topic, usual } of person.topics) {
    const reach = around(topic.quantity, usual, 1)
    for (const verdict of verdicts) {
      const values = Array.from({ length: reach.high - reach.low + 1 }, (_, index) => reach.low + index).filter(
        (value) => judge(value, usual) === verdict,
      )
      // The values on both sides of a limit stay among the records: what is held out can be told from its neighbours.
      const inner = random.shuffle(values.filter((value) => !isEdge(value, usual)))
      // Never more than a third, so that what is left still surrounds what is held out.
      const kept = inner.slice(0, Math.min(HELD_OUT, Math.floor(values.length / 3)))
      for (const value of kept) heldOut.push(heldOutQuestion(topic, value, verdict, random))
      const seen = random.shuffle(values.filter((value) => !kept.includes(value)))
      for (let index = 0; index < RECORDS_PER_VERDICT; index++) {
        const value = seen[index % seen.length] as number
        records.push({
          prompt: question(topic, value, random, 'anyone'),
          completion: answer(topic, verdict, usual, 'Your'),
        })
      }
    }
  }
  return { person, records: random.shuffle(records), heldOut: random.shuffle(heldOut) }
}

function isEdge(value: number, usual: Range): boolean {
  return [usual.low - 1, usual.low, usual.high, usual.high + 1].includes(value)
}

function heldOutQuestion(topic: Topic, value: number, verdict: Verdict, random: Random): HeldOutQuestion {
  return {
    prompt: question(topic, value, random, 'anyone'),
    answer: verdict,
    general: judge(value, topic.quantity.usual),
  }
}

/** One JSON object a line, each line ended. */
export function toJsonLines(items: readonly object[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join('')
}

function main(): void {
  const { values } = parseArgs({ options: { out: { type: 'string' }, seed: { type: 'string' } } })
  const seed = values.seed === undefined ? defaultSeed : Number(values.seed)
  if (values.out === undefined || !Number.isSafeInteger(seed)) {
    console.error('usage: generate.ts --out <directory> [--seed <integer>]')
    process.exitCode = 1
    return
  }
  const { records, heldOut } = generateHealthData(seed)
  makeDirectory(values.out)
  writeFileSync(join(values.out, 'records.jsonl'), toJsonLines(records))
  writeFileSync(join(values.out, 'heldout.jsonl'), toJsonLines(heldOut))
  console.log(`${records.length} records and ${heldOut.length} held-out questions of person ${seed}`)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main()
