// Mistakes in the user's files: each gives exit code 1 and one sentence that names the file and the place.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { openCheckpoint } from '../../formats/checkpoint.ts'
import { hostProfile } from '../../devices/index.ts'
import { float32Tensor, readTensorF32, writeSafetensors } from '../../formats/safetensors.ts'
import type { NewTensor } from '../../formats/safetensors.ts'
import { assertRefused, heddle, startHeddle, temporaryDirectory, tinyProject, writeRecipe } from './support.ts'

/** Writes the project's weights again, each tensor as `change` wants it; undefined leaves it out. */
function rewriteWeights(dir: string, change: (tensor: NewTensor) => NewTensor | undefined, ...more: NewTensor[]): void {
  const model = path.join(dir, 'model')
  const tensors = [...openCheckpoint(model).tensors.values()].map((entry) =>
    float32Tensor(entry.name, entry.shape, readTensorF32(entry)),
  )
  const kept = tensors.flatMap((tensor) => change(tensor) ?? [])
  writeSafetensors(path.join(model, 'model.safetensors'), [...kept, ...more])
}

function rewriteConfig(dir: string, change: Record<string, unknown>): void {
  const file = path.join(dir, 'model/config.json')
  fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(fs.readFileSync(file, 'utf8')), ...change }))
}

interface Case {
  readonly name: string
  readonly spoil: (dir: string) => void
  readonly expected: RegExp
}

const weights = 'model/model\\.safetensors'

