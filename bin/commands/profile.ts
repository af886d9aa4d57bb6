// `heddle profile`: measures the machine it runs on and writes what it found as a device profile, which `--device` takes.
// The measuring is `evaluate/speed/device`.

import os from 'node:os'
import path from 'node:path'
import type { ToolChainPreference } from '../../backends/neon/toolchain/index.ts'
import { measureDevice } from '../../evaluate/speed/device/measure.ts'
import { refuseUnwritable, writeOutput } from '../../formats/files.ts'
import { profileLines, storageLines } from '../deviceView.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import { Progress } from '../progress.ts'
import { RoundsInterruption } from '../roundsInterruption.ts'

export interface ProfileOptions {
  readonly toolchain: Exclude<ToolChainPreference, 'arm64'>
  readonly out: string
  /** Where the temporary file goes; the system's folder for such unless stated. */
  readonly folder?: string
  readonly quick?: boolean
  readonly json?: boolean
}

/**
 * Measures, writes and shows.
 *
 * @throws UserError as `measureDevice` states, HD405 where the profile cannot be written
 */
export async function profile(options: ProfileOptions): Promise<number> {
  const output = outputOf(options)
  const { toolchain, out, folder = os.tmpdir(), quick = false } = options
  // Before a minute of measuring.
  refuseUnwritable(out, 'nothing was measured')
  // Half of a profile is of no use to anybody: one signal ends it.
  const interruption = new RoundsInterruption()
  const progress = new Progress(output)
  try {
    const title = `${(os.cpus()[0]?.model ?? os.arch()).replace(/[^\x20-\x7e]+/g, ' ').trim() || os.arch()}, measured`
    const measuring = measureDevice(
      { toolchain, folder, quick, name: nameOf(out), title: title.slice(0, 100), kill: interruption.kill },
      {
        compiling: (chain) => {
          output.say(`measuring with ${chain}; storage in ${folder} …`)
          output.event('measuring', { toolchain: chain, folder })
        },
        progress: (what, done, all) => progress.update(what, done, all),
      },
    )
    const { profile: found, storage } = await measuring.finally(() => progress.end())
    writeOutput(out, `${JSON.stringify(found, null, 2)}\n`)
    output.event('profile', { file: out, profile: found, requests: storage?.requests ?? null })
    for (const line of profileLines(found)) output.say(line)
    if (storage) for (const line of ['', ...storageLines(storage)]) output.say(line)
    const remark = quick ? ' (--quick: good for a look)' : ''
    output.say(`\nwritten to ${shownPath(path.resolve(out))}${remark}; --device ${out} takes it`)
    return exitCodes.ok
  } finally {
    interruption.end()
  }
}

/** The file's name as a profile's may be. */
function nameOf(out: string): string {
  const name = path.basename(out, '.json').toLowerCase().replace(/[^a-z\d]+/g, '-').replace(/^-+|-+$/g, '') // prettier-ignore
  return name === '' ? 'this-machine' : name.slice(0, 64)
}
