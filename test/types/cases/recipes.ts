// Lines that end in "wrong" must be refused by type; all others must pass.
import {
  adamW,
  celsius,
  chat,
  completions,
  constant,
  cosine,
  fullFineTuning,
  lora,
  nextToken,
  recipe,
  text,
} from 'heddle'
import { qwen2 } from 'heddle/models'

const model = qwen2.from('Qwen/Qwen2.5-0.5B')
const optimizer = adamW({ rate: constant(1e-4) })
const data = completions('records.jsonl', { loss: 'completion' })
const adapt = fullFineTuning()
const batch = { sequences: 1, length: 64, steps: 3 }

export default recipe({
  model,
  adapt: lora({ rank: 8, alpha: 16, targets: ['q_proj', 'self_attn.v_proj'] }),
  data,
  objective: nextToken(),
  optimizer: adamW({ rate: cosine({ peak: 2e-4, warmup: 0.03 }), clip: 1 }),
  batch: { sequences: 1, length: 256, accumulate: 8, epochs: 2 },
  weights: { frozen: 'as stored' },
  checkpoints: 'every layer',
  seed: 7,
  save: { every: 50 },
  evaluate: { data: 'heldout.jsonl', every: 20, patience: 3 },
  energy: { dutyCycle: 0.8, pauseBelowBattery: 0.2, pauseAbove: celsius(42, 'battery'), whenCharging: true },
})
export const a = recipe({ model, adapt, data, optimizer, batch, budget: { dutyCycle: 1 } }) // wrong
export const o = recipe({ model, adapt, data, optimizer, batch, energy: { pauseAbove: 42 } }) // wrong
export const p = recipe({ model, adapt, data, optimizer, batch, energy: { pauseBelow: 0.2 } }) // wrong
export const b = recipe({ model, adapt, data: text('notes.jsonl'), optimizer, batch, weights: { frozen: 'bf16' } }) // wrong
export const c = recipe({ model, adapt: lora({ rank: 8, alpha: 16, targets: ['c_attn'] }), data, optimizer, batch }) // wrong
export const d = recipe({ model, adapt, data, optimizer, batch: { sequences: 1, length: 64, steps: 3, epochs: 2 } }) // wrong
export const e = recipe({ model, adapt, data, optimizer, batch: { sequences: 1, length: 64 } }) // wrong
export const f = recipe({ model, adapt, optimizer, batch }) // wrong
export const g = recipe({ model: 'Qwen/Qwen2.5-0.5B', adapt, data, optimizer, batch }) // wrong
export const h = completions('records.jsonl', { loss: 'assistant' }) // wrong
export const i = lora({ rank: 8, alpha: 16, targets: ['q_proj'], dora: true }) // wrong
export const j = adamW({ rate: 1e-4 }) // wrong
export const k = recipe({ model, adapt, data, optimizer, batch, checkpoints: 'some' }) // wrong
export const l = recipe({ model, adapt, data, optimizer, batch, evaluate: { data: 'a.jsonl', share: 0.1, every: 5 } }) // wrong
export const m = recipe({ model, adapt, data, optimizer, batch, evaluate: { share: 0.1 } }) // wrong
export const n = recipe({ model, adapt, data, optimizer, batch, save: { minutes: 5 } }) // wrong
export const z = chat('talks.jsonl', { loss: 'user' }) // wrong
export const y = recipe({
  model,
  adapt,
  data: chat('talks.jsonl', { loss: 'assistant', pack: true }),
  optimizer,
  batch,
})
