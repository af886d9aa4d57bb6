// Tests that write to a full disk, which Linux plays as /dev/full; elsewhere they are pending and say why.

import { existsSync } from 'node:fs'

export const fullDisk = '/dev/full'

export function itOnFullDisk(title: string, test: () => void | Promise<void>): void {
  if (existsSync(fullDisk)) it(title, test)
  else it(`${title} (not run: this system has no ${fullDisk})`)
}
