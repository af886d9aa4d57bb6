// `heddle devices`: the device profiles that a name stands for, and files beside them.

import { findDevice, shippedNames } from '../../devices/index.ts'
import { deviceByName } from '../../train/hostDevice.ts'
import { deviceLines } from '../deviceView.ts'
import { exitCodes, outputOf } from '../output.ts'

export interface DevicesOptions {
  readonly json?: boolean
}

/**
 * Prints a row for this machine, for each shipped profile and for each file.
 *
 * @throws UserError as `findDevice` states, for the files
 */
export async function devices(files: readonly string[], options: DevicesOptions): Promise<number> {
  const output = outputOf(options)
  const given = files.map((name) => findDevice(name, 'neon'))
  const own = await Promise.all(['host', 'wasm'].map((name) => deviceByName(name)))
  const all = [...own, ...shippedNames.map((name) => findDevice(name, 'neon')), ...given]
  for (const { name, title, isa, cores, figures } of all) {
    output.event('device', { name, title, isa, usedCores: cores, figures })
  }
  for (const line of deviceLines(all)) output.say(line)
  return exitCodes.ok
}
