// How far a program's arenas are above what is needed, held to the promise of 2 %. Only for tests.

import assert from 'node:assert/strict'
import type { Compiled } from '../../compiler/pipeline.ts'

/** The function that is furthest above its lower bound. Fails above 2 %. */
export function worstGap({ arenas }: Pick<Compiled, 'arenas'>, name: string): { gap: number; text: string } {
  let worst = { gap: -1, text: '' }
  for (const { fn, peak, lowerBound, buffers } of arenas) {
    assert.ok(peak >= lowerBound, `${name}: ${fn} needs ${lowerBound} bytes and has ${peak}`)
    const gap = lowerBound === 0 ? 0 : peak / lowerBound - 1
    if (gap > worst.gap)
      worst = { gap, text: `${name}: ${(gap * 100).toFixed(2)} % in ${fn}, ${buffers.length} buffers` }
  }
  assert.ok(worst.gap <= 0.02, worst.text)
  return worst
}