const cases: readonly Case[] = [
  {
    name: 'a malformed safetensors file',
    spoil: (dir) => fs.writeFileSync(path.join(dir, 'model/model.safetensors'), 'not a tensor in sight'),
    expected: new RegExp(`^HD40\\d ${weights} `),
  },
  {
    name: 'a truncated safetensors file',
    spoil: (dir) => {
      const file = path.join(dir, 'model/model.safetensors')
      fs.truncateSync(file, fs.statSync(file).size - 100)
    },
    expected: new RegExp(`^HD404 ${weights} \\(tensor `),
  },
  {
    name: 'a tensor of another shape',
    spoil: (dir) =>
      rewriteWeights(dir, (tensor) =>
        tensor.name.endsWith('c_fc.weight') ? { ...tensor, shape: [...tensor.shape].reverse() } : tensor,
      ),
    expected: new RegExp(
      `^HD804 ${weights} \\(tensor "transformer\\.h\\.0\\.mlp\\.c_fc\\.weight"\\) its shape is \\[80, 20\\], but config\\.json asks for \\[20, 80\\]$`,
      'm',
    ),
  },
  {
    name: 'a missing tensor',
    spoil: (dir) => rewriteWeights(dir, (tensor) => (tensor.name.endsWith('ln_2.bias') ? undefined : tensor)),
    expected: /^HD803 model the checkpoint lacks the tensor "transformer\.h\.0\.ln_2\.bias"$/m,
  },
  {
    name: 'a tensor that the model does not have',
    spoil: (dir) =>
      rewriteWeights(dir, (tensor) => tensor, float32Tensor('transformer.h.1.ln_1.bias', [20], new Float32Array(20))),
    expected: /^HD806 .*tensor "transformer\.h\.1\.ln_1\.bias"\) the model has no such parameter$/m,
  },
  {
    name: 'a configuration that is no JSON',
    spoil: (dir) => fs.writeFileSync(path.join(dir, 'model/config.json'), '{"n_embd": '),
    expected: /^HD402 model\/config\.json /,
  },
  {
    name: 'a configuration with a wrong value',
    spoil: (dir) => rewriteConfig(dir, { n_head: 'two' }),
    expected: /^HD107 model\/config\.json \(key "n_head"\) /,
  },
  {
    name: 'a tokenizer without a vocabulary',
    spoil: (dir) =>
      fs.writeFileSync(path.join(dir, 'model/tokenizer.json'), '{"model": {"type": "BPE", "merges": []}}'),
    expected: /^HD430 model\/tokenizer\.json \(model\.vocab\) /,
  },
  {
    name: 'no tokenizer',
    spoil: (dir) => fs.rmSync(path.join(dir, 'model/tokenizer.json')),
    expected: /^HD807 model the model directory has no tokenizer\.json$/m,
  },
  {
    name: 'a tokenizer with more ids than the model',
    spoil: (dir) => {
      rewriteConfig(dir, { vocab_size: 250 })
      rewriteWeights(dir, (tensor) =>
        tensor.name.endsWith('wte.weight')
          ? { ...tensor, shape: [250, 20], data: tensor.data.subarray(0, 4 * 250 * 20) }
          : tensor,
      )
    },
    expected: /^HD808 model\/tokenizer\.json the tokenizer has ids up to \d+, the model embeds only 250$/m,
  },
  {
    name: 'a bad line of held-out records',
    spoil: (dir) => {
      fs.writeFileSync(path.join(dir, 'heldout.jsonl'), '{"prompt": "a", "completion": "b"}\n{"prompt": "half a rec\n')
      writeRecipe(dir, 'lora.ts', { evaluate: "{ data: 'heldout.jsonl', every: 2 }" })
    },
    expected: /^HD505 heldout\.jsonl:2 the line is not JSON$/m,
  },
  {
    name: 'held-out records of which nothing is left',
    spoil: (dir) => {
      const record = { prompt: 'pulse '.repeat(40), completion: ' it is 1' }
      fs.writeFileSync(path.join(dir, 'heldout.jsonl'), `${JSON.stringify(record)}\n`)
      writeRecipe(dir, 'lora.ts', { evaluate: "{ data: 'heldout.jsonl', every: 2 }" })
    },
    expected: /^HD511 heldout\.jsonl no record has anything to learn within 24 tokens/m,
  },
  {
    name: 'a share that leaves nothing to train on',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { evaluate: '{ share: 0.95, every: 2 }' }),
    expected: /^HD830 records\.jsonl evaluate\.share 0\.95 of 7 examples leaves none to train on$/m,
  },
  {
    name: 'a bad line of records',
    spoil: (dir) => fs.appendFileSync(path.join(dir, 'records.jsonl'), '{"prompt": "half a rec\n'),
    expected: /^HD505 records\.jsonl:8 the line is not JSON$/m,
  },
  {
    name: 'records of the other kind',
    spoil: (dir) => fs.appendFileSync(path.join(dir, 'records.jsonl'), '{"text": "pulse"}\n'),
    expected:
      /^HD506 records\.jsonl:8 the record has no "prompt"; completions\(…\) reads \{"prompt": "…", "completion": "…"\}$/m,
  },
  {
    name: 'a record with nothing to learn',
    spoil: (dir) => fs.appendFileSync(path.join(dir, 'records.jsonl'), '{"prompt": "a", "completion": ""}\n'),
    expected: /^HD510 records\.jsonl:8 the record holds nothing to learn; /m,
  },
  {
    name: 'half-written records',
    spoil: (dir) => {
      const file = path.join(dir, 'records.jsonl')
      fs.truncateSync(file, fs.statSync(file).size - 9)
    },
    expected:
      /^HD505 records\.jsonl:7 the last line is not JSON and has no line end; the file was not written to its end$/m,
  },
  {
    name: 'a format that is not read',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { data: "text('records.parquet')" }),
    expected: /^HD508 records\.parquet the name of the file does not say what it holds; it ends in one of \.jsonl, /m,
  },
  {
    name: 'no records',
    spoil: (dir) => fs.rmSync(path.join(dir, 'records.jsonl')),
    expected: /^HD501 records\.jsonl /,
  },
  {
    name: 'an unknown key',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { quantum: 'true' }),
    expected: /^HD301 lora\.ts:4:\d+ recipe: no stage implements the key 'quantum'/,
  },
  {
    name: 'a target that matches nothing',
    spoil: (dir) =>
      writeRecipe(dir, 'lora.ts', { adapt: "lora({ rank: 3, alpha: 6, targets: ['q_proj' as 'c_fc'] })" }),
    expected: /^HD30\d lora\.ts:4:\d+ .*q_proj/,
  },
  {
    name: 'a floor above the peak',
    spoil: (dir) => {
      const file = path.join(dir, 'lora.ts')
      const source = fs.readFileSync(file, 'utf8')
      fs.writeFileSync(
        file,
        source.replace('constant,', 'cosine,').replace('constant(0.01)', 'cosine({ peak: 0.01, floor: 0.1 })'),
      )
    },
    expected: /^HD302 lora\.ts:\d+:\d+ cosine: .*floor/,
  },
  {
    name: 'a batch longer than the model',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { batch: '{ sequences: 2, length: 41, steps: 3 }' }),
    expected: /^HD\d{3} .*41/,
  },
  {
    name: 'an unknown device',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { device: "'toaster'" }),
    expected:
      /^HD820 there is no device profile 'toaster'; there are host, wasm, phone-4gb, phone-8gb, .*, and files that end in \.json$/m,
  },
  {
    name: 'a device file that is not there',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { device: "'toaster.json'" }),
    expected: /^HD401 toaster\.json the file does not exist$/m,
  },
  {
    name: 'a device file with an impossible number',
    spoil: (dir) => {
      const profile = { ...hostProfile('avx2'), memory: { ...hostProfile('avx2').memory, budgetBytes: 0 } }
      fs.writeFileSync(path.join(dir, 'toaster.json'), JSON.stringify(profile))
      writeRecipe(dir, 'lora.ts', { device: "'toaster.json'" })
    },
    expected:
      /^HD821 toaster\.json \(key "memory\.budgetBytes"\) this cannot be 0; it is a whole number of bytes from 1 to [\d,]+$/m,
  },
  {
    name: 'a recipe that is none',
    spoil: (dir) => fs.writeFileSync(path.join(dir, 'lora.ts'), 'export default { rank: 8 }\n'),
    expected: /^HD802 lora\.ts the file exports something else as its default; write/,
  },
  {
    name: 'a recipe that throws',
    spoil: (dir) =>
      fs.writeFileSync(path.join(dir, 'lora.ts'), '\nconst list: number[] = []\nexport default list[3]!.toFixed()\n'),
    expected: /^HD801 lora\.ts:3(:\d+)? the file does not run: Cannot read properties of undefined/,
  },
  {
    name: 'a recipe with a syntax error',
    spoil: (dir) => fs.writeFileSync(path.join(dir, 'lora.ts'), '\nexport default recipe({\n'),
    expected: /^HD801 lora\.ts:\d+ the file does not run: /,
  },
  {
    name: 'no recipe',
    spoil: (dir) => fs.rmSync(path.join(dir, 'lora.ts')),
    expected: /^HD110 lora\.ts the file does not exist$/m,
  },
  {
    name: 'a target that ends as a module and is none',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { adapt: "lora({ rank: 2, alpha: 4, targets: ['attn.c_fc'] })" }),
    expected: /^HD302 lora\.ts:6:10 lora: no linear module is called 'attn\.c_fc'; there are c_attn, c_fc, c_proj$/m,
  },
  {
    name: 'a model directory that does not exist',
    spoil: (dir) => writeRecipe(dir, 'lora.ts', { model: "gpt2.from('./elsewhere')" }),
    expected: /^HD420 lora\.ts:\d+:\d+ the model directory ".*elsewhere" does not exist$/m,
  },
  {
    name: 'a result directory that is a file',
    spoil: (dir) => fs.writeFileSync(path.join(dir, 'out'), 'mine'),
    expected: /^HD405 out /,
  },
]

