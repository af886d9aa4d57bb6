// The worker thread in which clang for wasm runs: it takes seconds of CPU and hundreds of MB, which the caller's thread
// should not feel. Plain JavaScript, so that it starts without a loader. Knows flags and files only.

import { parentPort } from 'node:worker_threads'
import { commands } from '@yowasp/clang'

// The package prints how much of itself it has read; nobody listens, and a stream to the other thread would keep that alive
// for as long as this one.
process.stdout.write = () => true

/** More than any useful error message. */
const LONGEST_LOG = 1 << 20

parentPort.on('message', async ({ job, flags, files, result }) => {
  let log = ''
  const decoder = new TextDecoder()
  const listen = (bytes) => {
    if (bytes !== null && log.length < LONGEST_LOG) log += decoder.decode(bytes, { stream: true })
  }
  try {
    const made = await commands['clang++'](flags, files, { stdout: listen, stderr: listen })
    parentPort.postMessage({ job, bytes: made[result], log })
  } catch (error) {
    parentPort.postMessage({ job, log: `${log}\n${error instanceof Error ? error.stack : String(error)}` })
  }
})
