// AdamW, clipping and schedules against formulas written out here in doubles, and accumulation over micro-batches.

import assert from 'node:assert/strict'
import { UserError } from '../../compiler/diagnostic.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { parseGraph } from '../../compiler/graph/parse.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { verifyGraph } from '../../compiler/graph/verify.ts'
import { interpretNodes } from '../../compiler/graph/interpret.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { adamW } from '../../compiler/transform/optimizer.ts'
import type { AdamWOptions } from '../../compiler/transform/optimizer.ts'
import { rateAt } from '../../compiler/transform/learningRate.ts'
import type { RateSchedule } from '../../compiler/transform/learningRate.ts'
import { golden } from '../support/golden.ts'
import { oracleCase } from '../support/oracle.ts'
import { Session, session, through, traceCase, trainingPasses, transformed } from './oracleModel.ts'

/** loss = Σ w · (a·x)², weight = Σ w: gradients are plain to see. */
const quadratic = `
axis row = 3
axis column = 2

input x: f32[row, column]
input w: f32[row]
trainable a: f32[column]
trainable c: f32[]

function loss {
  %0 = read x : f32(row, column)
  %1 = read a : f32(column)
  %2 = dot(%0, %1) over [column] : f32(row)
  %3 = read c : f32()
  %4 = sub(%2, %3) : f32(row)
  %5 = mul(%4, %4) : f32(row)
  %6 = read w : f32(row)
  %7 = mul(%5, %6) : f32(row)
  %8 = sum(%7) over row : f32()
  %9 = sum(%6) over row : f32()
  output loss = %8
  output weight = %9
}
`

const base: AdamWOptions = {
  schedule: { kind: 'constant', peak: 0.1, warmup: 0, total: 10 },
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-3,
  weightDecay: 0.1,
}

function training(options: AdamWOptions): Graph {
  const graph = through(parseGraph(quadratic).graph, differentiate(), adamW(options))
  verifyGraph(graph)
  return graph
}

const x = [0.5, -1, 1.5, 0.25, -0.75, 2]
const w = [1, 0.5, 2]
const start = { a: [0.3, -0.2], c: [0.7] }

/** The same in plain doubles, one flat list of parameters [a0, a1, c]. */
function reference(options: AdamWOptions, rates: readonly number[]): { parameters: number[]; norms: number[] } {
  const { beta1, beta2, epsilon, weightDecay, clip = Infinity } = options
  const parameters = [...start.a, ...start.c]
  const [m, v] = [
    [0, 0, 0],
    [0, 0, 0],
  ]
  const norms: number[] = []
  rates.forEach((rate, index) => {
    const weight = w.reduce((sum, one) => sum + one)
    const [a0, a1, c] = parameters as [number, number, number]
    const gradient = [0, 0, 0]
    w.forEach((one, row) => {
      const error = 2 * one * (a0 * x[2 * row]! + a1 * x[2 * row + 1]! - c)
      gradient[0]! += (error * x[2 * row]!) / weight
      gradient[1]! += (error * x[2 * row + 1]!) / weight
      gradient[2]! -= error / weight
    })
    const norm = Math.hypot(...gradient)
    norms.push(norm)
    const t = index + 1
    gradient.forEach((raw, place) => {
      const g = raw * Math.min(1, clip / (norm + 1e-6))
      m[place] = beta1 * m[place]! + (1 - beta1) * g
      v[place] = beta2 * v[place]! + (1 - beta2) * g * g
      const root = Math.sqrt(v[place]!) / Math.sqrt(1 - beta2 ** t)
      parameters[place] =
        parameters[place]! * (1 - rate * weightDecay) - ((rate / (1 - beta1 ** t)) * m[place]!) / (root + epsilon)
    })
  })
  return { parameters, norms }
}

function run(options: AdamWOptions, steps: number) {
  const graph = training(options)
  const stored = new Map<string, Float64Array>(
    Object.entries({ x, w, ...start }).map(([name, list]) => [name, Float64Array.from(list)]),
  )
  const one = new Session(graph, float64, {}, stored)
  const norms: number[] = []
  const rates: number[] = []
  for (let step = 0; step < steps; step++) {
    for (const name of ['accumulate', 'measure', 'apply']) one.run(name)
    norms.push(one.scalar('report/gradient_norm'))
    rates.push(one.scalar('report/rate'))
  }
  return { one, norms, rates, parameters: [...one.stored('a'), ...one.stored('c')] }
}

