// Opens a session on a compiled program with a model's weights: frozen tensors are bound where they lie in their files,
// trained ones are widened to float32 and sent. Knows the driver and the checkpoint, no recipe.

import { openSession } from '../backends/neon/driver/index.ts'
import type { FrozenRange, Session, SessionOptions } from '../backends/neon/driver/index.ts'
import { InternalError } from '../compiler/diagnostic.ts'
import type { Program } from '../compiler/plan/program.ts'
import { readTensorF32 } from '../formats/safetensors.ts'
import type { CheckpointBinding } from './bindCheckpoint.ts'

/** Where the program's frozen tensors lie, by their index. */
export function frozenRanges(program: Program, binding: CheckpointBinding): FrozenRange[] {
  const ranges = Array.from({ length: program.frozenCount }, (): FrozenRange | undefined => undefined)
  for (const value of program.values) {
    if (value.place.space !== 'frozen') continue
    const { file, begin, bytes } = binding.entry(value.name)
    ranges[value.place.index] = { path: file, offset: begin, bytes }
  }
  return ranges.map((range, index) => {
    if (!range) throw new InternalError(`frozen place ${index} belongs to no value`)
    return range
  })
}

/**
 * A session whose every value is set: adapters by their first values, trained parameters from the checkpoint.
 *
 * @throws UserError as `openSession` and `readTensorF32` state
 */
export async function openTraining(
  program: Program,
  binding: CheckpointBinding,
  options: Omit<SessionOptions, 'frozen'>,
): Promise<Session> {
  const session = await openSession(program, {
    ...options,
    frozen: frozenRanges(program, binding),
  })
  try {
    for (const { name, role, initial } of program.values) {
      // One tensor at a time: a second copy of the model never exists here.
      if (role === 'trainable' && !initial) await session.write(name, readTensorF32(binding.entry(name)))
    }
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}
