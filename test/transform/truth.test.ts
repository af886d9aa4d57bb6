// Training graphs against PyTorch, transformers and PEFT: loss, every gradient, the curve of 30 steps. The interpreter in
// float64 runs them, so what is tested here is the graph and nothing below it.

import assert from 'node:assert/strict'
import { float64 } from '../../compiler/graph/float64.ts'
import { oracleCases } from '../support/oracle.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { relative } from '../truth/comparing.ts'
import { checkGraph } from './graphTruth.ts'
import { session, traceCase, trainingPasses, transformed } from './oracleModel.ts'

/** The tolerance of the issue is 1e-4, for float32; float64 must do far better. */
const curveTolerance = 1e-5

describe('training graphs against PyTorch', () => {
  const plain = oracleCases().filter(({ size }) => size === 'small')
  const cases = [
    ...oracleCases().map((oracle) => ({ oracle, passes: [simplify()], how: '' })),
    ...plain.map((oracle) => ({ oracle, passes: [], how: ', not simplified' })),
  ]
  for (const { oracle, passes, how } of cases) {
    it(`${oracle.name}: loss and every gradient${how}`, () => {
      checkGraph(traceCase(oracle), passes)
    })
  }

  // Adapters and the optimizer know no architecture: full fine-tuning shows what a curve can show of another one.
  const both = ['gpt2', 'qwen2']
  const curves = plain.filter(({ family, mode }) => mode === 'full' || both.includes(family))
  for (const oracle of curves) {
    it(`${oracle.name}: the curve of 30 steps`, () => {
      const one = traceCase(oracle)
      const run = session(one, transformed(one.traced, trainingPasses(one, [simplify()])), float64)
      run.setBatch(oracle.batch)
      for (const [step, expected] of oracle.curve.losses.entries()) {
        for (const name of ['accumulate', 'measure', 'apply']) run.run(name)
        const error = relative(run.scalar('report/loss'), expected)
        assert.ok(error < curveTolerance, `the loss of step ${step + 1} is off by ${error}`)
        const norm = relative(run.scalar('report/gradient_norm'), oracle.curve.gradientNorms[step] ?? NaN)
        assert.ok(norm < 1e-3, `the gradient norm of step ${step + 1} is off by ${norm}`)
        assert.ok(Math.abs(run.scalar('report/rate') - (oracle.curve.rates[step] ?? NaN)) < 1e-9)
      }
      assert.equal(run.scalar('optimizer/step'), 30)
    })
  }
})
