// Training records from a file, whatever its format: JSON lines, CSV or plain text, told by the file's name. Every mistake
// names its line. Knows nothing of tokens, templates or models.

import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { streamCsvRecords } from './csv.ts'
import { parseJsonRecord } from './jsonRecord.ts'
import { streamLines } from './lines.ts'
import type { LineLimits } from './lines.ts'
import { streamDocuments } from './plainText.ts'

/** A question and the answer to learn. Their texts are joined as they stand: no space is put between them. */
export interface PromptRecord {
  /** Where the record begins in its file, from 1. */
  readonly line: number
  readonly prompt: string
  readonly completion: string
}

/** A text to learn as a whole. */
export interface TextRecord {
  readonly line: number
  readonly text: string
}

/** What one side says in a conversation; keys besides these two are handed to the chat template as they are. */
export interface Message {
  readonly role: string
  readonly content: string
  readonly [key: string]: unknown
}

export interface ChatRecord {
  readonly line: number
  readonly messages: readonly Message[]
}

export type TrainingRecord = PromptRecord | TextRecord | ChatRecord

/** Columns of a CSV file, or keys of JSON lines, that hold what training needs. */
export type ColumnName = 'prompt' | 'completion' | 'text' | 'messages'

export interface RecordLayout {
  /** 'chat' takes messages, or a prompt and its completion as a user's and an assistant's message. */
  readonly kind: 'completions' | 'text' | 'chat'
  /** Names in the file, where they differ from ours. */
  readonly columns?: { readonly [Name in ColumnName]?: string | undefined }
  /** How a plain text file is divided; by blank lines unless told. */
  readonly documents?: 'paragraphs' | 'file'
}

/** What the file may be, by the end of its name. */
const formats: Readonly<Record<string, 'json lines' | 'csv' | 'tsv' | 'text'>> = {
  '.jsonl': 'json lines',
  '.ndjson': 'json lines',
  '.json': 'json lines',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.txt': 'text',
}

/**
 * All records of `file`, in order. Raises UserError HD501 to HD504 and HD509 (see `streamLines`), HD505 (not JSON), HD506
 * (a record of another shape), HD507 (no record at all), HD508 (a format that is not read), HD514 (broken CSV), HD515 (tools
 * in a conversation).
 */
export function readRecords(file: string, layout: RecordLayout, limits: LineLimits = {}): TrainingRecord[] {
  const records = [...streamRecords(file, layout, limits)]
  if (records.length === 0) throw noRecords(file)
  return records
}

export function noRecords(file: string): UserError {
  return new UserError('HD507', 'the file holds no record', { place: { file } })
}

/** The records of `file` one by one. Errors as for `readRecords`, without HD507. */
export function* streamRecords(file: string, layout: RecordLayout, limits: LineLimits = {}): Generator<TrainingRecord> {
  const format = formats[path.extname(file).toLowerCase()]
  if (format === undefined) {
    throw new UserError('HD508', 'the name of the file does not say what it holds', {
      place: { file },
      mend: `it ends in one of ${Object.keys(formats).join(', ')}`,
    })
  }
  if (format === 'csv' || format === 'tsv') {
    yield* streamCsvRecords(file, layout, format === 'csv' ? ',' : '\t', limits)
  } else if (format === 'text') {
    if (layout.kind !== 'text') {
      throw new UserError('HD508', 'a plain text file has neither prompts nor messages', {
        place: { file },
        mend: 'read it with text(…)',
      })
    }
    yield* streamDocuments(file, layout.documents ?? 'paragraphs', limits)
  } else {
    for (const line of streamLines(file, limits)) {
      // Other blank characters are a mistake that JSON names.
      if (line.text.trim() !== '') yield parseJsonRecord(line, layout, file)
    }
  }
}
