// What a tool chain's programs run on here, with what searches have found for it; and the device that a recipe is
// looked at for. Knows where what was found is kept.

import os from 'node:os'
import path from 'node:path'
import { cacheFolder, chooseToolChain } from '../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../backends/neon/toolchain/index.ts'
import { fasterThanRule, findDevice, hostDevice, readFound, wasmDevice } from '../devices/index.ts'
import type { DeviceProfile, MachineKey } from '../devices/index.ts'
import type { LoadedRecipe } from './loadRecipe.ts'

/** Whose choices are whose: those of one machine and compiler are not another's. */
export function machineKey(chain: ToolChain): MachineKey {
  const processor = (os.cpus()[0]?.model ?? '').trim().slice(0, 300)
  return {
    isa: chain.isa.name,
    processor: processor === '' ? os.arch() : processor,
    toolchain: chain.identity.slice(0, 300),
  }
}

/** Where searches keep what they find for an instruction set. */
export function schedulesFile(chain: ToolChain): string {
  return path.join(cacheFolder(), 'schedules', `${chain.isa.name}.json`)
}

/** The host, or WebAssembly in this process, as the rules schedule for it. */
export function ruledDeviceOf(chain: ToolChain): DeviceProfile {
  return chain.name === 'wasm' ? wasmDevice() : hostDevice(chain.isa.name)
}

/** The same with what searches have found. A file of schedules that is of no use is passed over. */
export function deviceOf(chain: ToolChain): DeviceProfile {
  const device = ruledDeviceOf(chain)
  // What an emulator runs fast says nothing of the processor.
  if (chain.launcher.length > 0) return device
  const { found } = readFound(schedulesFile(chain), machineKey(chain))
  return found.length === 0 ? device : { ...device, found: fasterThanRule(found) }
}

/** The profile of a name or a file, as `findDevice` finds it; of this machine, with what searches have found. */
export async function deviceByName(name: string, folder?: string): Promise<DeviceProfile> {
  // Only this machine has to be asked what it is.
  if (name === 'host') return { ...deviceOf(await chooseToolChain('auto')), name }
  return name === 'wasm' ? deviceOf(await chooseToolChain('wasm')) : findDevice(name, 'neon', folder)
}

/**
 * The device that a recipe is looked at for: the one that a command names, whose files are meant from the working directory;
 * else the recipe's own, from its folder; else this machine.
 *
 * @throws UserError as `findDevice` states
 */
export function deviceFor(named: string | undefined, { recipe, folder }: LoadedRecipe): Promise<DeviceProfile> {
  return named === undefined ? deviceByName(recipe.device ?? 'host', folder) : deviceByName(named)
}
