// The names under which training keeps its state, shared by the passes that write it and whoever reads it at run time.

import type { Declaration, Graph, GraphFunction, Node, StoredLayout } from '../graph/node.ts'

export const gradientOf = (name: string): string => `grad/${name}`
/** Mean (`first`) and mean square (`second`) of a parameter's gradient. */
export const firstMomentOf = (name: string): string => `moment1/${name}`
export const secondMomentOf = (name: string): string => `moment2/${name}`
/** Squared 2-norm of a parameter's gradient of the mean loss, before clipping: where a bad number shows first. */
export const squaredNormOf = (name: string): string => `norm2/${name}`

/** Σ weight · loss and Σ weight since the last update. */
export const lossSum = 'sum/loss'
export const weightSum = 'sum/weight'

/** Updates made so far. */
export const stepCount = 'optimizer/step'
/** 1 − βᵗ, by recurrence: the difference itself would cancel. */
export const firstCorrection = 'optimizer/correction1'
export const secondCorrection = 'optimizer/correction2'

/** For people: the mean loss and the gradient's norm before clipping, as `measure` found them; the step's rate. */
export const reportedLoss = 'report/loss'
export const reportedNorm = 'report/gradient_norm'
export const reportedRate = 'report/rate'

/** A state that starts at zero; f32 unless it counts. */
export function zeroState(name: string, stored: StoredLayout, dtype: 'f32' | 'i32' = 'f32'): Declaration {
  return { name, role: 'state', dtype, stored, initial: { kind: 'constant', value: 0 } }
}

/** In the order of declaration, which is the order of every sum over them. */
export function trainables(graph: Graph): Declaration[] {
  return [...graph.declarations.values()].filter((declaration) => declaration.role === 'trainable')
}

/** State that is zero between two steps: what micro-batches add to and an update sets back. */
export function sums(graph: Graph): Set<string> {
  return new Set([...trainables(graph).map(({ name }) => gradientOf(name)), lossSum, weightSum])
}

/** The forward pass of `accumulate` is what the loss and its weight need. */
export function forwardRoots(accumulate: GraphFunction): Node[] {
  return accumulate.writes.filter(({ name }) => name === lossSum || name === weightSum).map(({ node }) => node)
}
