// That every number of a recipe reaches the compiled graph and means there what the recipe says. The graphs are run by
// the interpreter in float64 and held against plain arithmetic; nothing is emitted.

import assert from 'node:assert/strict'
import { float64 } from '../../compiler/graph/float64.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { scalarTensor } from '../../compiler/graph/tensor.ts'
import { findDevice } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { adamW, completions, constant, cosine, fullFineTuning, linearDecay, lora, recipe } from '../../dsl/index.ts'
import type { AdamWOptimizer, Checkpoints } from '../../dsl/index.ts'
import { gpt2, readGpt2Config } from '../../models/index.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import type { Attempt, CompiledRecipe, CompileSettings } from '../../train/compileRecipe.ts'
import { Session } from '../transform/oracleModel.ts'
import { bigramLogits, bigramLora, bigramRecipe, bigramValues, length, sequences, traceBigram, vocabulary } from './lowRank.ts' // prettier-ignore

const phone = findDevice('phone-8gb', 'avx2')
const settings = { device: phone, threads: 2, memoryBudget: phone.memoryBudget }

function sessionOn(graph: Graph): { session: Session; values: Map<string, Float32Array> } {
  const values = bigramValues(graph.declarations.values())
  const tokens = Int32Array.from({ length: sequences * length }, (_, place) => (3 * place) % vocabulary)
  const inputs = {
    tokens,
    targets: tokens.map((token) => (token + 2) % vocabulary),
    weights: new Float32Array(tokens.length).fill(1),
    position: Int32Array.of(1, 3),
    seed: Int32Array.of(0),
  }
  const stored = new Map<string, Float32Array | Int32Array>([...values, ...Object.entries(inputs)])
  return { session: new Session(graph, float64, { seq: length }, stored), values }
}

