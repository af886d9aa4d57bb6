// How training data shows: examples as coloured tokens, or with brackets around what is learnt where colours cannot be;
// a histogram; figures and warnings as lines. Opens no file.

import { createColors } from 'picocolors'
import type { DataReport } from '../data/report.ts'
import type { ShownPiece } from '../data/shownTokens.ts'

/** Line numbers that a warning names before it only counts. */
const NAMED_LINES = 20

export interface ViewOptions {
  readonly isColoured: boolean
  /** Characters of a line. */
  readonly columns: number
}

/** Whether a terminal is there that shows colours, and nobody asked for none. */
export function isColoured(terminal: { readonly isTTY?: boolean } = process.stdout): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  if ((NO_COLOR ?? '') !== '') return false
  return (FORCE_COLOR ?? '') !== '' || (terminal.isTTY === true && TERM !== 'dumb')
}

/**
 * The tokens of one example. In colours: what is learnt is green, the rest dim, every other token underlined. Without:
 * what is learnt stands between ⟦ and ⟧. A line feed shows as ⏎ and breaks the line.
 */
export function exampleText(
  pieces: readonly ShownPiece[],
  more: number,
  { isColoured: hasColours }: ViewOptions,
): string {
  const rest = more > 0 ? ` … ${more} more` : ''
  const colours = createColors(hasColours)
  if (hasColours) {
    const parts = pieces.map(({ text, isLearnt }, index) => {
      const paint = isLearnt ? colours.green : colours.dim
      // Line by line: a colour that goes on over a line's end colours what a pager puts before the next.
      return visible(text)
        .split(/(?<=\n)/)
        .map((line) => {
          const [, words = '', end = ''] = /^([^\n]*)(\n?)$/.exec(line) ?? []
          return paint(index % 2 === 1 ? colours.underline(words) : words) + end
        })
        .join('')
    })
    return parts.join('').replace(/\n$/, '') + (rest === '' ? '' : colours.dim(rest))
  }
  let text = ''
  let wasLearnt = false
  for (const piece of pieces) {
    if (piece.isLearnt !== wasLearnt) text += piece.isLearnt ? '⟦' : '⟧'
    wasLearnt = piece.isLearnt
    text += visible(piece.text)
  }
  return `${text.replace(/\n$/, '')}${wasLearnt ? '⟧' : ''}${rest}`
}

/** Characters that would steer a terminal, and ends of lines, made visible. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    if (character === '\n') return '⏎\n'
    if (character === '\t') return '→\t'
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** One line for each range of lengths. */
export function histogramLines({ histogram }: DataReport, { columns }: ViewOptions): string[] {
  const most = Math.max(1, ...histogram.map(({ count }) => count))
  const labels = histogram.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`))
  const width = Math.max(...labels.map((label) => label.length))
  const room = Math.max(8, Math.min(60, columns - width - 12))
  return histogram.map(({ count }, index) => {
    const eighths = Math.round((count / most) * room * 8)
    // What is there shows, however little it is.
    const bar = '█'.repeat(eighths >> 3) + (EIGHTHS[count > 0 && eighths === 0 ? 1 : eighths & 7] ?? '')
    return `  ${(labels[index] ?? '').padStart(width)} ${bar}${bar === '' ? '' : ' '}${number(count)}`
  })
}

export function number(value: number): string {
  return value.toLocaleString('en')
}

/** A share from 0 to 1 in per cent. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

/** `lines 3, 8, 13`, the first twenty and how many more. */
export function namedLines(lines: readonly number[]): string {
  const named = lines.slice(0, NAMED_LINES).join(', ')
  const more = lines.length - NAMED_LINES
  return `${lines.length === 1 ? 'line' : 'lines'} ${named}${more > 0 ? ` and ${number(more)} more` : ''}`
}
