// The oracle's small models with LoRA, compiled down to graphs that are ready to be scheduled.

import { readFileSync } from 'node:fs'
import type { Graph } from '../../compiler/graph/node.ts'
import { compile } from '../../compiler/pipeline.ts'
import { nestProfile } from '../../compiler/schedule/gpuProfile.ts'
import { webgpu } from '../../devices/webgpu.ts'
import { gpt2 } from '../../models/gpt2.ts'
import { qwen2 } from '../../models/qwen2.ts'
import { usualOptimizer } from '../support/usualOptimizer.ts'

const targets = {
  gpt2: ['c_attn', 'c_proj', 'c_fc'],
  qwen2: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
}

/** A fixture's model with rank-8 adapters on everything, traced at `length` tokens. */
export function loraGraph(fixture: 'gpt2-small' | 'gpt2-odd' | 'qwen2-small' | 'qwen2-odd', length: number): Graph {
  const path = new URL(`../fixtures/oracle/${fixture}/model/config.json`, import.meta.url)
  const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
  const family = fixture.startsWith('gpt2') ? 'gpt2' : 'qwen2'
  const batch = { sequences: 1, length }
  const traced =
    family === 'gpt2'
      ? gpt2.trace(gpt2.readConfig(json, 'config.json'), batch)
      : qwen2.trace(qwen2.readConfig(json, 'config.json'), batch)
  const compiled = compile(traced.graph, traced.provenance, {
    name: fixture,
    adaptation: { kind: 'lora', options: { rank: 8, alpha: 16, targets: targets[family], modules: traced.modules } },
    optimizer: usualOptimizer,
    checkpoints: 'none',
    profile: nestProfile(webgpu),
  })
  return compiled.graph
}
