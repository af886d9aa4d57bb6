// Which tensor of a checkpoint is which parameter of a model: names, shapes and number formats, checked before anything
// is compiled. Knows no architecture and reads no weights.

import { UserError } from '../compiler/diagnostic.ts'
import type { DType } from '../compiler/graph/axis.ts'
import type { Graph } from '../compiler/graph/node.ts'
import { quote } from '../formats/files.ts'
import type { Checkpoint } from '../formats/checkpoint.ts'
import type { TensorEntry } from '../formats/safetensors.ts'

/** A checkpoint of the bare model (`GPT2Model`, `Qwen2Model`) leaves the first component of the names out. */
const basePrefix = /^(?:transformer|model)\./
/** transformers has changed the order of these components; the files on the hub have the older one. */
const languageModel = /^model\.language_model\./
/** What checkpoints carry along and no model learns: masks and tables of old releases, the copy of a tied head. */
const redundant = /(?:^|\.)(?:attn\.(?:masked_)?bias|rotary_emb\.inv_freq)$|^(?:language_model\.)?lm_head\.weight$/
/** Parts of a checkpoint that sees images, which an adapter on its language model leaves alone. */
const besideText = /^(?:model\.)?(?:vision_tower|multi_modal_projector)\./

const dtypes: Readonly<Record<string, DType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

/** Parameters by their declared names. */
export class CheckpointBinding {
  readonly #checkpoint: Checkpoint

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint
  }

  /** The tensor of a parameter: under its own name, under that of the bare model, or as older releases called it. */
  find(parameter: string): TensorEntry | undefined {
    const { tensors } = this.#checkpoint
    const names = [
      parameter,
      parameter.replace(basePrefix, ''),
      parameter.replace(languageModel, 'language_model.model.'),
    ]
    return names.map((name) => tensors.get(name)).find((entry) => entry !== undefined)
  }

  /** The tensor of a parameter that `check` has seen. UserError HD803 when there is none. */
  entry(parameter: string): TensorEntry {
    const entry = this.find(parameter)
    if (entry) return entry
    throw new UserError('HD803', `the checkpoint lacks the tensor ${quote(parameter)}`, {
      place: { file: this.#checkpoint.dir },
    })
  }

  /**
   * How the file stores a parameter, for `TraceOptions.storedDType`; f32 for one that is missing, which `check` reports.
   * UserError HD805 for a format that no kernel widens.
   */
  storedDType(parameter: string): DType {
    const entry = this.find(parameter)
    if (!entry) return 'f32'
    const dtype = dtypes[entry.dtype]
    if (dtype) return dtype
    throw new UserError('HD805', `its dtype is ${entry.dtype}, but F32, F16 or BF16 is needed`, {
      place: placeOf(entry),
    })
  }

  /**
   * Holds the checkpoint against a traced model, whose weights are trained or left as they are. UserError HD803 for a
   * missing tensor, HD804 for a wrong shape, HD806 for one that the model does not use: a model saved without it would
   * not be whole.
   */
  check(traced: Graph, weights: 'frozen' | 'trained' = 'frozen'): void {
    const used = new Set<TensorEntry>()
    for (const { name, role, stored } of traced.declarations.values()) {
      if (role !== 'frozen') continue
      const entry = this.entry(name)
      used.add(entry)
      const shape = stored.map((dimension) => dimension.reduce((product, axis) => product * axis.size, 1))
      if (shape.length === entry.shape.length && shape.every((extent, axis) => extent === entry.shape[axis])) continue
      throw new UserError(
        'HD804',
        `its shape is [${entry.shape.join(', ')}], but config.json asks for [${shape.join(', ')}]`,
        {
          place: placeOf(entry),
        },
      )
    }
    for (const entry of this.#checkpoint.tensors.values()) {
      if (used.has(entry) || redundant.test(entry.name)) continue
      const isBeside = besideText.test(entry.name)
      if (isBeside && weights === 'frozen') continue
      const mend = isBeside ? 'full fine-tuning could not save it; use lora(…)' : undefined
      throw new UserError('HD806', 'the model has no such parameter', { place: placeOf(entry), mend })
    }
  }
}

function placeOf(entry: TensorEntry): { file: string; at: string } {
  return { file: entry.file, at: `tensor ${quote(entry.name)}` }
}