function near(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  assert.equal(actual.length, expected.length)
  actual.forEach((value, index) => {
    const wanted = expected[index] as number
    assert.ok(Math.abs(value - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), `${value} is not ${wanted}`)
  })
}

describe('adamW', () => {
  it('is the text we know', () => {
    golden(
      'transform/adamw.txt',
      printGraph(training({ ...base, clip: 1, schedule: { kind: 'cosine', peak: 1e-3, warmup: 3, total: 30 } })),
    )
  })

  for (const [name, change] of Object.entries<Partial<AdamWOptions>>({
    'with decay': {},
    'without decay': { weightDecay: 0 },
    clipped: { clip: 0.05 },
    'clipped at a norm that is not reached': { clip: 1000 },
    'with warmup and cosine': { schedule: { kind: 'cosine', peak: 0.1, warmup: 3, total: 12 } },
    'linear, beyond its end': { schedule: { kind: 'linear', peak: 0.1, warmup: 2, total: 6 } },
  })) {
    it(`follows the formulas, ${name}`, () => {
      const options = { ...base, ...change }
      const { one, norms, rates, parameters } = run(options, 8)
      const expected = reference(options, rates)
      // Constants of the graph are float32 numbers, hence not 1e-12.
      near(parameters, expected.parameters, 1e-6)
      near(norms, expected.norms, 1e-6)
      assert.equal(one.scalar('optimizer/step'), 8)
      for (const name of ['grad/c', 'sum/loss', 'sum/weight']) assert.equal(one.scalar(name), 0)
      assert.deepEqual([...one.stored('grad/a')], [0, 0])
    })
  }

  it('keeps the squared norm of each gradient, so that a bad one can be named', () => {
    const { one } = run(base, 1)
    near([one.scalar('norm2/a') + one.scalar('norm2/c')], [one.scalar('report/gradient_norm') ** 2], 1e-12)
    one.values.set('a', { ...one.values.get('a')!, data: Float64Array.of(NaN, 1) })
    one.run('accumulate')
    one.run('measure')
    assert.ok(Number.isNaN(one.scalar('norm2/a')) && Number.isNaN(one.scalar('report/gradient_norm')))
  })

  it('refuses options out of range', () => {
    const wrong: Partial<AdamWOptions>[] = [
      { beta1: 1 },
      { beta2: -0.1 },
      { epsilon: 0 },
      { weightDecay: NaN },
      { clip: 0 },
      { schedule: { kind: 'linear', peak: 1, warmup: 0, total: 0 } },
      { schedule: { kind: 'linear', peak: NaN, warmup: 0, total: 5 } },
      { schedule: { kind: 'linear', peak: 1, warmup: 0.5, total: 5 } },
      { schedule: { kind: 'linear', peak: 1, warmup: 0, total: 5, floor: 2 } },
      { schedule: { kind: 'cosine', peak: 1, warmup: 0, total: 5, floor: NaN } },
    ]
    for (const change of wrong) {
      assert.throws(
        () => adamW({ ...base, ...change }),
        (error) => error instanceof UserError && error.code === 'HD301',
      )
    }
  })
})