const ownModel = `import { add, axis, causalLM, defineModel, embedding, layer, layerNorm, seq, tied } from 'heddle'

export const mine = defineModel('mine', (c: { vocab_size: number; n_embd: number }, p) => {
  const embed = axis('embed', c.n_embd)
  const other = axis('other', c.n_embd)
  const vocab = axis('vocab', c.vocab_size)
  const table = p.param('wte.weight', [vocab, embed])
  const bias = p.param('bias.weight', [other])
  return causalLM({
    vocabulary: vocab,
    embed: (tokens) => embedding(table, tokens, vocab),
    blocks: layer(1, 'h', (x) => add(x, bias as never)),
    norm: (x) => x,
    head: tied(table, embed),
  })
})
`

describe('heddle train refuses', () => {
  for (const { name, spoil, expected } of cases) {
    it(name, async () => {
      const dir = tinyProject()
      spoil(dir)
      assertRefused(await heddle(dir, 'train', 'lora.ts', '--out', 'out'), expected)
      assert.ok(!fs.existsSync(path.join(dir, 'out/adapter')))
    })
  }

  it("a wrong axis in the researcher's own model, at its line", async () => {
    const dir = tinyProject()
    fs.writeFileSync(path.join(dir, 'mine.ts'), ownModel)
    const source = fs.readFileSync(path.join(dir, 'lora.ts'), 'utf8')
    const own = source
      .replace("{ gpt2 } from 'heddle/models'", "{ mine } from './mine.ts'")
      .replace('gpt2.from', 'mine.from')
    fs.writeFileSync(path.join(dir, 'lora.ts'), own)
    assertRefused(await heddle(dir, 'train', 'lora.ts', '--out', 'out'), /^HD103 mine\.ts:12:\d+ add: axis 'other' /)
  })

  it('an id that the hub does not know', async () => {
    const server = http.createServer((_request, response) => {
      response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const dir = tinyProject()
    writeRecipe(dir, 'lora.ts', { model: "gpt2.from('nobody/no-such-model')" })
    const before = { ...process.env }
    try {
      process.env['HF_ENDPOINT'] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      process.env['HF_HUB_CACHE'] = path.join(dir, 'cache')
      delete process.env['HF_HUB_OFFLINE']
      assertRefused(await heddle(dir, 'train', 'lora.ts', '--out', 'out'), /^HD421 .*nobody\/no-such-model/)
    } finally {
      for (const key of ['HF_ENDPOINT', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE']) {
        if (before[key] === undefined) delete process.env[key]
        else process.env[key] = before[key]
      }
      server.close()
    }
  })

  it('a weight that is not a number, by its name', async () => {
    const dir = tinyProject()
    rewriteWeights(dir, (tensor) => {
      if (!tensor.name.endsWith('h.0.mlp.c_fc.weight')) return tensor
      const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1)).fill(0.01)
      values[7] = NaN
      return float32Tensor(tensor.name, tensor.shape, values)
    })
    assertRefused(
      await heddle(dir, 'train', 'lora.ts', '--out', 'out', '--optimise', 'light'),
      /^HD810 model\/model\.safetensors \(tensor "transformer\.h\.0\.mlp\.c_fc\.weight"\) step 1: the loss is not finite; .* is not finite$/m,
    )
    assert.ok(!fs.existsSync(path.join(dir, 'out/adapter')))
  })

  it('a tokenizer whose merges lead nowhere', async () => {
    const dir = tinyProject()
    const file = path.join(dir, 'model/tokenizer.json')
    const tokenizer = JSON.parse(fs.readFileSync(file, 'utf8')) as { model: { merges: unknown[] } }
    tokenizer.model.merges.push(Array.isArray(tokenizer.model.merges[0]) ? ['q', 'z'] : 'q z')
    fs.writeFileSync(file, JSON.stringify(tokenizer))
    assertRefused(
      await heddle(dir, 'plan', 'lora.ts'),
      /^HD430 model\/tokenizer\.json .*"qz", which is not in the vocabulary/,
    )
  })

  it('recipes that end the program, or throw what has no text', async () => {
    const dir = temporaryDirectory()
    const files: [string, string, RegExp][] = [
      ['exits.ts', 'process.exit(0)\nexport default 1\n', /^HD801 exits\.ts .*it calls process\.exit/],
      ['mute.ts', 'throw { toString: 1 }\n', /^HD801 mute\.ts .*it threw something that has no text/],
      ['nothing.ts', 'throw undefined\n', /^HD801 nothing\.ts .*: undefined/],
    ]
    for (const [name, text, expected] of files) {
      fs.writeFileSync(path.join(dir, name), text)
      assertRefused(await heddle(dir, 'plan', name), expected)
    }
  })

  it('a dtype that is an object, and a vocabulary that is a folder', async () => {
    const odd = tinyProject()
    const header = Buffer.from('{"x":{"dtype":{"toString":1},"shape":[1],"data_offsets":[0,4]}}')
    const size = Buffer.alloc(8)
    size.writeUInt32LE(header.length)
    fs.writeFileSync(path.join(odd, 'model/model.safetensors'), Buffer.concat([size, header, Buffer.alloc(4)]))
    assertRefused(await heddle(odd, 'plan', 'lora.ts'), /^HD40\d model\/model\.safetensors .*toString/)
    const folder = tinyProject()
    fs.mkdirSync(path.join(folder, 'model/vocab.json'))
    assertRefused(await heddle(folder, 'plan', 'lora.ts'), /^HD401 model\/vocab\.json this is not a file/)
  })

  it('in JSON when asked', async () => {
    const dir = temporaryDirectory()
    const { code, stderr } = await heddle(dir, 'train', 'nowhere.ts', '--json')
    assert.equal(code, 1)
    assert.deepEqual(JSON.parse(stderr), {
      event: 'error',
      code: 'HD110',
      message: 'the file does not exist',
      place: { file: 'nowhere.ts' },
      mend: null,
    })
  })

  it('from a process of its own, where no package.json is', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'lora.ts', { quantum: 'true' })
    assertRefused(await startHeddle(dir, 'train', 'lora.ts').ended, /^HD301 lora\.ts:4:\d+ recipe: no stage implements/)
  })

  it('unknown commands and options', async () => {
    const dir = temporaryDirectory()
    assertRefused(await heddle(dir, 'knit'), /unknown command 'knit'/)
    assertRefused(
      await heddle(dir, 'train', 'a.ts', '--steps', 'many'),
      /'many' is invalid.*a whole number from 1 to 2,147,483,647\./,
    )
  })
})

