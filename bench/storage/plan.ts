// A step of a model at its real shapes whose weights stay in a file, what is trained among them, and what its certificate
// promises.

import type { Rates, StorageRate } from '../../compiler/plan/rates.ts'
import { certify } from '../../train/certificate.ts'
import type { Certificate } from '../../train/certificate.ts'
import { storageOf } from '../../train/storage.ts'
import { scheduleProfile } from '../../devices/index.ts'
import type { DeviceProfile } from '../../devices/index.ts'
import { shapes } from '../shapes.ts'
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
  /** All weights are trained, or adapters of rank 8 on some layers. */
  readonly targets: 'attention' | 'all' | 'full'
  readonly length: number
  readonly threads: number
  /** Bytes of the whole process; undefined: every weight in memory. */
  readonly memory: number | undefined
  /** What is read at which rate; the device's own storage unless given. */
  readonly read?: StorageRate
  readonly write?: StorageRate
  /** What computing takes here, as a multiple of what plans go by unless told; 1 unless given. */
  readonly slowness?: number
}

function slower({ flopsPerSecond, bytesPerSecond }: Rates, slowness: number): Rates {
  return { flopsPerSecond: flopsPerSecond / slowness, bytesPerSecond: bytesPerSecond / slowness }
}

const stepFunctions = ['accumulate', 'measure', 'apply']

/** A step of one sequence, frozen weights in bf16, every layer recomputed. */
export function storedStep(options: StoredStepOptions, device: DeviceProfile): StoredStep {
  const { model, targets, length, threads, memory, read, write = read, slowness = 1 } = options
  const isFull = targets === 'full'
  const shape = shapes[model]
  if (!shape) throw new Error(`there is no shape '${model}': ${Object.keys(shapes).join(', ')}`)
  const usual = memory === undefined ? undefined : storageOf(device, threads, memory, { state: isFull })
  const storage = usual && { ...usual, compute: slower(usual.compute, slowness) }
  const compiled = compileStep(
    { config: shape.config, targets: targets === 'all' ? shape.linear : shape.targets },
    {
      adapt: isFull ? 'full' : 'lora',
      length,
      checkpoints: 'every',
      // What is trained is float32.
      dtype: isFull ? 'f32' : 'bf16',
      functions: stepFunctions,
      ...(storage ? { storage: { ...storage, ...(read ? { read } : {}), ...(write ? { write } : {}) } } : {}),
    },
    scheduleProfile(device, threads),
  )
  const memoryBudget = memory ?? Number.MAX_SAFE_INTEGER
  return { shape, length, threads, compiled, certificate: certify(compiled, { device, threads, memoryBudget }) }
}
