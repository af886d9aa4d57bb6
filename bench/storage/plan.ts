// A step of a model at its real shapes whose frozen weights stay in their file, and what its certificate promises.

import type { StorageRate } from '../../compiler/plan/rates.ts'
import { certify } from '../../train/certificate.ts'
import type { Certificate } from '../../train/certificate.ts'
import { storageOf } from '../../train/storage.ts'
import { scheduleProfile } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { allLinear, shapes } from '../shapes.ts'
import type { Shape } from '../shapes.ts'
import { compileStep } from '../step.ts'

export interface StoredStep {
  readonly shape: Shape
  readonly length: number
  readonly threads: number
  readonly compiled: ReturnType<typeof compileStep>
  readonly certificate: Certificate
}

export interface StoredStepOptions {
  readonly model: string
  readonly targets: 'attention' | 'all'
  readonly length: number
  readonly threads: number
  /** Bytes of the whole process; undefined: every weight in memory. */
  readonly memory: number | undefined
  /** What is read at which rate; the device's own storage unless given. */
  readonly read?: StorageRate
}

const stepFunctions = ['accumulate', 'measure', 'apply']

/** A LoRA step of one sequence with bf16 weights, every layer recomputed. */
export function storedStep(options: StoredStepOptions, device: DeviceProfile): StoredStep {
  const { model, targets, length, threads, memory, read } = options
  const shape = shapes[model]
  if (!shape) throw new Error(`there is no shape '${model}': ${Object.keys(shapes).join(', ')}`)
  const storage = memory === undefined ? undefined : storageOf(device, threads, memory)
  const compiled = compileStep(
    { config: shape.config, targets: targets === 'all' ? allLinear : shape.targets },
    {
      adapt: 'lora',
      length,
      checkpoints: 'every',
      dtype: 'bf16',
      functions: stepFunctions,
      ...(storage ? { storage: { ...storage, ...(read ? { read } : {}) } } : {}),
    },
    scheduleProfile(device, threads),
  )
  const memoryBudget = memory ?? Number.MAX_SAFE_INTEGER
  return { shape, length, threads, compiled, certificate: certify(compiled, { device, threads, memoryBudget }) }
}