describe('heddle check', () => {
  it('finds nothing in a sound recipe', async () => {
    const dir = tinyProject()
    const { code, stdout, stderr } = await heddle(dir, 'check', 'lora.ts')
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'lora.ts: no problems\n', stderr: '' })
  })

  it('says what the editor would say', async () => {
    const dir = tinyProject()
    writeRecipe(dir, 'lora.ts', { adapt: "lora({ rank: 3, alpha: 6, targets: ['q_proj'] })" })
    assertRefused(await heddle(dir, 'check', 'lora.ts'), /^HD111 lora\.ts:6:\d+ .*q_proj/)
  })

  it('reads the records and holds the checkpoint against the model', async () => {
    const dir = tinyProject()
    fs.appendFileSync(path.join(dir, 'records.jsonl'), '[]\n')
    assertRefused(await heddle(dir, 'check', 'lora.ts'), /^HD506 records\.jsonl:8 /)
    writeRecipe(dir, 'watched.ts', { evaluate: "{ data: 'nowhere.jsonl', every: 2 }" })
    fs.writeFileSync(path.join(dir, 'records.jsonl'), '{"prompt": "a", "completion": "b"}\n')
    assertRefused(await heddle(dir, 'check', 'watched.ts'), /^HD501 nowhere\.jsonl /)
    const other = tinyProject()
    rewriteConfig(other, { n_embd: 22 })
    assertRefused(
      await heddle(other, 'check', 'lora.ts'),
      /^HD804 .*tensor "transformer\.\S+"\) its shape is \[.*20.*\], but config\.json asks for \[.*22.*\]$/m,
    )
  })
})
