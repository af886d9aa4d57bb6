// How many bytes a run may hold: what was asked for, or what a device lets one app have. Knows no program.

import { UserError } from '../compiler/diagnostic.ts'
import type { DeviceProfile } from '../devices/index.ts'

/**
 * Bytes that a run may hold on a device. What was asked for may be more than the device grants an app, not more than it has.
 *
 * @throws UserError HD823 where more was asked for than the device has
 */
export function memoryBudgetOf(
  { name, memoryBudget, figures }: Pick<DeviceProfile, 'name' | 'memoryBudget' | 'figures'>,
  asked?: number,
): number {
  const { bytes } = figures.memory
  if (asked === undefined || asked <= bytes) return asked ?? memoryBudget
  throw new UserError('HD823', `a budget of ${shown(asked)} is above the memory of ${name}, ${shown(bytes)}`, {
    mend: `a run may have at most what there is; without --memory it has ${shown(memoryBudget)}`,
  })
}

function shown(bytes: number): string {
  const [amount, unit] = bytes < 2 ** 20 ? [bytes, 'bytes'] : [bytes / 2 ** 20, 'MiB']
  return `${amount.toLocaleString('en', { maximumFractionDigits: 1 })} ${unit}`
}
