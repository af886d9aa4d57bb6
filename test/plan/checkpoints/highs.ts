// The same choice as an integer programme, solved by HiGHS (compiled to WebAssembly). Only for tests: an oracle that shares
// nothing with the search.

import * as highsModule from 'highs'
import type { Chain } from '../../../compiler/plan/checkpoints/chain.ts'

interface Solver {
  solve(programme: string, options: object): { readonly Status: string; readonly ObjectiveValue: number }
}

// Its types say that the module is the function; as a module of Node, the function is its default.
const loadHighs = highsModule.default as unknown as () => Promise<Solver>

/** Least seconds, or undefined where nothing fits. Resident bytes are not stated. */
export async function solveByHighs({ budget, middle, layers }: Chain): Promise<number | undefined> {
  if (middle > budget) return undefined
  if (layers.length === 0) return 0
  const highs = await loadHighs()
  const term = (amount: number, layer: number, pick: number): string => `+ ${amount} x${layer}_${pick}`
  const all = (of: 'kept' | 'need' | 'seconds', from: number, to: number): string =>
    layers
      .slice(from, to)
      .flatMap((choices, place) => choices.map((choice, pick) => term(choice[of], from + place, pick)))
      .join(' ')
  const lines = [
    'Minimize',
    ` obj: ${all('seconds', 0, layers.length)}`,
    'Subject To',
    ...layers.map((choices, layer) => ` one${layer}: ${choices.map((_, pick) => term(1, layer, pick)).join(' ')} = 1`),
    ...layers.map((_, layer) => ` at${layer}: ${all('kept', 0, layer)} ${all('need', layer, layer + 1)} <= ${budget}`),
    ` middle: ${all('kept', 0, layers.length)} <= ${budget - middle}`,
    'Binary',
    ...layers.flatMap((choices, layer) => choices.map((_, pick) => ` x${layer}_${pick}`)),
    'End',
  ]
  const result = highs.solve(lines.join('\n'), { mip_rel_gap: 0 })
  return result.Status === 'Optimal' ? result.ObjectiveValue : undefined
}
