// Model directories and adapters that are broken, hostile or contradict themselves: one sentence with the file, key or tensor.

import fs from 'node:fs'
import path from 'node:path'
import { saveAdapter } from '../../formats/peft.ts'
import { GIBIBYTE, nested, refuses, write } from './broken.ts'
import type { Case } from './broken.ts'
import { tinyProject } from './support.ts'

const header = (text: string, claimed = text.length): Buffer => {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(claimed))
  return Buffer.concat([size, Buffer.from(text)])
}

const modelFiles: readonly [file: string, ...Case][] = [
  ['config.json', 'cut', '{"n_embd": 20, "n_la', /^HD402 model\/config\.json the text is not JSON/m],
  ['config.json', 'a list', '[]', /^HD402 model\/config\.json a JSON object was expected$/m],
  ['config.json', 'lists in lists', nested(99_999), /^HD402 model\/config\.json the JSON is nested deeper than 64/m],
  ['config.json', 'two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD401 model\/config\.json the file has 2147483648 bytes, more than/m], // prettier-ignore
  ['tokenizer.json', 'cut', '{"model": {"type": "BPE", "voc', /^HD402 model\/tokenizer\.json the text is not JSON/m],
  ['tokenizer.json', 'lists in lists', `{"model":${nested(99_999)}}`, /^HD402 model\/tokenizer\.json the JSON is nested deeper/m], // prettier-ignore
  ['tokenizer.json', 'two gibibytes of zeros', { zeros: 2 * GIBIBYTE }, /^HD401 model\/tokenizer\.json the file has 2147483648 bytes/m], // prettier-ignore
  ['tokenizer_config.json', 'cut', '{"eos_', /^HD402 model\/tokenizer_config\.json the text is not JSON/m],
  ['model.safetensors', 'empty', '', /^HD403 model\/model\.safetensors a safetensors file has at least 8 bytes/m],
  ['model.safetensors', 'three gibibytes of zeros', { zeros: 3 * GIBIBYTE }, /^HD403 model\/model\.safetensors /m],
  ['model.safetensors', 'a header of a tebibyte', header('{}', 2 ** 40), /^HD403 model\/model\.safetensors the header claims 1099511627776 bytes/m], // prettier-ignore
  ['model.safetensors', 'a tensor of 2⁶⁴ elements', header('{"a":{"dtype":"F32","shape":[4503599627370496,4096],"data_offsets":[0,8]}}'), /^HD404 model\/model\.safetensors \(tensor "a"\) /m], // prettier-ignore
  ['model.safetensors', 'an unknown type', header('{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,0]}}'), /^HD404 model\/model\.safetensors \(tensor "a"\) its dtype "Q4" is not known$/m], // prettier-ignore
]

/** Configurations that say something else than the weights. */
const contradictions: readonly [change: object, expected: RegExp][] = [
  [{ model_type: 'mamba' }, /^HD108 model\/config\.json \(key "model_type"\) the architecture is "mamba", and this model reads gpt2; /m], // prettier-ignore
  [{ model_type: 7 }, /^HD108 model\/config\.json \(key "model_type"\) the architecture is no name, /m],
  [{ n_layer: 2 }, /^HD803 model the checkpoint lacks the tensor "transformer\.h\.1\.ln_1\.weight"$/m],
  [{ n_layer: 0 }, /^HD107 model\/config\.json \(key "n_layer"\) /m],
  [{ n_head: 3 }, /^HD107 model\/config\.json \(key "n_head"\) n_embd 20 is not a multiple of n_head 3$/m],
  [{ n_embd: 40 }, /^HD804 model\/model\.safetensors \(tensor "transformer\.wte\.weight"\) its shape is \[260, 20\], but config\.json asks for \[260, 40\]$/m], // prettier-ignore
  [{ vocab_size: 1e15 }, /^HD107 model\/config\.json \(key "vocab_size"\) /m],
  [{ vocab_size: 300 }, /^HD804 model\/model\.safetensors \(tensor "transformer\.wte\.weight"\) /m],
  [{ activation_function: 'relu' }, /^HD108 model\/config\.json \(key "activation_function"\) /m],
]

function configure(dir: string, change: object): void {
  const file = path.join(dir, 'model/config.json')
  const config = JSON.parse(fs.readFileSync(file, 'utf8')) as object
  fs.writeFileSync(file, JSON.stringify({ ...config, ...change }))
}

describe('a model directory that heddle train refuses', () => {
  for (const [file, name, content, expected] of modelFiles) {
    it(`${file}: ${name}`, async () => {
      const dir = tinyProject()
      write(path.join(dir, 'model', file), content)
      await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
    })
  }

  for (const [change, expected] of contradictions) {
    it(`config.json against the weights: ${JSON.stringify(change)}`, async () => {
      const dir = tinyProject()
      configure(dir, change)
      await refuses(dir, expected, 'train', 'lora.ts', '--out', 'out')
    })
  }

  it('shards that are missing or lie elsewhere', async () => {
    const dir = tinyProject()
    fs.rmSync(path.join(dir, 'model/model.safetensors'))
    const index = path.join(dir, 'model/model.safetensors.index.json')
    write(index, '{"weight_map": {"a": "model-1.safetensors"}}')
    await refuses(dir, /^HD401 model\/model-1\.safetensors the file does not exist$/m, 'plan', 'lora.ts')
    write(index, '{"weight_map": {"a": "../records.jsonl"}}')
    await refuses(dir, /^HD407 model\/model\.safetensors\.index\.json \(tensor "a"\) /m, 'plan', 'lora.ts')
  })

  it('an architecture that nobody has written, where no recipe says which it is', async () => {
    const dir = tinyProject()
    configure(dir, { model_type: 'mamba' })
    write(path.join(dir, 'some.txt'), 'how is my pulse\n')
    const expected = /^HD108 model\/config\.json \(key "model_type"\) the architecture "mamba" is not known; known are gpt2, /m // prettier-ignore
    await refuses(dir, expected, 'eval', 'model', '--text', 'some.txt')
    await refuses(dir, expected, 'generate', 'model', '--prompt', 'a')
  })
})

describe('an adapter that heddle eval refuses', () => {
  const config = 'adapter_config.json'
  const weights = 'adapter_model.safetensors'
  const first = 'tensor "base_model\\.model\\.transformer\\.h\\.0\\.attn\\.c_attn\\.lora_A\\.weight"'
  const set = (change: object) => (file: string) => {
    fs.writeFileSync(file, JSON.stringify({ ...(JSON.parse(fs.readFileSync(file, 'utf8')) as object), ...change }))
  }
  const cut = (file: string): void => fs.truncateSync(file, fs.statSync(file).size - 40)
  const zeros = (file: string): void => write(file, { zeros: 2 * GIBIBYTE })
  const cases: readonly [name: string, file: string, spoil: (file: string) => void, expected: string][] = [
    ['a configuration that is cut', config, cut, 'HD402 a/adapter_config\\.json the text is not JSON'],
    ['two gibibytes of configuration', config, zeros, 'HD401 a/adapter_config\\.json the file has 2147483648 bytes'],
    ['no configuration', config, fs.rmSync, 'HD406 a the adapter directory has no adapter_config\\.json'],
    ['no weights', weights, fs.rmSync, 'HD406 a the adapter directory has no adapter_model\\.safetensors'],
    ['weights that are cut', weights, cut, 'HD404 a/adapter_model\\.safetensors \\(tensor '],
    ['two gibibytes of zeros', weights, zeros, 'HD403 a/adapter_model\\.safetensors '],
    ['another kind', config, set({ peft_type: 'IA3' }), 'HD410 a/adapter_config\\.json \\(peft_type\\) only LORA adapters can be read, not "IA3"$'],
    ['more than plain LoRA', config, set({ use_dora: true }), 'HD410 a/adapter_config\\.json \\(use_dora\\) plain LoRA was expected, not true$'],
    ['another rank', config, set({ r: 1e9 }), `HD411 a/adapter_model\\.safetensors \\(${first}\\) the shape is \\[3, 20\\], but \\[1000000000, in\\] was expected$`],
    ['other targets', config, set({ target_modules: ['q_proj', 'attn'] }), `HD411 a/adapter_model\\.safetensors \\(${first}\\) no entry of target_modules in adapter_config\\.json is this module$`],
  ] // prettier-ignore

  for (const [name, file, spoil, expected] of cases) {
    it(name, async () => {
      const dir = tinyProject()
      const settings = { rank: 3, alpha: 6, dropout: 0, scaling: 'alpha/rank', baseLayout: 'in-out' } as const
      const module = { path: 'transformer.h.0.attn.c_attn', inputs: 20, outputs: 60 }
      const values = { a: new Float32Array(60), b: new Float32Array(180) }
      const about = { ...settings, targetModules: ['c_attn'], baseModel: 'model' }
      saveAdapter(path.join(dir, 'a'), about, [{ ...module, ...values }])
      write(path.join(dir, 'some.txt'), 'how is my pulse\n')
      spoil(path.join(dir, 'a', file))
      await refuses(dir, new RegExp(`^${expected}`, 'm'), 'eval', 'model', '--text', 'some.txt', '--adapter', 'a')
    })
  }
})
