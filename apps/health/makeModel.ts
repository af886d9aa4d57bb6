// Makes the small bundled model from nothing: random weights, text from the seeded generator, and this project's own full
// fine-tuning. The same bits on every machine. Run (some minutes):
//   node --import tsx apps/health/makeModel.ts [--out apps/health/model] [--steps 3000]

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { initialData } from '../../backends/neon/driver/index.ts'
import type { ProgramValue } from '../../compiler/plan/program.ts'
import { narrowF16 } from '../../compiler/kernel/halves.ts'
import { openCheckpoint, saveCheckpoint } from '../../formats/checkpoint.ts'
import { makeDirectory } from '../../formats/files.ts'
import { float32Tensor, readTensorF32, writeSafetensors } from '../../formats/safetensors.ts'
import { gpt2 } from '../../models/index.ts'
import { loadRecipe } from '../../train/loadRecipe.ts'
import { runTraining } from '../../train/run.ts'
import { pretrainDocuments, trainHealthTokenizer } from './pretrainText.ts'

const documents = 120_000
const seed = 1

const config = {
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  vocab_size: 1024,
  n_positions: 128,
  n_embd: 128,
  n_layer: 4,
  n_head: 4,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
  tie_word_embeddings: true,
  attn_pdrop: 0,
  embd_pdrop: 0,
  resid_pdrop: 0,
  bos_token_id: 0,
  eos_token_id: 0,
}

/** GPT-2's first weights: deviation 0.02, less in front of the residual stream; norms one, biases zero. */
function firstWeights(vocabulary: number): Map<string, { shape: readonly number[]; values: Float32Array }> {
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>()
  const traced = gpt2.trace(gpt2.readConfig({ ...config, vocab_size: vocabulary }, 'config.json'), {
    sequences: 1,
    length: 8,
  })
  for (const declared of traced.graph.declarations.values()) {
    if (declared.role !== 'frozen') continue
    const shape = declared.stored.map((dimension) => dimension.reduce((product, axis) => product * axis.size, 1))
    const count = shape.reduce((product, size) => product * size, 1)
    const deviation = declared.name.endsWith('c_proj.weight') ? 0.02 / Math.sqrt(2 * config.n_layer) : 0.02
    const constant = declared.name.endsWith('.bias') ? 0 : /\.ln_[12f]\.weight$/.test(declared.name) ? 1 : undefined
    const value: ProgramValue = {
      name: declared.name,
      role: 'trainable',
      dtype: 'f32',
      shape,
      bytes: 4 * count,
      place: { space: 'state', offset: 0 },
      initial: constant === undefined ? { kind: 'normal', deviation } : { kind: 'constant', value: constant },
    }
    tensors.set(declared.name, { shape, values: initialData(value, seed) as Float32Array })
  }
  return tensors
}

const recipeText = (
  steps: number,
): string => `import { adamW, completions, cosine, fullFineTuning, recipe } from 'heddle'
import { gpt2 } from 'heddle/models'

export default recipe({
  model: gpt2.from('./base'),
  adapt: fullFineTuning(),
  data: completions('documents.jsonl', { loss: 'all' }),
  optimizer: adamW({ rate: cosine({ peak: 2e-3, warmup: 0.03 }), betas: [0.9, 0.95], weightDecay: 0.01, clip: 1 }),
  batch: { sequences: 32, length: 96, steps: ${steps} },
  seed: ${seed},
})
`

async function make(out: string, steps: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-health-'))
  try {
    const tokenizer = trainHealthTokenizer()
    mkdirSync(join(folder, 'base'))
    writeFileSync(join(folder, 'tokenizer.json'), tokenizer.json)
    const tensors = [...firstWeights(tokenizer.size)].map(([name, { shape, values }]) =>
      float32Tensor(name, shape, values),
    )
    saveCheckpoint(join(folder, 'base'), {
      config: { ...config, vocab_size: tokenizer.size },
      tensors,
      tokenizerFiles: [join(folder, 'tokenizer.json')],
    })
    const lines = [...pretrainDocuments(seed, documents)].map((document) => `${JSON.stringify(document)}\n`)
    writeFileSync(join(folder, 'documents.jsonl'), lines.join(''))
    writeFileSync(join(folder, 'recipe.ts'), recipeText(steps))
    const loaded = await loadRecipe(join(folder, 'recipe.ts'))
    const start = performance.now()
    const result = await runTraining(
      loaded,
      { toolchain: 'auto', out: join(folder, 'out') },
      {
        note: console.log,
        step: ({ step, loss }, total) => {
          if (step % 100 && step < total) return
          console.log(
            `step ${step} of ${total}, loss ${loss.toFixed(4)}, ${((performance.now() - start) / 1000).toFixed(0)} s`,
          )
        },
      },
    )
    if (result.saved === undefined) throw new Error('nothing was trained')
    const trained = openCheckpoint(result.saved)
    makeDirectory(out)
    const halves = [...trained.tensors.values()].map((entry) => {
      const data = Uint16Array.from(readTensorF32(entry), narrowF16)
      return { name: entry.name, dtype: 'F16' as const, shape: entry.shape, data: new Uint8Array(data.buffer) }
    })
    writeSafetensors(join(out, 'model.safetensors'), halves, { format: 'pt' })
    writeFileSync(
      join(out, 'config.json'),
      `${JSON.stringify({ ...config, vocab_size: tokenizer.size, torch_dtype: 'float16' }, undefined, 2)}\n`,
    )
    writeFileSync(join(out, 'tokenizer.json'), tokenizer.json)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const { values } = parseArgs({
  options: { out: { type: 'string', default: 'apps/health/model' }, steps: { type: 'string', default: '3000' } },
})
await make(values.out, Number(values.steps))
