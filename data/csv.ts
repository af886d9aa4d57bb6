// Records of a CSV file with a header. The parser is csv-parse's; here are bounds, columns and lines. Knows nothing of
// tokens.

import { CsvError, parse } from 'csv-parse/sync'
import { UserError } from '../compiler/diagnostic.ts'
import { streamLines } from './lines.ts'
import type { LineLimits } from './lines.ts'
import type { ColumnName, RecordLayout, TrainingRecord } from './records.ts'

/** The parser holds the whole file. */
const MAX_FILE_BYTES = 1 << 28

interface Row {
  readonly record: readonly string[]
  readonly info: { readonly lines: number }
}

/** What a chat's columns are: the two sides of a conversation of one question. */
const needed: Readonly<Record<RecordLayout['kind'], readonly ColumnName[]>> = {
  completions: ['prompt', 'completion'],
  chat: ['prompt', 'completion'],
  text: ['text'],
}

const breaks: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: 'a quoted field that begins here never ends',
  INVALID_OPENING_QUOTE: 'a quote stands within a field that is not quoted',
  CSV_INVALID_CLOSING_QUOTE: 'something stands between a closing quote and the next field',
  CSV_MAX_RECORD_SIZE: 'the row that begins here is too long',
}

/**
 * The rows behind the header, line ends inside quoted fields as `\n`. Fields are kept as they stand, white space
 * included; empty lines are passed over. Raises what `streamLines` does, HD506 for a header or row that lacks a column,
 * HD514 where quotes are out of order.
 */
export function* streamCsvRecords(
  file: string,
  layout: RecordLayout,
  delimiter: string,
  limits: LineLimits,
): Generator<TrainingRecord> {
  const [header, ...rows] = parseRows(file, delimiter, limits)
  if (header === undefined) return
  const names = header.record.map((name) => name.trim())
  const [first = 'text', second = 'completion'] = needed[layout.kind]
  const at = (ours: ColumnName): number => {
    const name = layout.columns?.[ours] ?? ours
    const index = names.indexOf(name)
    const place = { file, line: 1 }
    if (index < 0) {
      throw new UserError('HD506', `the header has no column ${JSON.stringify(name)}`, {
        place,
        mend: `its columns are ${names.slice(0, 20).join(', ')}; choose with columns: { ${ours}: '…' }`,
      })
    }
    if (names.lastIndexOf(name) !== index) {
      throw new UserError('HD506', `the header has two columns ${JSON.stringify(name)}`, { place })
    }
    return index
  }
  const one = at(first)
  const other = layout.kind === 'text' ? one : at(second)
  for (const row of rows) {
    const line = firstLine(row)
    if (row.record.length !== names.length) {
      throw new UserError(
        'HD506',
        `the row has ${row.record.length} ${row.record.length === 1 ? 'field' : 'fields'}, the header ${names.length}`,
        { place: { file, line } },
      )
    }
    const text = row.record[one] ?? ''
    yield layout.kind === 'text' ? { line, text } : { line, prompt: text, completion: row.record[other] ?? '' }
  }
}

function parseRows(file: string, delimiter: string, limits: LineLimits): readonly Row[] {
  const lines: string[] = []
  const bounded = { ...limits, fileBytes: Math.min(limits.fileBytes ?? MAX_FILE_BYTES, MAX_FILE_BYTES) }
  for (const { text } of streamLines(file, bounded)) lines.push(text)
  let read = 0
  try {
    return parse(lines.join('\n'), {
      delimiter,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
      record_delimiter: '\n',
      max_record_size: limits.lineBytes ?? 1 << 20,
      on_record: (record, { lines: behind }) => {
        read = behind
        return record
      },
    }) as unknown as readonly Row[]
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause
    // An open quote is noticed far behind the row that has it, which is the one behind the last good row.
    const isLate = cause.code === 'CSV_QUOTE_NOT_CLOSED' || cause.code === 'CSV_MAX_RECORD_SIZE'
    const line = isLate ? read + 1 : Number(cause['lines'])
    throw new UserError('HD514', breaks[cause.code] ?? 'the row is not CSV', {
      place: { file, ...(Number.isSafeInteger(line) ? { line } : {}) },
      cause,
    })
  }
}

/** A row ends on the parser's line and begins as many before as its fields have line ends. */
function firstLine({ record, info }: Row): number {
  return record.reduce((line, field) => line - (field.split('\n').length - 1), info.lines)
}
