// What the rest of the backend needs of the emitter.

export { emitShader, workgroupCounts } from './kernel.ts'
export type { Shader, ShaderOptions } from './kernel.ts'
