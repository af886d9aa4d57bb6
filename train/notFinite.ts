// Which tensor made a loss that is not finite: looked for when a run has stopped, so that it costs nothing before. Knows no
// recipe.

import type { Session } from '../backends/neon/driver/index.ts'
import { UserError } from '../compiler/diagnostic.ts'
import type { Program } from '../compiler/plan/program.ts'
import { quote } from '../formats/files.ts'
import { readTensorF32 } from '../formats/safetensors.ts'
import type { CheckpointBinding } from './bindCheckpoint.ts'

/** The same error with the first weight that is not finite, or that all of them are. Any other error as it is. */
export async function withCulprit(
  error: unknown,
  session: Session,
  program: Program,
  binding: CheckpointBinding,
): Promise<unknown> {
  if (!(error instanceof UserError) || error.code !== 'HD810') return error
  for (const { name, role } of program.values) {
    const isBad =
      role === 'trainable'
        ? hasNotFinite(await session.read(name))
        : role === 'frozen' && hasNotFinite(readTensorF32(binding.entry(name)))
    if (!isBad) continue
    const place = role === 'frozen' ? { file: binding.entry(name).file, at: `tensor ${quote(name)}` } : undefined
    const sentence = `${error.message}: the weight '${name}' is not finite`
    return new UserError('HD810', sentence, { ...(place ? { place } : {}), cause: error })
  }
  return new UserError('HD810', `${error.message}; all weights are finite, so numbers overflowed on the way`, {
    mend: 'lower the learning rate, or clip the gradients',
    cause: error,
  })
}

function hasNotFinite(values: ArrayLike<number>): boolean {
  for (let index = 0; index < values.length; index++) if (!Number.isFinite(values[index])) return true
  return false
}
