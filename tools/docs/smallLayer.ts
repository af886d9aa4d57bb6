// The layer that docs/pipeline.md follows from source to C++ and WGSL. Only the language is used here.

import { axis, gelu, linear } from '../../dsl/index.ts'
import type { Axis, ParameterScope, Tensor } from '../../dsl/index.ts'

type Input = Tensor<'batch' | 'seq' | 'embed'>

/** A linear layer with bias, stored (out, in) as PyTorch does, and GELU; `input` makes what it is applied to. */
export function smallLayer(p: ParameterScope, input: (embed: Axis<'embed'>) => Input): Tensor<'batch' | 'seq' | 'mlp'> {
  const embed = axis('embed', 48)
  const mlp = axis('mlp', 64)
  const x = input(embed)
  const wide = linear(x, p, 'fc', [mlp, embed], { bias: true })
  return gelu(wide, 'tanh')
}
