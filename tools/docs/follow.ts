// Follows one small layer through every stage and writes what each prints into docs/pipeline.md, between its markers.
// `node --import tsx tools/docs/follow.ts` rewrites the file; a test compares. Holds no text of its own.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { emitKernel } from '../../backends/neon/emit/index.ts'
import { isaOf } from '../../backends/neon/isa/index.ts'
import { emitShader } from '../../backends/wgsl/emit/index.ts'
import { nameValues } from '../../compiler/frontend/names.ts'
import { printGraph } from '../../compiler/graph/print.ts'
import { printDirective } from '../../compiler/kernel/directives.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { scheduleForGpu } from '../../compiler/schedule/gpu.ts'
import type { GpuProfile } from '../../compiler/schedule/gpuProfile.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { webgpu } from '../../devices/webgpu.ts'
import { traceLayer } from './traceLayer.ts'

const page = fileURLToPath(new URL('../../docs/pipeline.md', import.meta.url))
const source = fileURLToPath(new URL('./smallLayer.ts', import.meta.url))

/** A register tile small enough to be read; the real ones are in `backends/neon/isa`. */
const profile: ScheduleProfile = {
  name: 'a page',
  lanes: 4,
  tile: { rows: 2, vectors: 1 },
  privateCache: 1 << 18,
  threads: 2,
}

/** A workgroup's tile of 8 × 8, one element each, for the same reason; the limits are WebGPU's. */
const gpuProfile: GpuProfile = { ...webgpu, contraction: { invocations: 8, registers: 1, depth: 8 } }

/** Every stage as the compiler prints it, by the marker's name. */
export function followedStages(): ReadonlyMap<string, string> {
  const names = nameValues(source)
  const { graph, provenance } = traceLayer((place) => names.get(`${place.line}:${place.column}`))
  const [fn] = graph.functions
  if (!fn) throw new Error('the layer has no function')
  const [region, ...others] = scheduleFunction(graph, fn, profile).regions
  const [shader] = scheduleForGpu(graph, fn, gpuProfile)
  if (!region || !shader || others.length > 0) throw new Error('the layer is no longer one kernel')
  return new Map([
    ['source', readFileSync(source, 'utf8')],
    ['graph', printGraph(graph, provenance)],
    ['nest', printKernel(region.nest)],
    ['directives', region.directives.map(printDirective).join('\n')],
    ['kernel', printKernel(region.kernel)],
    ['neon', emitKernel(region.kernel, isaOf('neon'))],
    ['gpu-kernel', printKernel(shader.kernel)],
    ['wgsl', emitShader(shader.kernel, webgpu.limits).code],
  ])
}

/** The page with the fenced block behind each `<!-- follow: stage -->` replaced by what that stage prints. */
export function followedPage(text: string, stages: ReadonlyMap<string, string>): string {
  const met = new Set<string>()
  const filled = text.replace(
    /(<!-- follow: (\S+) -->\n```\w*\n)[^]*?(?=^```$)/gm,
    (_block, head: string, stage: string) => {
      const printed = stages.get(stage)
      if (printed === undefined) throw new Error(`the page asks for a stage '${stage}'`)
      met.add(stage)
      return `${head}${printed.trimEnd()}\n`
    },
  )
  for (const stage of stages.keys()) if (!met.has(stage)) throw new Error(`the page has no block for '${stage}'`)
  return filled
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(page, followedPage(readFileSync(page, 'utf8'), followedStages()))
}
