// Phones by memory class. Data only.

import type { DeviceProfile } from './device.ts'

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

export const phone8gb: DeviceProfile = {
  name: 'phone-8gb',
  title: 'a phone with 8 GB of memory',
  isa: 'neon',
  // The two fastest and two of the middle cores; the small ones would hold the others up at every barrier.
  cores: 4,
  privateCache: 512 * KIBIBYTE,
  memoryBudget: 2048 * MEBIBYTE,
  runtimeBytes: 4 * MEBIBYTE,
  source:
    'class figures, not measured: 512 KiB of private cache on the big cores of Arm designs since the Cortex-A76; ' +
    'a quarter of the memory for the app in the foreground',
}
