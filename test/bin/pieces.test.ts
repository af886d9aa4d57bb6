// Parts of the training folder by themselves: the binding of checkpoints, the certificate's sums, the curve, the metrics
// file on a full disk.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { findDevice, scheduleProfile } from '../../devices/index.ts'
import { openCheckpoint, saveCheckpoint } from '../../formats/checkpoint.ts'
import { writeSafetensors } from '../../formats/safetensors.ts'
import { gemma3, gpt2 } from '../../models/index.ts'
import { lossCurveSvg, lossCurveText, ticksOf } from '../../train/lossCurve.ts'
import { MetricsFile } from '../../train/metrics.ts'
import { readModel } from '../../train/prepare.ts'
import { completePrompts } from '../../train/predict.ts'
import type { Session } from '../../backends/neon/driver/index.ts'
import { temporaryDirectory } from './support.ts'
import { fullDisk, itOnFullDisk } from '../support/fullDisk.ts'

const oracle = new URL('../fixtures/oracle/', import.meta.url)

describe('reading a model directory', () => {
  it('takes names without the prefix, in shards', () => {
    const dir = new URL('gpt2-odd/model', oracle).pathname
    const names = [...openCheckpoint(dir).tensors.keys()]
    const { binding, traced } = readModel(gpt2 as never, dir, { sequences: 1, length: 8 })
    assert.equal(
      binding.entry('transformer.wte.weight').name,
      names.includes('wte.weight') ? 'wte.weight' : 'transformer.wte.weight',
    )
    assert.ok(traced.modules.length > 0)
  })

  it('finds the language model in a checkpoint that sees images, old names or new, and leaves the rest alone', () => {
    const source = openCheckpoint(new URL('gemma3-small/model', oracle).pathname)
    const { model_type: _, ...text } = source.config
    const config = { model_type: 'gemma3', text_config: text }
    for (const prefix of ['language_model.model.', 'model.language_model.']) {
      const dir = temporaryDirectory()
      saveCheckpoint(dir, { config, tensors: [] })
      const tensors = [...source.tensors.values()].map(({ name, shape, dtype, bytes }) => {
        return { name: name.replace(/^model\./, prefix), dtype, shape, data: new Uint8Array(bytes) }
      })
      const beside = ['vision_tower.vision_model.embeddings.patch_embedding.bias', 'multi_modal_projector.mm_soft_emb_norm.weight'].map((name) => ({ name, dtype: 'BF16' as const, shape: [1], data: new Uint8Array(2) })) // prettier-ignore
      const head = {
        name: 'language_model.lm_head.weight',
        dtype: 'BF16' as const,
        shape: [1],
        data: new Uint8Array(2),
      }
      writeSafetensors(path.join(dir, 'model.safetensors'), [...tensors, ...beside, head])
      const { binding, traced } = readModel(gemma3 as never, dir, { sequences: 1, length: 8 })
      assert.equal(binding.entry('model.language_model.norm.weight').name, `${prefix}norm.weight`)
      assert.equal(traced.modules[0]?.path, 'model.language_model.layers.0.self_attn.q_proj')
      const train = () => readModel(gemma3 as never, dir, { sequences: 1, length: 8 }, 'trained')
      assert.throws(train, (error) => {
        return error instanceof UserError && error.code === 'HD806' && /use lora\(…\)/.test(error.sentence)
      })
    }
  })

  it('holds what is trained in float32, with the constants that go with it', () => {
    const dir = new URL('gemma3-small/model', oracle).pathname
    for (const [weights, dtype, scale] of [
      ['frozen', 'bf16', '6.3125 '],
      ['trained', 'f32', '6.32455'],
    ] as const) {
      const { traced } = readModel(gemma3 as never, dir, { sequences: 1, length: 8 }, weights)
      assert.equal(traced.graph.declarations.get('model.embed_tokens.weight')?.dtype, dtype)
      assert.ok(printGraph(traced.graph).includes(`constant ${scale}`), dtype)
    }
  })

  it('keeps half-precision tensors as they are stored, and passes over masks and tied heads', () => {
    const dir = temporaryDirectory()
    const source = openCheckpoint(new URL('gpt2-small/model', oracle).pathname)
    saveCheckpoint(dir, { config: source.config, tensors: [] })
    const tensors = [...source.tensors.values()].map(({ name, shape }) => {
      const count = shape.reduce((product, extent) => product * extent, 1)
      const bare = name.replace('transformer.', '')
      return {
        name: bare,
        dtype: bare.startsWith('wte') ? ('BF16' as const) : ('F16' as const),
        shape,
        data: new Uint8Array(2 * count),
      }
    })
    const mask = { name: 'h.0.attn.bias', dtype: 'U8' as const, shape: [1, 1, 4, 4], data: new Uint8Array(16) }
    const head = { name: 'lm_head.weight', dtype: 'F32' as const, shape: [1], data: new Uint8Array(4) }
    writeSafetensors(path.join(dir, 'model.safetensors'), [...tensors, mask, head])
    const { traced } = readModel(gpt2 as never, dir, { sequences: 1, length: 8 })
    assert.equal(traced.graph.declarations.get('transformer.wte.weight')?.dtype, 'bf16')
    assert.equal(traced.graph.declarations.get('transformer.h.0.attn.c_attn.weight')?.dtype, 'f16')
    const whole = { ...(tensors[0] as (typeof tensors)[number]), dtype: 'I16' as const }
    writeSafetensors(path.join(dir, 'model.safetensors'), [whole, ...tensors.slice(1)])
    assert.throws(
      () => readModel(gpt2 as never, dir, { sequences: 1, length: 8 }),
      (error) =>
        error instanceof UserError &&
        error.code === 'HD805' &&
        error.place?.at === `tensor ${JSON.stringify(whole.name)}`,
    )
  })
})

