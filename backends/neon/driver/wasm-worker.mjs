// The worker threads in which a wasm program runs: thread 0 obeys the session's messages, the others help until the
// session closes. Plain JavaScript, so that it starts without a loader. Knows the program's exports only.

import fs from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'

/** Read at once, and the size of the buffer that frozen tensors go through where the memory itself cannot be read into. */
const PIECE = 4 << 20

const { module, memory, session, thread, stack } = workerData
const instance = new WebAssembly.Instance(module, {
  env: { memory },
  heddle: { now: () => performance.now() * 1000 },
})
instance.exports.__stack_pointer.value = stack

/** Copies a range of a file into the memory; a sentence when that fails. */
function load({ path, offset, bytes, address }) {
  let file
  try {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    file = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
    const status = fs.fstatSync(file)
    if (!status.isFile()) return 'this is not a regular file'
    if (offset + bytes > status.size) {
      return `the tensor ends at byte ${offset + bytes}, the file has ${status.size}`
    }
    const piece = new Uint8Array(Math.min(PIECE, bytes))
    for (let done = 0; done < bytes;) {
      const count = fs.readSync(file, piece, 0, Math.min(piece.length, bytes - done), offset + done)
      if (count === 0) return 'the file became shorter while it was read'
      new Uint8Array(memory.buffer, address + done, count).set(piece.subarray(0, count))
      done += count
    }
    return undefined
  } catch (error) {
    return error.code ?? String(error)
  } finally {
    if (file !== undefined) fs.closeSync(file)
  }
}

if (thread > 0) {
  instance.exports.heddle_wasm_help(session, thread)
} else {
  parentPort.on('message', ({ run, frozen }) => {
    if (frozen) {
      for (const [index, range] of frozen.entries()) {
        const problem = load(range)
        if (problem !== undefined) return parentPort.postMessage({ index, problem })
      }
      return parentPort.postMessage({})
    }
    try {
      return parentPort.postMessage({ code: instance.exports.heddle_wasm_run(session, run) })
    } catch (error) {
      return parentPort.postMessage({ trap: String(error) })
    }
  })
}
