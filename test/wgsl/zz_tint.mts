import { create } from 'webgpu'
const gpu = create(['backend=null'])
const adapter = await gpu.requestAdapter()
const device = await adapter!.requestDevice()
export async function tint(code: string) {
  device.pushErrorScope('validation')
  const m = device.createShaderModule({ code })
  const info = await m.getCompilationInfo()
  const pipe = device.createComputePipeline({ layout: 'auto', compute: { module: m } })
  const e = await device.popErrorScope()
  return [...info.messages.filter((x:any)=>x.type==='error').map((x: any) => `${x.lineNum}:${x.linePos} ${x.message}`), ...(e ? [e.message] : [])]
}
