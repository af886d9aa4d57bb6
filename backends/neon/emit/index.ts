// What the rest of the backend needs of the emitter.

export { emitKernel, scratchBytes } from './kernel.ts'
export type { KernelOptions } from './kernel.ts'
export { structBytes, tableBytes } from './tableBytes.ts'
export { emitPrelude, emitProgram } from './program.ts'
