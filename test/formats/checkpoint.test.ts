import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { openCheckpoint, saveCheckpoint } from '../../formats/checkpoint.ts'
import { float32Tensor, readTensorF32, writeSafetensors } from '../../formats/safetensors.ts'
import { fullDisk, refuses, temporaryDirectory } from './helpers.ts'

const tensor = (name: string, ...values: number[]) => float32Tensor(name, [values.length], Float32Array.from(values))

function sharded(weightMap: unknown): string {
  const dir = temporaryDirectory()
  fs.writeFileSync(path.join(dir, 'config.json'), '{"model_type":"gpt2"}')
  writeSafetensors(path.join(dir, 'model-1-of-2.safetensors'), [tensor('a', 1, 2), tensor('unused', 0)])
  writeSafetensors(path.join(dir, 'model-2-of-2.safetensors'), [tensor('b', 3)])
  fs.writeFileSync(path.join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }))
  return dir
}

describe('checkpoint', () => {
  it('opens what it saved', () => {
    const source = temporaryDirectory()
    const tokenizer = path.join(source, 'tokenizer.json')
    fs.writeFileSync(tokenizer, '{"version":"1.0"}')
    const dir = path.join(temporaryDirectory(), 'deep', 'model')
    saveCheckpoint(dir, {
      config: { model_type: 'gpt2', dtype: 'bfloat16', torch_dtype: 'bfloat16', n_layer: 2 },
      generationConfig: { eos_token_id: 5 },
      tensors: [tensor('wte', 1.5, -2), tensor('ln', 3)],
      tokenizerFiles: [tokenizer],
    })
    assert.deepEqual(fs.readdirSync(dir).sort(), [
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ])
    const opened = openCheckpoint(dir)
    assert.deepEqual(opened.config, { model_type: 'gpt2', n_layer: 2, torch_dtype: 'float32' })
    assert.deepEqual(opened.generationConfig, { eos_token_id: 5 })
    assert.deepEqual([...readTensorF32(opened.tensors.get('wte')!)], [1.5, -2])
    assert.equal(opened.tokenizerPath, path.join(dir, 'tokenizer.json'))
    assert.equal(fs.readFileSync(opened.tokenizerPath!, 'utf8'), '{"version":"1.0"}')
  })

  it('opens indexed shards', () => {
    const dir = sharded({ a: 'model-1-of-2.safetensors', b: 'model-2-of-2.safetensors' })
    const { tensors, tokenizerPath } = openCheckpoint(dir)
    assert.deepEqual([...tensors.keys()], ['a', 'b'])
    assert.deepEqual([...readTensorF32(tensors.get('a')!)], [1, 2])
    assert.deepEqual([...readTensorF32(tensors.get('b')!)], [3])
    assert.equal(tokenizerPath, undefined)
  })

  it('refuses shard names that lead anywhere else', () => {
    for (const name of [
      '../model-1-of-2.safetensors',
      '/etc/passwd',
      'x/../../a.safetensors',
      'sub/a.safetensors',
      '..\\a.safetensors',
      'C:\\a.safetensors',
      '.safetensors',
      '..safetensors',
      'a.safetensors\0.json',
      'a.safetensors\n',
      'a.bin',
      '',
      7,
      null,
    ]) {
      refuses(() => openCheckpoint(sharded({ a: name })), 'HD407', /tensor "a".*is not that of a shard/)
    }
  })

  it('refuses an index that does not fit its shards', () => {
    refuses(() => openCheckpoint(sharded({ a: 'model-2-of-2.safetensors' })), 'HD407', /which does not hold it/)
    refuses(() => openCheckpoint(sharded({ a: 'model-3-of-2.safetensors' })), 'HD401', /does not exist/)
    refuses(() => openCheckpoint(sharded(['a'])), 'HD407', /no weight_map/)
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`t${index}`, `${index}.safetensors`]))
    refuses(() => openCheckpoint(sharded(many)), 'HD407', /more than 1000/)
  })

  it('follows links to files, as the hub lays models out, and refuses those to anything else', () => {
    const linked = (name: string, target: string): string => {
      const dir = sharded({ a: 'model-1-of-2.safetensors' })
      fs.rmSync(path.join(dir, name), { force: true })
      fs.symlinkSync(target, path.join(dir, name))
      return dir
    }
    const tokenizer = path.join(temporaryDirectory(), 'blob')
    fs.writeFileSync(tokenizer, '{"version":"1.0"}')
    const out = path.join(temporaryDirectory(), 'out')
    const opened = openCheckpoint(linked('tokenizer.json', tokenizer))
    saveCheckpoint(out, { config: opened.config, tensors: [tensor('a', 1)], tokenizerFiles: opened.tokenizerFiles })
    const copied = path.join(out, 'tokenizer.json')
    assert.ok(fs.lstatSync(copied).isFile())
    assert.equal(fs.readFileSync(copied, 'utf8'), '{"version":"1.0"}')
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'config.json', 'model-1-of-2.safetensors']) {
      for (const target of ['/dev/zero', temporaryDirectory()]) {
        refuses(() => openCheckpoint(linked(name, target)), 'HD401', /not a (?:regular )?file/)
      }
    }
    // One that came to be a device after the directory was read.
    const dir = linked('tokenizer.json', '/dev/zero')
    const tokenizerFiles = [path.join(dir, 'tokenizer.json')]
    refuses(() => saveCheckpoint(out, { config: {}, tensors: [], tokenizerFiles }), 'HD401', /not a regular file/)
  })

  it('says what a directory lacks', () => {
    const dir = temporaryDirectory()
    refuses(() => openCheckpoint(path.join(dir, 'absent')), 'HD406', /does not exist/)
    refuses(() => openCheckpoint(dir), 'HD406', /no config\.json/)
    fs.writeFileSync(path.join(dir, 'config.json'), '[1]')
    refuses(() => openCheckpoint(dir), 'HD402', /object was expected/)
    fs.writeFileSync(path.join(dir, 'config.json'), '{"rope_theta": Infinity}')
    refuses(() => openCheckpoint(dir), 'HD402', /not JSON/)
    fs.writeFileSync(path.join(dir, 'config.json'), `{"a":"${'x'.repeat(5 * 1024 * 1024)}"}`)
    refuses(() => openCheckpoint(dir), 'HD401', /more than the 4194304/)
    fs.writeFileSync(path.join(dir, 'config.json'), '{}')
    refuses(() => openCheckpoint(dir), 'HD406', /neither model\.safetensors nor/)
    fs.writeFileSync(path.join(dir, 'pytorch_model.bin'), '')
    refuses(() => openCheckpoint(dir), 'HD406', /is a pickle/)
  })

  it('saves nothing when one value is not finite, one file is unreadable, or the disk fills up at the last file', () => {
    const dir = temporaryDirectory()
    const first = { config: { n_layer: 1 }, tensors: [tensor('a', 1)] }
    saveCheckpoint(dir, first)
    const before = fs.readdirSync(dir).map((name) => [name, fs.readFileSync(path.join(dir, name), 'utf8')])
    const unchanged = (): void =>
      assert.deepEqual(
        fs.readdirSync(dir).map((name) => [name, fs.readFileSync(path.join(dir, name), 'utf8')]),
        before,
      )

    refuses(
      () => saveCheckpoint(dir, { config: {}, tensors: [tensor('a', 1), tensor('b', 2, NaN)] }),
      'HD408',
      /tensor "b".*element 1/,
    )
    unchanged()
    refuses(
      () => saveCheckpoint(dir, { ...first, tokenizerFiles: [path.join(dir, 'no.json')] }),
      'HD401',
      /does not exist/,
    )
    unchanged()
    let opened = 0
    const open = (file: string): number => {
      if (++opened === 2) throw fullDisk()
      return fs.openSync(file, 'wx')
    }
    refuses(
      () => saveCheckpoint(dir, { config: { n_layer: 9 }, tensors: [tensor('a', 9)] }, { open }),
      'HD405',
      /disk is full/,
    )
    assert.equal(opened, 2)
    unchanged()
  })
})
