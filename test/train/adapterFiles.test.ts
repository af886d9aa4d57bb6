// An adapter on its way from a trained program to a file and back into a program that predicts: both scalings, against
// the same model worked out by hand and against the saved adapter merged into its weights. Nothing is compiled; kernels
// are interpreted.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Session } from '../../backends/neon/driver/index.ts'
import { findDevice } from '../../devices/index.ts'
import { openAdapter } from '../../formats/peft.ts'
import { readTensorF32 } from '../../formats/safetensors.ts'
import { compileRecipe } from '../../train/compileRecipe.ts'
import { compilePrediction } from '../../train/openPrediction.ts'
import type { PreparedModel } from '../../train/prepare.ts'
import { saveTrained } from '../../train/save.ts'
import { temporaryDirectory } from '../bin/support.ts'
import { interpretedSession } from '../support/interpretedSession.ts'
import { bigramLogits, bigramLora, bigramRecipe, bigramValues, length, sequences, traceBigram, vocabulary } from './lowRank.ts' // prettier-ignore

const device = findDevice('phone-8gb', 'avx2')
const settings = { device, threads: 2, memoryBudget: device.memoryBudget, steps: 4 }
const tokens = Int32Array.from({ length: sequences * length }, (_, place) => (3 * place + 1) % vocabulary)
const positions = [2, 3] as const

/** Logits of the token at each sequence's position, row by row. */
async function predicted(session: Session): Promise<Float32Array> {
  await session.write('tokens', tokens)
  await session.write('position', Int32Array.from(positions))
  await session.call('predict', { seq: length })
  return (await session.output('predict', 'logits')) as Float32Array
}

function assertLogits(actual: Float32Array, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length)
  const largest = Math.max(...expected.map(Math.abs))
  expected.forEach((logit, place) => {
    assert.ok(
      Math.abs((actual[place] ?? NaN) - logit) <= 1e-5 * largest,
      `[${place}]: ${actual[place]} is not ${logit}`,
    )
  })
}

for (const { rslora, scale } of [
  { rslora: false, scale: 5 / 3 },
  { rslora: true, scale: 5 / Math.sqrt(3) },
]) {
  describe(`an adapter ${rslora ? 'with' : 'without'} rslora, saved and opened again`, () => {
    const recipe = bigramRecipe({ adapt: bigramLora({ rslora, dropout: 0.25, targets: ['down', 'up'] }) })
    const traced = traceBigram()
    const saved = async (): Promise<{ dir: string; values: Map<string, Float32Array>; logits: Float32Array }> => {
      const compiled = compileRecipe(recipe, traced, { ...settings, functions: ['predict'] })
      const values = bigramValues(compiled.graph.declarations.values())
      const session = await interpretedSession(compiled.program, values)
      for (const { name, role } of compiled.program.values) {
        if (role === 'trainable') await session.write(name, values.get(name) as Float32Array)
      }
      const model = { traced, baseName: 'some/model' } as unknown as PreparedModel
      const dir = await saveTrained(temporaryDirectory(), recipe, model, compiled.program, session)
      return { dir, values, logits: await predicted(session) }
    }
    const byHand = (values: ReadonlyMap<string, Float32Array>): number[] =>
      positions.flatMap((position, row) => bigramLogits(values, tokens[row * length + position] as number, scale))

    it('holds its matrices and every setting', async () => {
      const { dir, values } = await saved()
      const config = JSON.parse(fs.readFileSync(path.join(dir, 'adapter_config.json'), 'utf8')) as Record<
        string,
        unknown
      >
      const { r, lora_alpha, lora_dropout, use_rslora, target_modules, fan_in_fan_out, base_model_name_or_path } =
        config
      assert.deepEqual(
        { r, lora_alpha, lora_dropout, use_rslora, target_modules, fan_in_fan_out, base_model_name_or_path },
        {
          r: 3,
          lora_alpha: 5,
          lora_dropout: 0.25,
          use_rslora: rslora,
          target_modules: ['down', 'up'],
          fan_in_fan_out: false,
          base_model_name_or_path: 'some/model',
        },
      )
      const adapter = openAdapter(dir)
      assert.equal(adapter.scale, scale)
      assert.deepEqual([...adapter.modules.keys()].sort(), ['down', 'up'])
      for (const [name, { a, b }] of adapter.modules) {
        assert.deepEqual(readTensorF32(a), values.get(`${name}.lora_A.weight`))
        assert.deepEqual(readTensorF32(b), values.get(`${name}.lora_B.weight`))
      }
    })

    it('predicts as the program that trained it, and as the formula', async () => {
      const { dir, values, logits } = await saved()
      assertLogits(logits, byHand(values))
      const adapter = openAdapter(dir)
      const program = compilePrediction(traced, 'bigram', { device, threads: 2, adapter })
      const session = await interpretedSession(program, values)
      for (const [name, { a, b }] of adapter.modules) {
        await session.write(`${name}.lora_A.weight`, readTensorF32(a))
        await session.write(`${name}.lora_B.weight`, readTensorF32(b))
      }
      assertLogits(await predicted(session), byHand(values))
    })
  })
}
