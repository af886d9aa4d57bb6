// What a recipe learns from: files of records, and which of their tokens count. Data only; no file is opened here.

import { callPlace } from './place.ts'
import { frozen, GivenValues } from './validation.ts'

/** JSONL records of a prompt and its completion. */
export interface CompletionRecords {
  readonly kind: 'completions'
  /** As written in the recipe; relative to the recipe's file. */
  readonly path: string
  /** Whether the prompt's tokens count in the loss too. */
  readonly loss: 'completion' | 'all'
}

/** JSONL records of plain text, all of which counts. */
export interface TextRecords {
  readonly kind: 'text'
  /** As written in the recipe; relative to the recipe's file. */
  readonly path: string
}

export type Records = CompletionRecords | TextRecords

export interface CompletionOptions {
  readonly loss: 'completion' | 'all'
}

/** Records `{"prompt": …, "completion": …}`, one a line. @throws UserError HD301, HD302, HD304 */
export function completions(path: string, options: CompletionOptions): CompletionRecords {
  const place = callPlace()
  const file = new GivenValues({ path }, 'completions', ['path'], place).text('path', 'the path of a JSONL file')
  const given = new GivenValues(options, 'completions', ['loss'], place)
  return frozen({ kind: 'completions', path: file, loss: given.choice('loss', ['completion', 'all']) })
}

/** Records `{"text": …}`, one a line. @throws UserError HD302 */
export function text(path: string): TextRecords {
  const given = new GivenValues({ path }, 'text', ['path'], callPlace())
  return frozen({ kind: 'text', path: given.text('path', 'the path of a JSONL file') })
}

/** Predict each token from those before it. */
export interface NextToken {
  readonly kind: 'nextToken'
}

export function nextToken(): NextToken {
  return frozen({ kind: 'nextToken' })
}