describe('learning rates', () => {
  const rates = (schedule: RateSchedule, steps: readonly number[], arithmetic = float64): number[] => {
    const b = new GraphBuilder()
    const nodes = steps.map((step) => rateAt(b, schedule, b.int(step)))
    const results = interpretNodes(nodes, { values: new Map(), extents: {}, arithmetic })
    return nodes.map((node) => results.get(node)?.data[0] as number)
  }

  // What transformers 5.23 gives for lr = 2: get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup,
  // get_cosine_with_min_lr_schedule_with_warmup (min_lr) and get_constant_schedule_with_warmup, before each step.
  const transformers: readonly (Omit<RateSchedule, 'peak'> & { readonly rates: readonly number[] })[] = [
    { kind: 'cosine', warmup: 0, total: 1, rates: [2] },
    { kind: 'linear', warmup: 0, total: 1, rates: [2] },
    { kind: 'cosine', warmup: 1, total: 2, rates: [0, 2] },
    { kind: 'linear', warmup: 1, total: 2, rates: [0, 2] },
    { kind: 'cosine', warmup: 0, total: 4, rates: [2, 1.7071067811865475, 1, 0.29289321881345254] },
    { kind: 'linear', warmup: 0, total: 4, rates: [2, 1.5, 1, 0.5] },
    {
      kind: 'cosine',
      warmup: 4,
      total: 10,
      rates: [0, 0.5, 1, 1.5, 2, 1.8660254037844388, 1.5, 1, 0.5000000000000002, 0.1339745962155613],
    },
    {
      kind: 'linear',
      warmup: 4,
      total: 10,
      rates: [0, 0.5, 1, 1.5, 2, 1.6666666666666667, 1.3333333333333333, 1, 0.6666666666666666, 0.3333333333333333],
    },
    {
      kind: 'cosine',
      warmup: 4,
      total: 10,
      floor: 0.5,
      rates: [0, 0.5, 1, 1.5, 2, 1.899519052838329, 1.625, 1.25, 0.8750000000000002, 0.600480947161671],
    },
    { kind: 'constant', warmup: 4, total: 7, rates: [0, 0.5, 1, 1.5, 2, 2, 2] },
  ]
  for (const { rates: expected, ...schedule } of transformers) {
    const { kind, warmup, total, floor } = schedule
    const falls = floor === undefined ? '' : ` to ${floor}`
    it(`${kind}${falls}, ${warmup} of ${total} steps warming up: as transformers`, () => {
      const steps = expected.map((_, index) => index + 1)
      near(rates({ ...schedule, peak: 2 }, steps), expected, 1e-7)
    })
  }

  it('stay at the floor beyond the end', () => {
    const schedule = { peak: 2, warmup: 4, total: 10, floor: 0.5 } as const
    near(rates({ kind: 'linear', ...schedule }, [11, 12]), [0.5, 0.5], 1e-7)
    near(rates({ kind: 'cosine', ...schedule }, [11, 12]), [0.5, 0.5], 1e-7)
  })

  it('are finite where the warmup is as long as the run, or longer', () => {
    for (const kind of ['constant', 'linear', 'cosine'] as const) {
      for (const warmup of [5, 9]) {
        const all = rates({ kind, peak: 1, warmup, total: 5 }, [1, 2, 3, 4, 5])
        near(
          all,
          [0, 1, 2, 3, 4].map((done) => done / warmup),
          1e-7,
        )
      }
    }
  })

  it('differ little in float32', () => {
    const schedule: RateSchedule = { kind: 'cosine', peak: 2e-4, warmup: 30, total: 1000 }
    const steps = Array.from({ length: 1000 }, (_, index) => index + 1)
    const [single, double] = [rates(schedule, steps, float32), rates(schedule, steps)]
    single.forEach((rate, index) => assert.ok(Math.abs(rate - double[index]!) < 2e-4 * 1e-6))
  })
})

describe('accumulation', () => {
  for (const name of ['gpt2-small/lora', 'qwen2-small/full']) {
    it(`${name}: two micro-batches give the step of the whole batch`, () => {
      const oracle = oracleCase(name)
      const whole = traceCase(oracle)
      const once = session(whole, transformed(whole.traced, trainingPasses(whole)), float64)
      once.setBatch(oracle.batch)
      once.run('accumulate')
      const part = traceCase(oracle, 1)
      const twice = session(part, transformed(part.traced, trainingPasses(part)), float64, 1)
      for (const [index, { sequences, lossSum, weightSum }] of oracle.microBatches.entries()) {
        const before = [twice.scalar('sum/loss'), twice.scalar('sum/weight')] as const
        twice.setBatch(oracle.batch, sequences)
        twice.run('accumulate')
        near([twice.scalar('sum/loss') - before[0], twice.scalar('sum/weight') - before[1]], [lossSum, weightSum], 1e-7)
        assert.equal(sequences[0], index)
      }
      for (const function_ of ['measure', 'apply']) {
        once.run(function_)
        twice.run(function_)
      }
      near([twice.scalar('report/gradient_norm')], [once.scalar('report/gradient_norm')], 1e-10)
      near([twice.scalar('report/loss')], [once.scalar('report/loss')], 1e-12)
      once.setBatch(oracle.batch)
      const evaluated = once.run('evaluate')
      const sum = [0, 1].reduce((total, sequence) => {
        twice.setBatch(oracle.batch, [sequence])
        return total + (twice.run('evaluate').get('loss')?.data[0] as number)
      }, 0)
      near([sum], [evaluated.get('loss')?.data[0] as number], 1e-9)
    })
  }
})
