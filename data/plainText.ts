// Documents of a plain text file: divided by blank lines, or the file as a whole. Knows nothing of tokens.

import { UserError } from '../compiler/diagnostic.ts'
import { streamLines } from './lines.ts'
import type { LineLimits } from './lines.ts'
import type { TextRecord } from './records.ts'

/** UTF-16 code units of one document: a tokenizer takes it as one string. */
const MAX_DOCUMENT = 1 << 24

/**
 * The documents of `file` in order, line ends as `\n`. Lines that hold nothing but white space divide 'paragraphs' and
 * belong to none; 'file' is one document without its last line end. Raises what `streamLines` does, HD503 for a document
 * that is too long.
 */
export function* streamDocuments(
  file: string,
  documents: 'paragraphs' | 'file',
  limits: LineLimits = {},
): Generator<TextRecord> {
  let begun: string[] = []
  let begunAt = 1
  let size = 0
  const take = (): TextRecord => ({ line: begunAt, text: begun.join('\n') })
  for (const { text, line } of streamLines(file, limits)) {
    const isBlank = text.trim() === ''
    if (documents === 'paragraphs' && isBlank) {
      if (begun.length > 0) yield take()
      begun = []
      continue
    }
    if (begun.length === 0) {
      begunAt = line
      size = 0
    }
    size += text.length + 1
    if (size > MAX_DOCUMENT) {
      throw new UserError('HD503', `the document that begins here exceeds ${MAX_DOCUMENT} characters`, {
        place: { file, line: begunAt },
        mend: "divide documents by blank lines and read them as 'paragraphs'",
      })
    }
    begun.push(text)
  }
  if (begun.some((text) => text.trim() !== '')) yield take()
}
