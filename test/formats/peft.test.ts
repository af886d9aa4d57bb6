import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { InternalError } from '../../compiler/diagnostic.ts'
import { openAdapter, saveAdapter } from '../../formats/peft.ts'
import type { LoraSettings, NewLoraModule } from '../../formats/peft.ts'
import { float32Tensor, openSafetensors, readTensorF32, writeSafetensors } from '../../formats/safetensors.ts'
import { refuses, temporaryDirectory } from './helpers.ts'

const settings: LoraSettings = {
  rank: 2,
  alpha: 6,
  dropout: 0.05,
  scaling: 'alpha/rank',
  baseLayout: 'in-out',
  targetModules: ['c_attn'],
  baseModel: 'openai-community/gpt2',
}
const module: NewLoraModule = {
  path: 'transformer.h.0.attn.c_attn',
  inputs: 3,
  outputs: 5,
  a: Float32Array.from({ length: 6 }, (_, index) => index + 0.25),
  b: Float32Array.from({ length: 10 }, (_, index) => -index),
}

function saved(): string {
  const dir = temporaryDirectory()
  saveAdapter(dir, settings, [module])
  return dir
}

/** Changes the saved configuration as a careless or hostile hand would. */
function withConfig(change: Record<string, unknown>): string {
  const dir = saved()
  const file = path.join(dir, 'adapter_config.json')
  fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(fs.readFileSync(file, 'utf8')), ...change }))
  return dir
}

function withTensors(shapes: Record<string, number[]>, dtype: 'F32' | 'I32' = 'F32'): string {
  const dir = saved()
  const tensors = Object.entries(shapes).map(([name, shape]) => ({
    ...float32Tensor(name, shape, new Float32Array(shape.reduce((product, extent) => product * extent, 1))),
    dtype,
  }))
  writeSafetensors(path.join(dir, 'adapter_model.safetensors'), tensors)
  return dir
}

