// Progress of a model's download: a bar on a terminal, a line per file elsewhere.

import { SingleBar } from 'cli-progress'
import type { Progress } from '../formats/hub.ts'
import { mebibytes } from './output.ts'
import type { Output } from './output.ts'

/** What `resolveModel` tells of its progress, shown. */
export function downloadProgress(output: Output): (progress: Progress) => void {
  let current: string | undefined
  let bar: SingleBar | undefined
  return ({ file, received, total }) => {
    if (file !== current) {
      current = file
      output.event('download', { file, total })
      if (process.stdout.isTTY && !output.isJson) {
        bar = new SingleBar({ format: `${file} {bar} {percentage} %  {eta_formatted} left`, barsize: 24 })
        bar.start(Math.max(total, 1), 0)
      } else output.say(`downloading ${file} (${mebibytes(total)} MiB)`)
    }
    bar?.update(received)
    if (received >= total) {
      bar?.stop()
      bar = undefined
    }
  }
}