describe('the loss curve', () => {
  const points = Array.from({ length: 5000 }, (_, index) => ({ step: index + 1, loss: 5 * Math.exp(-index / 1000) }))

  it('lies inside its axes, escapes its title and stays small', () => {
    const svg = lossCurveSvg(points, 'a <b> & "c"\u0007')
    assert.ok(svg.includes('a &lt;b&gt; &amp; &quot;c&quot; '))
    const drawn = /<polyline class="loss" points="([^"]+)"/.exec(svg)?.[1]?.split(' ') ?? []
    assert.ok(drawn.length > 500 && drawn.length <= 1200)
    for (const point of drawn) {
      const [x = NaN, y = NaN] = point.split(',').map(Number)
      assert.ok(x >= 64 && x <= 704 && y >= 40 && y <= 352, point)
    }
    const heights = drawn.map((point) => Number(point.split(',')[1]))
    assert.ok(
      heights.every((y, index) => index === 0 || y >= (heights[index - 1] as number)),
      'a falling loss falls',
    )
  })

  it('shows what was held out beside it, marks the best, and has a legend only then', () => {
    const heldOut = points.filter(({ step }) => step % 250 === 0).map(({ step, loss }) => ({ step, loss: loss + 7 }))
    const svg = lossCurveSvg(points, 't', { points: heldOut, best: 1500 })
    const drawn = /<polyline class="heldout" points="([^"]+)"/.exec(svg)?.[1]?.split(' ') ?? []
    assert.equal(drawn.length, 20)
    for (const point of drawn) {
      const [x = NaN, y = NaN] = point.split(',').map(Number)
      assert.ok(x >= 64 && x <= 704 && y >= 40 && y <= 352, point)
    }
    const [bestX, bestY] = (drawn[5] as string).split(',')
    assert.ok(svg.includes(`<circle class="best" cx="${bestX}" cy="${bestY}" r="6"/>`))
    assert.match(svg, /<text [^>]*>held out<\/text>/)
    assert.match(svg, /<text [^>]*>best: 8\.1\d* after step 1500<\/text>/)
    assert.doesNotMatch(lossCurveSvg(points, 't'), /<[^>]+"heldout"|held out/)
  })

  it('draws one point and equal points', () => {
    for (const few of [
      [{ step: 1, loss: 3 }],
      [
        { step: 1, loss: 3 },
        { step: 2, loss: 3 },
      ],
    ]) {
      assert.doesNotMatch(lossCurveSvg(few, 't'), /NaN|Infinity/)
      assert.doesNotMatch(lossCurveText(few, 80), /NaN/)
    }
  })

  it('has round ticks within the domain', () => {
    assert.deepEqual(ticksOf({ low: 0.13, high: 0.92 }, 4), [0.2, 0.4, 0.6, 0.8])
    assert.deepEqual(ticksOf({ low: 1, high: 30 }, 6), [5, 10, 15, 20, 25, 30])
  })

  it('fits the terminal', () => {
    for (const line of lossCurveText(points, 60).split('\n')) assert.ok(line.length <= 60, line)
  })
})

