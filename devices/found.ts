// What searches have found on this machine, kept as a file: choices of tiles by processor, tool chain and number of
// threads. A file that is read may be anything; what is in it decides speed only, and whether a choice fits is asked again
// where it is used.

import fs from 'node:fs'
import { z } from 'zod'
import { UserError } from '../compiler/diagnostic.ts'
import { writeOutput } from '../formats/files.ts'
import { readJsonObject } from '../formats/json.ts'
import type { TileChoice } from '../compiler/schedule/profile.ts'
import type { FoundChoices } from './device.ts'

const LARGEST_FILE = 4 << 20
const MOST_ENTRIES = 64
const MOST_CHOICES = 4096
const MOST_THREADS = 64
/** As the schedule names a nest: sizes first, then how operands lie. */
const nestName = /^\d[\da-z ]{0,99}$/

const count = z.int().min(1)
const keyText = z.string().min(1).max(300)
const foundTile = z.strictObject({
  rows: count.max(256),
  vectors: count.max(64),
  panels: count.max(1 << 16),
  steps: count.max(1 << 24),
  pieces: count.max(1 << 16),
  timesAsFast: z.number().positive().max(1e6),
})
const entry = z.strictObject({
  processor: keyText,
  toolchain: keyText,
  threads: count.max(MOST_THREADS),
  choices: z
    .record(z.string().regex(nestName), foundTile)
    .refine((choices) => Object.keys(choices).length <= MOST_CHOICES, `more than ${MOST_CHOICES} choices`),
})
const schema = z.strictObject({
  schedules: z.literal(1),
  isa: z.string().max(100),
  entries: z.array(entry).max(MOST_ENTRIES),
})

/** A choice, and how many times as fast as the rule's it was: 1 is the rule's own, where nothing was faster. */
export interface FoundTile extends TileChoice {
  readonly timesAsFast: number
}

/** Where a choice holds. Choices for another number of threads are others. */
export interface MachineKey {
  readonly isa: string
  readonly processor: string
  readonly toolchain: string
}

type FoundFile = z.infer<typeof schema>

/** UserError HD401 or HD402 for a file that cannot be read or is no JSON, HD612 for one that holds something else. */
function readFile(file: string, isa: string): FoundFile {
  const parsed = schema.safeParse(readJsonObject(file, LARGEST_FILE))
  const issue = parsed.error?.issues[0]
  if (issue) {
    const key = issue.path.join('.').replace(/[^\x20-\x7e]+/g, ' ')
    const reason = issue.message.replace(/^Invalid input: /, '').replace(/[^\x20-\x7e]+/g, ' ')
    throw new UserError('HD612', `the file holds no schedules: ${reason.slice(0, 200)}`, {
      place: key === '' ? { file } : { file, at: `key "${key.slice(0, 100)}"` },
    })
  }
  if (parsed.data && parsed.data.isa === isa) return parsed.data
  throw new UserError('HD612', `the schedules are not for ${isa}`, { place: { file } })
}

function isOf(key: MachineKey): (entry: FoundFile['entries'][number]) => boolean {
  return ({ processor, toolchain }) => processor === key.processor && toolchain === key.toolchain
}

/** Choices for a machine. A file that is of no use costs speed and nothing else: `note` says in a sentence why. */
export function readFound(
  file: string,
  key: MachineKey,
): {
  readonly found: readonly (FoundChoices & { readonly choices: Readonly<Record<string, FoundTile>> })[]
  readonly note?: string
} {
  if (!fs.existsSync(file)) return { found: [] }
  try {
    return { found: readFile(file, key.isa).entries.filter(isOf(key)) }
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return { found: [], note: `${error.sentence}; it is passed over` }
  }
}

/** What is to be used instead of the rule: the rule's own choice is noted only so that it is not searched for again. */
export function fasterThanRule(found: ReturnType<typeof readFound>['found']): FoundChoices[] {
  return found.map(({ threads, choices }) => ({
    threads,
    choices: Object.fromEntries(Object.entries(choices).filter(([, { timesAsFast }]) => timesAsFast > 1)),
  }))
}

/**
 * Puts what a search found in the place of what an earlier one found for the same nests. A file that is of no use is
 * replaced. UserError HD405 when it cannot be written.
 */
export function storeFound(
  file: string,
  key: MachineKey,
  threads: number,
  changes: Readonly<Record<string, FoundTile>>,
): void {
  let entries: FoundFile['entries'] = []
  try {
    if (fs.existsSync(file)) ({ entries } = readFile(file, key.isa))
  } catch (error) {
    if (!(error instanceof UserError)) throw error
  }
  const isThis = (one: FoundFile['entries'][number]): boolean => isOf(key)(one) && one.threads === threads
  const merged = new Map(Object.entries(entries.find(isThis)?.choices ?? {}))
  for (const [name, found] of Object.entries(changes)) {
    // What was found last stands last, and stays longest.
    merged.delete(name)
    merged.set(name, found)
  }
  const choices = Object.fromEntries([...merged].slice(-MOST_CHOICES))
  const { processor, toolchain } = key
  const others = entries.filter((one) => !isThis(one)).slice(1 - MOST_ENTRIES)
  const content: FoundFile = {
    schedules: 1,
    isa: key.isa,
    entries: [...others, { processor, toolchain, threads, choices }],
  }
  writeOutput(file, `${JSON.stringify(schema.parse(content), null, 1)}\n`)
}
