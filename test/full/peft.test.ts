// Adapters and models that were trained here, loaded by PEFT and transformers: the same logits; and adapters that PEFT
// wrote, loaded by `train/`. Needs clang++-22 and the Python oracle (`.venv`, or HEDDLE_ORACLE_PYTHON).

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostDevice } from '../../devices/index.ts'
import { openCheckpoint, saveCheckpoint } from '../../formats/checkpoint.ts'
import { openAdapter, saveAdapter } from '../../formats/peft.ts'
import { float32Tensor } from '../../formats/safetensors.ts'
import { modelFor } from '../../models/index.ts'
import { CheckpointBinding } from '../../train/bindCheckpoint.ts'
import { openPrediction } from '../../train/openPrediction.ts'
import { quickHost } from '../support/nativeChains.ts'
import { oracleCases } from '../support/oracle.ts'
import type { LogitFingerprint, OracleCase } from '../support/oracle.ts'
import { OracleProcess } from '../support/oracleProcess.ts'
import { lengthOf, openTrainCase } from '../support/trainCase.ts'
import type { TrainCase } from '../support/trainCase.ts'
import { checkLogits, predictedLogits, relative, trainingFunctions } from '../truth/comparing.ts'

function batchFile(oracle: OracleCase): string {
  return join(oracle.modelDirectory, '../batch.json')
}

/** Enough steps at the schedule's peak to leave the first values far behind. */
async function trained(oracle: OracleCase): Promise<TrainCase> {
  const open = await openTrainCase(oracle, {
    toolchain: await quickHost(),
    optimise: 'light',
    threads: 2,
    functions: trainingFunctions,
  })
  for (let step = 0; step < 8; step++) await open.step()
  return open
}

async function floats({ session }: TrainCase, name: string): Promise<Float32Array> {
  const data = await session.read(name)
  assert.ok(data instanceof Float32Array)
  return data
}

/** The adapter's matrices as they are in the session, in PEFT's layout. */
async function saveTrainedAdapter(dir: string, oracle: OracleCase, open: TrainCase): Promise<void> {
  const settings = oracle.lora
  assert.ok(settings)
  const modules = []
  for (const { path } of open.traced.modules) {
    const shapeOf = (name: string) => open.compiled.program.values.find((value) => value.name === name)?.shape
    const [down, up] = [`${path}.lora_A.weight`, `${path}.lora_B.weight`]
    const [inputs, outputs] = [shapeOf(down)?.[1], shapeOf(up)?.[0]]
    if (inputs === undefined || outputs === undefined) continue
    modules.push({ path, inputs, outputs, a: await floats(open, down), b: await floats(open, up) })
  }
  assert.equal(2 * modules.length, oracle.gradients.size)
  const baseLayout = oracle.family === 'gpt2' ? 'in-out' : 'out-in'
  const { rank, alpha, targets } = settings
  saveAdapter(
    dir,
    { rank, alpha, dropout: 0, scaling: 'alpha/rank', baseLayout, targetModules: targets, baseModel: '' },
    modules,
  )
}

describe('trained here, loaded there', function () {
  this.timeout(300_000)
  let folder = ''
  const python = new OracleProcess()
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-truth-'))
  })
  after(async () => {
    await python.close()
    await rm(folder, { recursive: true, force: true })
  })

  for (const oracle of oracleCases()) {
    it(`${oracle.name}: ${oracle.lora ? 'PEFT loads the adapter' : 'transformers loads the model'}, same logits`, async () => {
      const open = await trained(oracle)
      try {
        const ours = await predictedLogits(oracle, open.session)
        const dir = join(folder, oracle.name.replace('/', '-'))
        let theirs: LogitFingerprint
        if (oracle.lora) {
          await saveTrainedAdapter(dir, oracle, open)
          const { modelDirectory } = oracle
          theirs = await python.logits({ modelDirectory, adapterDirectory: dir, batchFile: batchFile(oracle) })
        } else {
          const tensors = []
          for (const { name, role, shape } of open.compiled.program.values) {
            if (role === 'trainable') tensors.push(float32Tensor(name, shape, await floats(open, name)))
          }
          saveCheckpoint(dir, { config: openCheckpoint(oracle.modelDirectory).config, tensors })
          theirs = await python.logits({ modelDirectory: dir, batchFile: batchFile(oracle) })
        }
        checkLogits(ours, theirs)
        // Training has moved the logits, so that equal ones say something.
        assert.ok(
          relative(theirs.norm, oracle.logits.norm) > 1e-3 ||
            theirs.samples.some(([, , , logit], place) => {
              return Math.abs(logit - (oracle.logits.samples[place]?.[3] ?? NaN)) > 0.05
            }),
        )
      } finally {
        await open.session.close()
      }
    })
  }
})

describe('adapters that PEFT wrote', function () {
  this.timeout(300_000)
  for (const oracle of oracleCases().filter(({ mode }) => mode === 'lora')) {
    const { name } = oracle
    it(`give PEFT's logits here: ${name}`, async () => {
      const checkpoint = openCheckpoint(oracle.modelDirectory)
      const binding = new CheckpointBinding(checkpoint)
      const definition = modelFor(checkpoint.config, 'config.json')
      const traced = definition.trace(definition.readConfig(checkpoint.config, 'config.json'), {
        sequences: oracle.batch.tokens.length,
        length: lengthOf(oracle),
        storedDType: (parameter) => binding.storedDType(parameter),
      })
      assert.ok(oracle.adapterDirectory)
      const chain = await quickHost()
      const session = await openPrediction({ traced, binding }, name, {
        chain,
        device: hostDevice(chain.isa.name),
        optimise: 'light',
        threads: 2,
        adapter: openAdapter(oracle.adapterDirectory),
      })
      try {
        checkLogits(await predictedLogits(oracle, session), oracle.logits)
      } finally {
        await session.close()
      }
    })
  }
})