describe('PEFT adapter', () => {
  it('writes what PEFT expects', () => {
    const dir = saved()
    // Keys and types as read off an adapter that PEFT 0.21.2 wrote for a GPT-2.
    assert.deepEqual(JSON.parse(fs.readFileSync(path.join(dir, 'adapter_config.json'), 'utf8')), {
      alpha_pattern: {},
      auto_mapping: null,
      base_model_name_or_path: 'openai-community/gpt2',
      bias: 'none',
      fan_in_fan_out: true,
      inference_mode: true,
      init_lora_weights: true,
      layer_replication: null,
      layers_pattern: null,
      layers_to_transform: null,
      loftq_config: {},
      lora_alpha: 6,
      lora_dropout: 0.05,
      megatron_config: null,
      megatron_core: 'megatron.core',
      modules_to_save: null,
      peft_type: 'LORA',
      r: 2,
      rank_pattern: {},
      revision: null,
      target_modules: ['c_attn'],
      task_type: 'CAUSAL_LM',
      use_dora: false,
      use_rslora: false,
    })
    const { tensors, metadata } = openSafetensors(path.join(dir, 'adapter_model.safetensors'))
    assert.deepEqual({ ...metadata }, { format: 'pt' })
    assert.deepEqual(
      [...tensors.values()].map(({ name, shape, dtype }) => [name, shape, dtype]),
      [
        ['base_model.model.transformer.h.0.attn.c_attn.lora_A.weight', [2, 3], 'F32'],
        ['base_model.model.transformer.h.0.attn.c_attn.lora_B.weight', [5, 2], 'F32'],
      ],
    )
  })

  it('reads back what it wrote', () => {
    const adapter = openAdapter(saved())
    assert.deepEqual(adapter.settings, settings)
    assert.equal(adapter.scale, 3)
    const found = adapter.modules.get(module.path)!
    assert.deepEqual([found.inputs, found.outputs], [3, 5])
    assert.deepEqual(readTensorF32(found.a), module.a)
    assert.deepEqual(readTensorF32(found.b), module.b)
    const rankStabilised = temporaryDirectory()
    saveAdapter(rankStabilised, { ...settings, scaling: 'alpha/sqrt(rank)' }, [module])
    assert.equal(openAdapter(rankStabilised).scale, 6 / Math.sqrt(2))
  })

  it('never saves a module that PEFT would leave out, a wrong shape, or NaN', () => {
    const dir = path.join(temporaryDirectory(), 'adapter')
    assert.throws(() => saveAdapter(dir, { ...settings, targetModules: ['attn'] }, [module]), InternalError)
    assert.throws(
      () => saveAdapter(dir, { ...settings, targetModules: ['xc_attn', 'n.c_attn'] }, [module]),
      InternalError,
    )
    assert.throws(() => saveAdapter(dir, settings, []), InternalError)
    assert.throws(() => saveAdapter(dir, settings, [{ ...module, inputs: 4 }]), InternalError)
    refuses(() => saveAdapter(dir, settings, [{ ...module, b: module.b.with(3, NaN) }]), 'HD408', /lora_B.*element 3/)
    assert.ok(!fs.existsSync(dir))
    saveAdapter(dir, { ...settings, targetModules: [module.path] }, [module])
  })

  it('refuses a configuration that means more than plain LoRA', () => {
    for (const [key, value] of [
      ['peft_type', 'IA3'],
      ['bias', 'all'],
      ['modules_to_save', ['lm_head']],
      ['rank_pattern', { c_attn: 4 }],
      ['alpha_pattern', { c_attn: 4 }],
      ['use_dora', true],
      ['lora_bias', true],
      ['use_qalora', true],
      ['target_parameters', ['x']],
      ['trainable_token_indices', [1]],
      ['init_lora_weights', 'pissa_niter_4'],
      ['r', 0],
      ['r', 2.5],
      ['r', '2'],
      ['lora_alpha', null],
      ['lora_dropout', 1],
      ['use_rslora', 'no'],
      ['fan_in_fan_out', 1],
      ['target_modules', [3]],
    ] as const) {
      refuses(
        () => openAdapter(withConfig({ [key]: value })),
        'HD410',
        new RegExp(`adapter_config\\.json \\(${key}\\)`),
      )
    }
    assert.equal(
      openAdapter(withConfig({ init_lora_weights: 'gaussian', use_bdlora: null, exclude_modules: null })).scale,
      3,
    )
    assert.deepEqual(openAdapter(withConfig({ target_modules: 'all-linear' })).settings.targetModules, ['all-linear'])
  })

  it('refuses matrices that do not fit', () => {
    const a = 'base_model.model.m.lora_A.weight'
    const b = 'base_model.model.m.lora_B.weight'
    refuses(() => openAdapter(withTensors({ [a]: [2, 3] })), 'HD411', /lora_B\.weight.*missing/)
    refuses(() => openAdapter(withTensors({ [b]: [3, 2] })), 'HD411', /lora_A\.weight.*missing/)
    refuses(() => openAdapter(withTensors({ [a]: [4, 3], [b]: [3, 4] })), 'HD411', /shape is \[4, 3\], but \[2, in\]/)
    refuses(() => openAdapter(withTensors({ [a]: [2, 3], [b]: [2, 3] })), 'HD411', /shape is \[2, 3\], but \[out, 2\]/)
    refuses(() => openAdapter(withTensors({ [a]: [2, 3, 1], [b]: [3, 2] })), 'HD411', /\[2, 3, 1\]/)
    refuses(() => openAdapter(withTensors({ [a]: [2, 3], [b]: [3, 2] }, 'I32')), 'HD411', /I32/)
    refuses(
      () => openAdapter(withTensors({ 'base_model.model.m.lora_embedding_A': [2, 3] })),
      'HD411',
      /not that of a LoRA/,
    )
    refuses(() => openAdapter(withTensors({})), 'HD411', /no LoRA matrix/)
    const dir = saved()
    fs.rmSync(path.join(dir, 'adapter_model.safetensors'))
    refuses(() => openAdapter(dir), 'HD406', /no adapter_model\.safetensors/)
  })
})
