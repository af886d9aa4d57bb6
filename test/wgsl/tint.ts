// Tint, as Dawn brings it along: a device that runs nothing but checks every shader.

import { create } from 'webgpu'

/** What is asked of a device here. */
interface Checker {
  createShaderModule(descriptor: { code: string }): {
    getCompilationInfo(): Promise<{ messages: readonly { type: string; lineNum: number; message: string }[] }>
  }
  destroy(): void
}

/** Opens a device; it must stay referenced while it is used, and be closed. */
export async function openTint(): Promise<{ errors(code: string): Promise<string[]>; close(): void }> {
  const gpu = create(['backend=null'])
  const adapter = await gpu.requestAdapter()
  if (!adapter) throw new Error('Dawn has no null adapter')
  const device = (await adapter.requestDevice()) as unknown as Checker
  return {
    async errors(code) {
      const info = await device.createShaderModule({ code }).getCompilationInfo()
      // Naming them here keeps Dawn's objects from being collected while a promise of theirs is open.
      if (gpu === undefined || adapter === undefined) return []
      return info.messages.filter((one) => one.type === 'error').map((one) => `line ${one.lineNum}: ${one.message}`)
    },
    close: () => device.destroy(),
  }
}