function near(actual: number | undefined, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs((actual ?? NaN) - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${what}: ${actual} is not ${expected}`) // prettier-ignore
}

describe("a recipe's optimizer, compiled", () => {
  const compileWith = (optimizer: AdamWOptimizer, steps: number): Graph =>
    compileRecipe(bigramRecipe({ adapt: fullFineTuning(), optimizer }), traceBigram(), { ...settings, steps }).graph

  for (const clip of [0.7, undefined]) {
    it(`updates by its betas, epsilon and decay, ${clip === undefined ? 'without clipping' : 'clipped'}`, () => {
      const rate = 0.02
      const [beta1, beta2, epsilon, decay] = [0.8, 0.6, 0.3, 0.25]
      const optimizer = adamW({
        rate: constant(rate),
        betas: [beta1, beta2],
        epsilon,
        weightDecay: decay,
        ...(clip === undefined ? {} : { clip }),
      })
      const { session, values } = sessionOn(compileWith(optimizer, 5))
      const names = [...values.keys()]
      assert.deepEqual([...names].sort(), ['down.weight', 'head.weight', 'up.weight', 'words.weight'])
      // PyTorch's AdamW, every parameter by itself: [weight, first moment, second moment].
      const expected = new Map(names.map((name) => [name, [...(values.get(name) ?? [])].map((w) => [w, 0, 0] as [number, number, number])])) // prettier-ignore
      for (let step = 1; step <= 3; step++) {
        session.run('accumulate')
        const weight = session.scalar('sum/weight')
        assert.equal(weight, sequences * length)
        const gradients = new Map(names.map((name) => [name, [...session.stored(`grad/${name}`)].map((g) => g / weight)])) // prettier-ignore
        const norm = Math.hypot(...[...gradients.values()].flat())
        // Clipping must matter where it is asked for.
        assert.ok(norm > 0.7)
        for (const [name, list] of expected) {
          list.forEach((parameter, place) => {
            const raw = gradients.get(name)?.[place] ?? NaN
            const g = clip === undefined ? raw : raw * Math.min(1, clip / (norm + 1e-6))
            parameter[0] *= 1 - rate * decay
            parameter[1] = beta1 * parameter[1] + (1 - beta1) * g
            parameter[2] = beta2 * parameter[2] + (1 - beta2) * g * g
            const root = Math.sqrt(parameter[2] / (1 - beta2 ** step))
            parameter[0] -= (rate * (parameter[1] / (1 - beta1 ** step))) / (root + epsilon)
          })
        }
        session.run('measure')
        session.run('apply')
        for (const [name, list] of expected) {
          const got = session.stored(name)
          // Constants of the graph are float32 numbers, hence not 1e-12.
          list.forEach(([value], place) => near(got[place], value, 1e-6, `step ${step}, ${name}[${place}]`))
        }
      }
    })
  }

  it('keeps its own epsilon and decay where none are stated', () => {
    const { session, values } = sessionOn(compileWith(adamW({ rate: constant(0.5) }), 5))
    for (const name of ['accumulate', 'measure', 'apply']) session.run(name)
    // First steps are ±rate where the gradient is far above 1e-8, and nothing decays.
    const before = values.get('head.weight') ?? []
    const after = session.stored('head.weight')
    for (const [place, value] of before.entries())
      near(Math.abs((after[place] ?? NaN) - value), 0.5, 1e-6, `[${place}]`)
  })

  const ratesOf = (optimizer: AdamWOptimizer, steps: number): number[] => {
    const { session } = sessionOn(compileWith(optimizer, steps))
    return Array.from({ length: steps }, () => {
      // Nothing was accumulated: the weights are NaN, the rate depends on the number of the step alone.
      session.run('measure')
      session.run('apply')
      return session.scalar('report/rate')
    })
  }

  it('warms up for a share of all steps, rounded up as transformers does, or for so many', () => {
    const peak = 0.4
    const floor = 0.04
    for (const [kind, given, steps, warmup] of [
      ['cosine', 0.15, 8, 2],
      ['cosine', 0.25, 8, 2],
      ['linear', 0.26, 8, 3],
      ['linear', 0.01, 8, 1],
      ['cosine', 3, 8, 3],
      ['linear', 1, 8, 1],
      ['linear', 0, 8, 0],
    ] as const) {
      const rate = (kind === 'cosine' ? cosine : linearDecay)({ peak, warmup: given, floor })
      ratesOf(adamW({ rate }), steps).forEach((actual, index) => {
        const past = (index - warmup) / (steps - warmup)
        const share = kind === 'cosine' ? 0.5 * (1 + Math.cos(Math.PI * past)) : 1 - past
        const expected = index < warmup ? (peak * index) / warmup : floor + (peak - floor) * share
        near(actual, expected, 1e-6, `${kind}, warm-up ${given}: step ${index + 1}`)
      })
    }
  })

  it('learns at the peak in a run of one step, whatever share of it is warm-up', () => {
    for (const rate of [cosine({ peak: 0.5, warmup: 0.03 }), linearDecay({ peak: 0.5, warmup: 0.9 })]) {
      assert.deepEqual(ratesOf(adamW({ rate }), 1), [0.5])
    }
    const half = cosine({ peak: 0.5, warmup: 0.9 })
    assert.deepEqual(ratesOf(adamW({ rate: half }), 2), [0, 0.5])
  })

  it('keeps a constant rate', () => {
    for (const rate of ratesOf(adamW({ rate: constant(0.125) }), 4)) assert.equal(rate, 0.125)
  })
})

describe("a recipe's adapters, compiled", () => {
  const graphWith = (options: Parameters<typeof bigramLora>[0]): Graph =>
    compileRecipe(bigramRecipe({ adapt: bigramLora(options) }), traceBigram(), { ...settings, steps: 4 }).graph

  for (const [name, options, scale] of [
    ['alpha / rank', {}, 5 / 3],
    ['alpha / √rank with rslora', { rslora: true }, 5 / Math.sqrt(3)],
    ['the same of others', { rank: 2, alpha: 7, rslora: true }, 7 / Math.SQRT2],
  ] as const) {
    it(`are scaled by ${name}`, () => {
      const { session, values } = sessionOn(graphWith(options))
      assert.equal(values.size, 8)
      const logits = session.run('predict').get('logits')
      assert.equal(logits?.data.length, sequences * vocabulary)
      for (let row = 0; row < sequences; row++) {
        const token = (3 * (row * length + [1, 3][row]!)) % vocabulary
        const expected = bigramLogits(values, token, scale)
        expected.forEach((logit, column) =>
          near(logits.data[row * vocabulary + column], logit, 1e-6, `logit ${column} of row ${row}`),
        )
      }
    })
  }

  it('sit on the targets alone', () => {
    const { graph } = compileRecipe(bigramRecipe({ adapt: bigramLora({ targets: ['down'] }) }), traceBigram(), { ...settings, steps: 4 }) // prettier-ignore
    const trained = [...graph.declarations.values()].filter(({ role }) => role === 'trainable').map(({ name }) => name)
    assert.deepEqual(trained.sort(), ['down.lora_A.weight', 'down.lora_B.weight'])
  })

  it('drop what the recipe says while they are trained, and nothing otherwise', () => {
    const dropping = graphWith({ dropout: 0.9 })
    const losses = (graph: Graph): number[] => {
      const { session } = sessionOn(graph)
      return [1, 2, 3, 4].map((seed) => {
        session.setInteger('seed', seed)
        session.values.set('sum/loss', scalarTensor(0, 'f32'))
        session.run('accumulate')
        return session.scalar('sum/loss')
      })
    }
    const [none, some, most] = [losses(graphWith({})), losses(graphWith({ dropout: 0.2 })), losses(dropping)]
    assert.equal(new Set(none).size, 1)
    assert.equal(new Set(some).size, 4)
    assert.equal(new Set(most).size, 4)
    assert.ok(some.every((loss, place) => loss !== none[place] && loss !== most[place]))
    const evaluated = [1, 2].map((seed) => {
      const { session } = sessionOn(dropping)
      session.setInteger('seed', seed)
      return session.run('evaluate').get('loss')?.data[0]
    })
    assert.deepEqual(evaluated, [none[0], none[0]])
  })
})

describe('a compiled recipe', () => {
  const compiled = (dump?: (text: string) => void, functions?: readonly string[]): CompiledRecipe =>
    compileRecipe(bigramRecipe(), traceBigram(), { ...settings, steps: 4, dump, ...(functions ? { functions } : {}) })

  it('says what its passes made where somebody listens', () => {
    const texts: string[] = []
    compiled((text) => texts.push(text))
    assert.match(texts.join(''), /lora_A/)
  })

  /** What the compiler is asked for. What it says is of one of them. */
  const attemptsAt = (
    parts: Parameters<typeof bigramRecipe>[0],
    memoryBudget: number,
  ): { tried: string[]; said: string[] } => {
    const tried: string[] = []
    const said: string[] = []
    compileRecipe(bigramRecipe(parts), traceBigram(), {
      ...settings,
      memoryBudget,
      steps: 4,
      dump: (text) => said.push(text),
      onAttempt: ({ checkpoints, storage }) => tried.push(`${checkpoints} ${storage}`),
    })
    return { tried, said }
  }

  it('is compiled once where nothing is lost, and again only for another place of what may lie elsewhere', () => {
    const known = attemptsAt({}, settings.memoryBudget)
    assert.deepEqual(known.tried, ['auto none'])
    const small = attemptsAt({}, 1)
    // Neither what is declared nor what must stay there fits, so that only what needs least is looked for. There is no layer that
    // could be computed again, and nothing is large enough for a file.
    assert.deepEqual(small.tried, ['every layer none'])
    // Of storage two passes speak.
    assert.ok(Math.abs(small.said.length - known.said.length) <= 2)
  })

  it('shares what is made before memory is looked at with recipes that differ in nothing else', () => {
    const traced = traceBigram()
    const firstPass = (parts: Parameters<typeof bigramRecipe>[0], memoryBudget: number, dump?: () => void): unknown =>
      compileRecipe(bigramRecipe(parts), traced, { ...settings, memoryBudget, steps: 4, dump }).reports[0]
    const known = firstPass({}, settings.memoryBudget)
    assert.equal(firstPass({ checkpoints: 'none' }, 2 * settings.memoryBudget), known)
    let told = 0
    assert.notEqual(
      firstPass({}, settings.memoryBudget, () => void told++),
      known,
    )
    assert.ok(told > 0)
    assert.notEqual(firstPass({ adapt: bigramLora({ rank: 2 }) }, settings.memoryBudget), known)
    const { program } = compileRecipe(bigramRecipe({ adapt: bigramLora({ rank: 2 }) }), traced, { ...settings, steps: 4 }) // prettier-ignore
    assert.equal(program.values.find(({ name }) => name.endsWith('lora_A.weight'))?.shape[0], 2)
  })

  it('is not tried where tensors are that may not move, or would be no others', () => {
    const { device } = settings
    const wasm = { ...device, isa: 'wasmRelaxed' } as const
    const tried: string[] = []
    const all = { ...settings, steps: 4, onAttempt: ({ storage }: Attempt) => void tried.push(storage) }
    compileRecipe(bigramRecipe({ checkpoints: 'none' }), traceBigram(), { ...all, device: wasm, memoryBudget: 1 })
    assert.deepEqual(tried, ['none'])
    tried.length = 0
    // Nothing declared is large enough to be worth a file.
    compileRecipe(bigramRecipe({ checkpoints: 'none' }), traceBigram(), { ...all, memoryBudget: device.runtimeBytes + 3000 }) // prettier-ignore
    assert.deepEqual(tried, ['none'])
  })

  it('with some of its functions has their kernels, and the memory of the largest', () => {
    const whole = compiled()
    const all = whole.program.functions.map(({ name }) => name)
    for (const names of [[all.at(-1) as string, all[0] as string], ['predict'], all.toReversed(), []]) {
      const { program, arenas, certificate } = compiled(undefined, names)
      const wanted = all.filter((name) => names.includes(name))
      assert.deepEqual(
        program.functions.map(({ name }) => name),
        wanted,
      )
      for (const fn of program.functions) {
        const before = whole.program.functions.find(({ name }) => name === fn.name)?.launches ?? []
        assert.deepEqual(
          fn.launches.map(({ label, arguments: places }) => [label, places]),
          before.map(({ label, arguments: places }) => [label, places]),
        )
      }
      const used = new Set(program.functions.flatMap(({ launches }) => launches.map(({ kernel }) => kernel)))
      assert.equal(used.size, program.kernels.length)
      const peaks = wanted.map((name) => whole.arenas.find(({ fn }) => fn === name)?.peak ?? NaN)
      assert.deepEqual(
        arenas.map(({ peak }) => peak),
        peaks,
      )
      assert.equal(program.arenaBytes, Math.max(0, ...peaks))
      assert.equal(certificate.parts.arena, program.arenaBytes)
      assert.equal(certificate.kernels, program.kernels.length)
    }
  })
})

describe("a recipe's checkpoints", function () {
  this.timeout(180_000)

  const config = readGpt2Config(
    { model_type: 'gpt2', n_embd: 16, n_layer: 2, n_head: 2, n_positions: 128, vocab_size: 31 },
    'config.json',
  )
  const compileWith = (checkpoints: Checkpoints, memoryBudget: number): CompiledRecipe => {
    const made = recipe({
      model: gpt2.from('./model'),
      adapt: lora({ rank: 2, alpha: 4, targets: ['c_fc'] }),
      data: completions('records.jsonl', { loss: 'completion' }),
      optimizer: adamW({ rate: constant(0.01) }),
      batch: { sequences: 2, length: 128, steps: 1 },
      checkpoints,
    })
    return compileRecipe(made, gpt2.trace(config, { sequences: 2, length: 128 }), { ...settings, steps: 1, memoryBudget }) // prettier-ignore
  }

  it('are as it says whatever fits, and with auto keep all that fits, to the byte', () => {
    const [none, every] = [compileWith('none', 2 ** 40), compileWith('every layer', 2 ** 40)]
    assert.deepEqual([none.checkpoints, every.checkpoints], ['none', 'every'])
    const [most, least] = [none, every].map(({ certificate }) => certificate.peakBytes) as [number, number]
    assert.ok(least < most, `${least} bytes instead of ${most}`)
    const enough = compileWith('auto', most)
    assert.deepEqual([enough.checkpoints, enough.certificate.peakBytes], ['none', most])
    let before = 0
    for (const budget of [most - 1, Math.floor((most + least) / 2), least]) {
      const { checkpoints, certificate, checkpointing } = compileWith('auto', budget)
      assert.deepEqual([checkpoints, certificate.fits, certificate.budgetBytes], ['chosen', true, budget])
      assert.ok(certificate.peakBytes <= budget, `${certificate.peakBytes} of ${budget} bytes`)
      const { seconds = NaN, gap = NaN } = checkpointing ?? {}
      assert.ok(seconds >= before, `${seconds} s after ${before} s`)
      assert.ok(gap <= 0.02, `a gap of ${gap}`)
      before = seconds
    }
    const { certificate, checkpointing } = compileWith('auto', 1)
    assert.deepEqual([certificate.fits, certificate.peakBytes <= least], [false, true])
    assert.equal(checkpointing?.leastPeak, certificate.parts.arena)
  })
})

describe("a recipe's weights", function () {
  this.timeout(120_000)

  const config = readGpt2Config(
    { model_type: 'gpt2', n_embd: 64, n_layer: 3, n_head: 2, n_positions: 64, vocab_size: 3000 },
    'config.json',
  )
  const compileWith = (
    memoryBudget: number,
    options: Partial<CompileSettings> & { checkpoints?: Checkpoints; full?: true } = {},
  ): CompiledRecipe => {
    const { checkpoints = 'none', full, ...others } = options
    const made = recipe({
      model: gpt2.from('./model'),
      adapt: full ? fullFineTuning() : lora({ rank: 2, alpha: 4, targets: ['c_fc'] }),
      data: completions('records.jsonl', { loss: 'completion' }),
      optimizer: adamW({ rate: constant(0.01) }),
      batch: { sequences: 1, length: 64, steps: 1 },
      checkpoints,
    })
    const functions = ['accumulate', 'measure', 'apply']
    const all = { ...settings, threads: 1, functions, steps: 1, memoryBudget, ...others }
    return compileRecipe(made, gpt2.trace(config, { sequences: 1, length: 64 }), all)
  }
  const storageAt = (readBytesPerSecond: number): DeviceProfile => {
    const source = 'made up'
    const storage = { readBytesPerSecond, writeBytesPerSecond: 1e8, latencySeconds: 1e-6, source }
    return { ...phone, figures: { ...phone.figures, storage } }
  }
  const whole = compileWith(2 ** 40)

  it('are in memory where that fits, to the byte', () => {
    const { peakBytes } = whole.certificate
    assert.deepEqual([whole.certificate.storage, whole.certificate.fits], [undefined, true])
    const just = compileWith(peakBytes)
    assert.deepEqual([just.certificate.storage, just.certificate.peakBytes], [undefined, peakBytes])
  })

  it('stay in their file where they do not fit, and use what memory there is', () => {
    const { peakBytes, parts } = whole.certificate
    let before = Number.POSITIVE_INFINITY
    for (const budget of [peakBytes - 400_000, peakBytes - 1]) {
      const { certificate, program } = compileWith(budget)
      assert.ok(certificate.fits && certificate.peakBytes > 0.8 * budget, JSON.stringify(certificate))
      assert.ok(certificate.parts.weights < parts.weights)
      const { tensorBytes = 0, windowBytes = 0, readBytes = 0 } = certificate.storage ?? {}
      assert.equal(tensorBytes + certificate.parts.weights, parts.weights)
      assert.ok(windowBytes > 0 && readBytes <= before, `${readBytes} bytes are read`)
      before = readBytes
      assert.equal(program.functions.find(({ name }) => name === 'accumulate')?.rows?.length, 2)
    }
  })

  it('need as little as can be where nothing fits, and say so', () => {
    const { certificate } = compileWith(1)
    assert.equal(certificate.fits, false)
    assert.ok(certificate.peakBytes < whole.certificate.peakBytes)
    assert.ok(certificate.storage)
  })

  it('are looked for in few programs where nothing fits', () => {
    const triedAt = (memoryBudget: number, options: Parameters<typeof compileWith>[1] = {}): string[] => {
      const tried: string[] = []
      const onAttempt = ({ checkpoints, storage }: Attempt): void => void tried.push(`${checkpoints} ${storage}`)
      const { attempts = [] } = compileWith(memoryBudget, { ...options, onAttempt })
      assert.deepEqual(
        attempts.map(({ checkpoints, storage }) => `${checkpoints} ${storage}`),
        tried,
      )
      return tried
    }
    const least = compileWith(1).certificate.peakBytes
    const once = (tried: readonly string[]): string[] => {
      // Ranges of a few sizes.
      assert.ok(tried.length <= 8, tried.join())
      return tried.filter((one, place) => one !== tried[place - 1])
    }
    // What must be in memory is too much for anything else.
    assert.deepEqual(once(triedAt(1)), ['none least'])
    assert.deepEqual(once(triedAt(1, { checkpoints: 'every layer' })), ['every layer least'])
    assert.deepEqual(once(triedAt(1, { checkpoints: 'auto' })), ['every layer least', 'auto least'])
    // There is memory for what is trained, but without its bytes what is left is still too much.
    assert.deepEqual(once(triedAt(least - 1)), ['none frozen', 'none least'])
  })

  it('are in memory in WebAssembly', () => {
    const wasm = { ...phone, isa: 'wasmRelaxed' } as const
    assert.equal(compileWith(1, { device: wasm }).certificate.storage, undefined)
  })

  it('are in a file when they are trained, only where that does not fit memory', () => {
    const { certificate, program } = compileWith(2 ** 40, { full: true })
    assert.deepEqual([certificate.storage, program.storedCount], [undefined, 0])
    const half = Math.floor(0.6 * certificate.peakBytes)
    const stored = compileWith(half, { full: true })
    const { state, writtenBytes = 0 } = stored.certificate.storage ?? {}
    assert.ok(stored.certificate.fits && stored.certificate.peakBytes <= half && state)
    assert.ok(stored.certificate.parts.state < certificate.parts.state / 2)
    const largest = stored.program.functions.flatMap(({ transfers = [] }) => transfers.map(({ bytes }) => bytes))
    assert.ok(Math.max(...largest) > 64 * 1024, 'ranges are no smaller than the budget asks for')
    // Weights and two moments are written by an update, those in memory as well; gradients by a micro-batch alone.
    const { carriedBytes = 0 } = stored.program
    const versions = stored.program.values.reduce(
      (sum, value) => sum + (value.versions ? value.bytes : 0),
      carriedBytes,
    )
    assert.ok(carriedBytes > 0)
    assert.ok(state.update.writtenBytes >= versions && state.update.writtenBytes < 1.1 * versions && writtenBytes > 0)
    // Two versions of all but gradients.
    assert.ok(state.fileBytes > 1.7 * state.valueBytes && state.fileBytes < 2.5 * state.valueBytes)
    // A resumed run copies it.
    assert.equal(state.resumingBytes, 2 * state.fileBytes)
    const gradients = stored.program.values.filter(({ name }) => name.startsWith('grad/'))
    assert.ok(gradients.length > 0 && gradients.every(({ versions }) => versions === undefined))
  })

  it('stay in their file where that takes less time than computing values again', () => {
    const all = compileWith(2 ** 40, { checkpoints: 'every layer' }).certificate.peakBytes
    const budget = Math.floor((all + whole.certificate.peakBytes) / 2)
    const fast = compileWith(budget, { checkpoints: 'auto', device: storageAt(1e12) })
    assert.ok(fast.certificate.storage && fast.certificate.fits)
    const slow = compileWith(budget, { checkpoints: 'auto', device: storageAt(1e4) })
    assert.deepEqual([slow.certificate.storage, slow.certificate.fits, slow.checkpoints], [undefined, true, 'chosen'])
  })
})
