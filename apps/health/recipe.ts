// The demo's recipe: the bundled model learns one person's own ranges from a few hundred of their records.

import { adamW, completions, cosine, lora, recipe } from '../../dsl/index.ts'
import { gpt2 } from '../../models/index.ts'

export default recipe({
  model: gpt2.from('./model'),
  adapt: lora({ rank: 8, alpha: 16, targets: ['c_attn', 'c_proj', 'c_fc'] }),
  data: completions('records.jsonl', { loss: 'completion' }),
  optimizer: adamW({ rate: cosine({ peak: 6e-3, warmup: 0.05 }), weightDecay: 0, clip: 1 }),
  batch: { sequences: 16, length: 64, steps: 200 },
  seed: 1,
})
