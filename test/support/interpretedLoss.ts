// Losses of a recipe's model before any training, worked out by the graph's interpreter in float64. Knows no kernel.

import { float64 } from '../../compiler/graph/float64.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import { fromStored } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import type { MicroBatch } from '../../data/batches.ts'
import { readTensorF32 } from '../../formats/safetensors.ts'
import { heldOutBatches } from '../../train/heldOut.ts'
import type { PreparedModel } from '../../train/prepare.ts'

/** Mean loss of the recipe's first optimizer step. */
export async function firstLoss(recipeFile: string): Promise<number> {
  const { model, data } = await prepared(recipeFile)
  const [step = []] = data.batches
  return meanLoss(model, step)
}

/** Mean loss of the recipe's held-out records. */
export async function heldOutLoss(recipeFile: string): Promise<number> {
  const { sequences, model, data } = await prepared(recipeFile)
  return meanLoss(
    model,
    [...heldOutBatches(data.heldOut, sequences)].map((one) => filled(one, sequences)),
  )
}

// As the command line comes to users: mocha may have loaded this file as CommonJS, and every module exists once.
async function prepared(recipeFile: string) {
  const { loadRecipe } = await import('../../train/loadRecipe.ts')
  const { prepareData, prepareModel } = await import('../../train/prepare.ts')
  const loaded = await loadRecipe(recipeFile)
  const model = await prepareModel(loaded)
  return { sequences: loaded.recipe.batch.sequences, model, data: prepareData(loaded, model) }
}

/** Rows of zeros fill the batch that the graph was made for. */
function filled(batch: MicroBatch, sequences: number): MicroBatch {
  const rows = <T extends Int32Array | Float32Array>(part: T, whole: T): T => {
    whole.set(part)
    return whole
  }
  const size = sequences * batch.length
  return {
    ...batch,
    sequences,
    tokens: rows(batch.tokens, new Int32Array(size)),
    targets: rows(batch.targets, new Int32Array(size)),
    weights: rows(batch.weights, new Float32Array(size)),
  }
}

function meanLoss({ traced, binding }: PreparedModel, batches: readonly MicroBatch[]): number {
  let loss = 0
  let weight = 0
  for (const batch of batches) {
    const inputs: Record<string, Int32Array | Float32Array> = {
      tokens: batch.tokens,
      targets: batch.targets,
      weights: batch.weights,
      position: new Int32Array(batch.sequences),
      seed: Int32Array.of(0),
    }
    const values = new Map<string, Tensor>()
    for (const declaration of traced.graph.declarations.values()) {
      const stored = inputs[declaration.name] ?? readTensorF32(binding.entry(declaration.name))
      values.set(declaration.name, fromStored(declaration, stored, { seq: batch.length }))
    }
    const extents = { seq: batch.length }
    const { outputs } = interpret(traced.graph, 'loss', { values, extents, arithmetic: float64 })
    loss += outputs.get('loss')?.data[0] ?? NaN
    weight += outputs.get('weight')?.data[0] ?? NaN
  }
  return loss / weight
}
