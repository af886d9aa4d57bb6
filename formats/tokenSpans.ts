// Which characters of a text each of its tokens stands for. A tokenizer's own result has no positions, so the tokens'
// spelling is laid along the text again. Knows the two ways of spelling bytes, and no vocabulary.

/** How the text of a token is spelled in the vocabulary. */
export type Spelling = 'bytes as characters' | 'spaces as marks' | 'spaces as marks, one in front'

export interface SpelledToken {
  readonly spelling: string
  /** Spelled as itself: special tokens and other additions. */
  readonly isAdded: boolean
  /** An added token that takes the white space before or behind it along. */
  readonly takesBefore?: boolean
  readonly takesBehind?: boolean
}

/**
 * Start and end of each token, as indices into the text; a token that holds a part of a character has all of it, and one
 * that is only the space in front of a stretch has the stretch's first character.
 */
export interface TokenSpans {
  readonly starts: Int32Array
  readonly ends: Int32Array
}

const encoder = new TextEncoder()
/** SentencePiece's space. */
const MARK = '\u2581'

/** Lays tokens along the text they came from; undefined when they do not spell it. */
export function locateTokens(
  text: string,
  tokens: readonly SpelledToken[],
  spelling: Spelling,
): TokenSpans | undefined {
  const bytes = encoder.encode(text)
  const { firsts, lasts } = unitsOfBytes(text, bytes.length)
  const starts = new Int32Array(tokens.length)
  const ends = new Int32Array(tokens.length)
  let at = 0
  let isFresh = true
  for (const [index, token] of tokens.entries()) {
    let end: number | undefined
    const start = token.takesBefore === true ? skipWhiteSpace(bytes, at) : at
    if (token.isAdded) {
      end = matched(bytes, start, encoder.encode(token.spelling))
      // Gemma's runs of spaces are added tokens, and spelled with marks.
      if (spelling !== 'bytes as characters') end ??= matchedPiece(bytes, start, token.spelling, false)
      if (end !== undefined && token.takesBehind === true) end = skipWhiteSpace(bytes, end)
    } else if (spelling === 'bytes as characters') {
      end = matched(bytes, at, bytesOfCharacters(token.spelling))
    } else {
      end = matchedPiece(bytes, at, token.spelling, isFresh && spelling === 'spaces as marks, one in front')
    }
    if (end === undefined) return undefined
    starts[index] = firsts[at] ?? text.length
    ends[index] = lasts[Math.max(at, end - 1)] ?? text.length
    at = end
    isFresh = token.isAdded
  }
  return at === bytes.length ? { starts, ends } : undefined
}

/** For each byte of the text's UTF-8, the index where its character begins and the one where it ends. */
function unitsOfBytes(text: string, count: number): { firsts: Int32Array; lasts: Int32Array } {
  const firsts = new Int32Array(count)
  const lasts = new Int32Array(count)
  let at = 0
  for (let unit = 0; unit < text.length;) {
    const code = text.codePointAt(unit) ?? 0
    const next = unit + (code > 0xffff ? 2 : 1)
    const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
    firsts.fill(unit, at, at + width)
    lasts.fill(next, at, at + width)
    at += width
    unit = next
  }
  return { firsts, lasts }
}

/** The position behind `piece` when it stands at `at`. */
function matched(bytes: Uint8Array, at: number, piece: Uint8Array | undefined): number | undefined {
  if (piece === undefined || at + piece.length > bytes.length) return undefined
  for (let index = 0; index < piece.length; index++) if (bytes[at + index] !== piece[index]) return undefined
  return at + piece.length
}

function matchedPiece(bytes: Uint8Array, at: number, spelling: string, hasFront: boolean): number | undefined {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(spelling)?.[1]
  if (byte !== undefined) {
    const end = matched(bytes, at, Uint8Array.of(Number.parseInt(byte, 16)))
    if (end !== undefined) return end
  }
  // A mark may have been in the text itself: then only a mixture of the two spells it.
  const rest = hasFront && spelling.startsWith(MARK) ? spelling.slice(1) : spelling
  let end = at
  for (const character of rest) {
    const isSpace = character === MARK && bytes[end] === 0x20
    const behind = isSpace ? end + 1 : matched(bytes, end, encoder.encode(character))
    if (behind === undefined) return undefined
    end = behind
  }
  return end
}

/** The white space that tokenizers take, ASCII's and the common others, from `at` on. */
function skipWhiteSpace(bytes: Uint8Array, at: number): number {
  let end = at
  for (;;) {
    const byte = bytes[end] ?? 0
    if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) end++
    else return end
  }
}

let byteOfCharacter: ReadonlyMap<string, number> | undefined

/** GPT-2's alphabet: a byte is the character of its code when that is visible in Latin-1, else the next from U+0100 on. */
export function symbolOfByte(): readonly string[] {
  let invisible = 0
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
    return String.fromCharCode(isVisible ? byte : 256 + invisible++)
  })
}

function bytesOfCharacters(spelling: string): Uint8Array | undefined {
  byteOfCharacter ??= new Map(symbolOfByte().map((symbol, byte) => [symbol, byte]))
  const bytes = new Uint8Array(spelling.length)
  for (let index = 0; index < spelling.length; index++) {
    const byte = byteOfCharacter.get(spelling[index] ?? '')
    if (byte === undefined) return undefined
    bytes[index] = byte
  }
  return bytes
}
