// Rewrites a graph by a table of small rules until none applies. What no function reaches any more is left behind.
// The rules are in `arithmeticRules.ts`, `viewRules.ts` and `contractionRules.ts`.

import { InternalError } from '../diagnostic.ts'
import { axisNames, sameAxes } from '../graph/axis.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import type { Node } from '../graph/node.ts'
import { arithmeticRules } from './arithmeticRules.ts'
import { contractionRules } from './contractionRules.ts'
import type { Pass } from './pass.ts'
import { rebuild } from './rebuild.ts'
import type { Rule } from './rewriteRules.ts'
import { viewRules } from './viewRules.ts'

/** All rules, in the order in which they are tried on a node. */
export const simplificationRules: readonly Rule[] = [...arithmeticRules, ...viewRules, ...contractionRules]

/** Far more rounds than any graph needs: each goes through all of it, and rules meet only where they nest. */
const mostRounds = 200

/**
 * Simplifies by the given rules. Runs before differentiation, so that the target's logit is gathered before it is
 * contracted and its gradient never spans the vocabulary, and again after it, so that the softmax in the gradient of the
 * loss is streamed and the stacks of zeros that picks left are joined.
 */
export function simplify(rules: readonly Rule[] = simplificationRules): Pass {
  return {
    name: 'simplify',
    summary: 'algebra that makes intermediates smaller or disappear',
    run: (graph, { provenance }) => {
      let current = graph
      for (let round = 0; round < mostRounds; round++) {
        const fired = new Set<string>()
        current = rebuild(current, provenance, (b) => (copy) => rewritten(b, copy, rules, fired))
        if (fired.size === 0) return current
        if (round === mostRounds - 1) throw new InternalError(`simplification does not end: ${[...fired].join(', ')}`)
      }
      return current
    },
  }
}

/** Applies rules to a node while one does. Parts that a rule has just made are looked at in the next round. */
function rewritten(b: GraphBuilder, node: Node, rules: readonly Rule[], fired: Set<string>): Node {
  let current = node
  for (let times = 0; times < mostRounds; times++) {
    const better = rewrittenOnce(b, current, rules, fired)
    if (better === current) return current
    current = better
  }
  throw new InternalError(`simplification does not end: ${[...fired].join(', ')}`)
}

function rewrittenOnce(b: GraphBuilder, node: Node, rules: readonly Rule[], fired: Set<string>): Node {
  for (const rule of rules) {
    const better = rule.apply(b, node)
    if (better === undefined || better === node) continue
    if (!sameAxes(better.axes, node.axes) || better.dtype !== node.dtype) {
      throw new InternalError(`rule '${rule.name}' gives (${axisNames(better.axes)}) for (${axisNames(node.axes)})`)
    }
    fired.add(rule.name)
    return better
  }
  return node
}
