// How data shows: tokens in colours and without, histograms, line numbers; nothing in a record steers the terminal.

import assert from 'node:assert/strict'
import { exampleText, histogramLines, isColoured, namedLines, percent } from '../../bin/dataView.ts'
import { paddingShare, reportOf } from '../../data/report.ts'
import { shownPieces } from '../../data/shownTokens.ts'
import type { Example } from '../../data/examples.ts'

const example = (ids: readonly number[], learnt: readonly number[]): Example => ({
  tokens: Int32Array.from(ids.slice(0, -1)),
  targets: Int32Array.from(ids.slice(1)),
  weights: Float32Array.from(learnt),
})
const plain = { isColoured: false, columns: 80 }
const coloured = { isColoured: true, columns: 80 }
/** Ids are bytes. */
const bytes = (ids: readonly number[]): string => Buffer.from(ids).toString('utf8')

describe('data/shownTokens', () => {
  it('shows each token with whether it is learnt, parts of a character together', () => {
    const ids = [...Buffer.from('a😀b')]
    assert.deepEqual(shownPieces(example(ids, [0, 0, 0, 1, 1]), bytes, 100), [
      { text: 'a', isLearnt: false, ids: [97] },
      { text: '😀', isLearnt: true, ids: ids.slice(1, 5) },
      { text: 'b', isLearnt: true, ids: [98] },
    ])
    assert.deepEqual(
      shownPieces(example(ids, [0, 0, 0, 1, 1]), bytes, 3).map(({ text }) => text),
      ['a', '\ufffd'],
    )
  })
})

describe('bin/dataView', () => {
  const piece = (text: string, isLearnt: boolean) => ({ text, isLearnt, ids: [] })

  it('puts brackets around what is learnt where no colours are', () => {
    const pieces = [piece('a', false), piece('b', true), piece('c\n', true), piece('d', false), piece('e', true)]
    assert.equal(exampleText(pieces, 0, plain), 'a⟦bc⏎\n⟧d⟦e⟧')
    assert.equal(exampleText([piece('a\n', false)], 7, plain), 'a⏎ … 7 more')
  })

  it('paints tokens line by line, every other one underlined', () => {
    const text = exampleText([piece('a', false), piece('b\nc', true), piece('d', true)], 0, coloured)
    const [dim, green, underline] = ['\u001b[2m', '\u001b[32m', '\u001b[4m']
    const [undim, ungreen, ununderline] = ['\u001b[22m', '\u001b[39m', '\u001b[24m']
    assert.equal(
      text,
      `${dim}a${undim}${green}${underline}b⏎${ununderline}${ungreen}\n` +
        `${green}${underline}c${ununderline}${ungreen}${green}d${ungreen}`,
    )
  })

  it('lets nothing in a record steer the terminal', () => {
    const hostile = '\u001b[2J\r\b\u0007\u009b31m\u2028\u007f\t.'
    for (const view of [plain, coloured]) {
      const shown = exampleText([piece(hostile, true)], 0, view)
        .replace('\u001b[32m', '')
        .replace('\u001b[39m', '')
      assert.doesNotMatch(shown, /[^\P{Cc}\t]|\u2028/u)
      assert.match(shown, /\\x1b\[2J\\x0d\\x08\\x07\\x9b31m\\x2028\\x7f→\t\./)
    }
  })

  it('draws lengths as bars that fit', () => {
    const lengths = [...Array<number>(40).fill(7), 30, 95]
    const report = reportOf(lengths.map((length) => example(Array(length + 1).fill(1), Array(length).fill(1))))
    assert.deepEqual([report.shortest, report.median, report.longest], [7, 7, 95])
    assert.equal(
      report.histogram.reduce((sum, { count }) => sum + count, 0),
      lengths.length,
    )
    const lines = histogramLines(report, { ...plain, columns: 60 })
    assert.ok(lines.every((line) => line.length <= 60))
    assert.match(lines[0] ?? '', /^ {4}1–8 █+ 40$/)
    assert.match(lines[1] ?? '', /^ {3}9–16 0$/)
    assert.match(lines.at(-1) ?? '', /^ {2}89–96 █[▏▎▍▌▋▊▉]? 1$/)
  })

  it('counts tokens, learnt ones and padding', () => {
    const examples = [example([1, 2, 3], [0, 1]), example([1, 2, 3, 4, 5], [0, 1, 1, 1])]
    const { tokens, learnt, shortest, longest, median } = reportOf(examples)
    assert.deepEqual([tokens, learnt, shortest, median, longest], [6, 4, 2, 2, 4])
    const empty = new Int32Array()
    const batch = { tokens: empty, targets: empty, weights: new Float32Array(), sequences: 2, length: 4 }
    assert.equal(paddingShare([[batch]], 6), 0.25)
    assert.equal(percent(0.25), '25.0 %')
  })

  it('names twenty lines and counts the rest', () => {
    assert.equal(namedLines([7]), 'line 7')
    assert.equal(namedLines([7, 9]), 'lines 7, 9')
    const many = Array.from({ length: 1021 }, (_, index) => index + 1)
    assert.match(namedLines(many), /^lines 1, 2, .*, 19, 20 and 1,001 more$/)
  })

  it('takes colours from a terminal, and none where they are not wanted', () => {
    const before = { ...process.env }
    try {
      for (const key of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) delete process.env[key]
      assert.ok(isColoured({ isTTY: true }) && !isColoured({ isTTY: false }))
      process.env['NO_COLOR'] = '1'
      assert.ok(!isColoured({ isTTY: true }))
      delete process.env['NO_COLOR']
      process.env['TERM'] = 'dumb'
      assert.ok(!isColoured({ isTTY: true }))
    } finally {
      for (const key of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) {
        if (before[key] === undefined) delete process.env[key]
        else process.env[key] = before[key]
      }
    }
  })
})
