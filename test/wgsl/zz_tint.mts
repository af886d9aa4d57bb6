import { create } from 'webgpu'
const gpu = create(['backend=null'])
const keep = globalThis as any
keep.gpu = gpu
const adapter = await gpu.requestAdapter()
keep.adapter = adapter
const device = await adapter!.requestDevice()
keep.device = device
export async function tint(code: string) {
  const m = device.createShaderModule({ code })
  const info = await m.getCompilationInfo()
  return [...info.messages.filter((x:any)=>x.type==='error').map((x: any) => `${x.lineNum}:${x.linePos} ${x.message}`)]
}