describe('metrics.jsonl', () => {
  const figures = { step: 1, loss: 2, gradient_norm: 1, rate: 0.1, tokens: 8, seconds: 1, peak_bytes: 4096 }

  it('keeps the one of the run before', () => {
    const dir = temporaryDirectory()
    for (const loss of [2, 3]) {
      const file = new MetricsFile(dir)
      file.step({ ...figures, loss })
      file.close()
    }
    assert.match(fs.readFileSync(path.join(dir, 'metrics.jsonl'), 'utf8'), /"loss":3/)
    assert.match(fs.readFileSync(path.join(dir, 'metrics.previous.jsonl'), 'utf8'), /"loss":2/)
  })

  itOnFullDisk('says that the disk is full', () => {
    const file = new MetricsFile(temporaryDirectory(), { open: () => fs.openSync(fullDisk, 'w') })
    assert.throws(
      () => file.step(figures),
      (error) => error instanceof UserError && /^HD405 .*metrics\.jsonl the disk is full, /.test(error.sentence),
    )
    file.close()
  })
})

describe('devices', () => {
  it('take lanes and tiles from their instruction set', () => {
    const phone = findDevice('phone-8gb', 'avx2')
    assert.deepEqual(scheduleProfile(phone, 3), {
      name: 'phone-8gb',
      lanes: 4,
      tile: { rows: 8, vectors: 3, laneRegisters: 31 },
      privateCache: 512 * 1024,
      threads: 3,
    })
    assert.equal(scheduleProfile(findDevice('host', 'avx2')).lanes, 8)
    assert.equal(scheduleProfile(findDevice('wasm', 'avx2')).lanes, 4)
    assert.throws(() => findDevice('toaster', 'avx2'), /there is no device profile 'toaster'/)
  })
})

describe('completing prompts', () => {
  /** Predicts one more than the last token, up to 9; knows nothing of order or batches. */
  function counting(sequences: number, length: number): { session: Session; calls: number[] } {
    let rows: Int32Array = new Int32Array()
    let width = 0
    let position: Int32Array = new Int32Array()
    const calls: number[] = []
    const session = {
      write: async (name: string, data: Int32Array, shape?: readonly number[]) => {
        if (name === 'position') position = data
        else [rows, width] = [data, shape?.[1] ?? 0]
      },
      call: async (_fn: string, sizes: { seq: number }) => {
        assert.ok(sizes.seq <= length && width === sizes.seq)
        calls.push(sizes.seq)
      },
      output: async () => {
        const logits = new Float32Array(sequences * 10)
        for (let row = 0; row < rows.length / width; row++) {
          logits[row * 10 + Math.min(9, (rows[row * width + (position[row] as number)] as number) + 1)] = 1
        }
        return logits
      },
    }
    return { session: session as unknown as Session, calls }
  }

  it('keeps the order of the prompts, whatever their lengths', async () => {
    const size = { sequences: 2, length: 6, vocabulary: 10 }
    const { session } = counting(size.sequences, size.length)
    const completions = await completePrompts(session, [[1, 2, 3], [4], [7], [0, 5]], size, { tokens: 3, end: 9 })
    assert.deepEqual(completions, [[4, 5, 6], [5, 6, 7], [8], [6, 7, 8]])
  })

  it('never asks for more than fits', async () => {
    const size = { sequences: 1, length: 4, vocabulary: 10 }
    const { session, calls } = counting(size.sequences, size.length)
    assert.deepEqual(await completePrompts(session, [[0, 1, 2]], size, { tokens: 8 }), [[3, 4]])
    assert.deepEqual(calls, [3, 4])
    await assert.rejects(completePrompts(session, [[1, 2, 3, 4, 5]], size, { tokens: 1 }), /the prompt has 5 tokens/)
    await assert.rejects(completePrompts(session, [[]], size, { tokens: 1 }), /the prompt has no tokens/)
  })
})
