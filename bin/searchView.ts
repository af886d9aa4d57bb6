// How a search for schedules shows, a nest in two lines that fit a hundred columns. Measures nothing.

import type { TileChoice } from '../compiler/schedule/profile.ts'
import type { NestResult } from '../evaluate/speed/search/run.ts'

/** `8×3 vectors, blocks of 4 panels, 384 steps, 1 piece`. */
export function choiceText({ rows, vectors, panels, steps, pieces }: TileChoice): string {
  return (
    `${rows} rows × ${vectors} ${vectors === 1 ? 'vector' : 'vectors'}, ` +
    `${panels} ${panels === 1 ? 'panel' : 'panels'} of ${steps} steps, ${pieces} ${pieces === 1 ? 'piece' : 'pieces'}`
  )
}

export function nestLines({ nest, share, tried, rule, ruleSeconds, seconds, found }: NestResult): string[] {
  const milliseconds = (of: number): string => (of * 1000).toFixed(of < 0.1 ? 2 : 0)
  const work = `${nest}: ${(100 * share).toFixed(1)} % of the multiply-adds, ${tried} schedules`
  if (!found) return [`${work}; the rule's stays, ${choiceText(rule)}`]
  return [
    `${work}; ${found.timesAsFast.toFixed(2)} times as fast (${milliseconds(ruleSeconds)} to ${milliseconds(seconds)} ms a step)`,
    `  ${choiceText(found)}; by the rule ${choiceText(rule)}`,
  ]
}
