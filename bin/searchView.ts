// How a search for schedules shows, each nest in a few lines that fit a hundred columns. Measures nothing.

import type { TileChoice } from '../compiler/schedule/profile.ts'
import type { NestResult } from '../evaluate/speed/search/run.ts'

/** `8 rows × 3 vectors, 4 panels of 384 steps, 1 piece`. */
export function choiceText({ rows, vectors, panels, steps, pieces }: TileChoice): string {
  return (
    `${counted(rows, 'row')} × ${counted(vectors, 'vector')}, ` +
    `${counted(panels, 'panel')} of ${counted(steps, 'step')}, ${counted(pieces, 'piece')}`
  )
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

export function nestLines({ nest, share, tried, rule, ruleSeconds, seconds, found }: NestResult): string[] {
  const milliseconds = (of: number): string => (of * 1000).toFixed(of < 0.1 ? 2 : 0)
  const work = `${nest}: ${(100 * share).toFixed(1)} % of the multiply-adds, ${counted(tried, 'schedule')}`
  if (!found) return [`${work}: none is faster`, `  by the rule: ${choiceText(rule)}`]
  return [
    `${work}: ${found.timesAsFast.toFixed(2)} times as fast`,
    `  ${milliseconds(ruleSeconds)} ms of a step by the rule: ${choiceText(rule)}`,
    `  ${milliseconds(seconds)} ms now: ${choiceText(found)}`,
  ]
}
