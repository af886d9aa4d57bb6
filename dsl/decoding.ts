// A language model read for generating text: what earlier tokens have computed for later ones, their keys and values, is
// kept from call to call. Defines `prefill` for the tokens of a prompt, `decode` for one token more, and `clear` for the
// next text. Knows no architecture and no choice of tokens.

import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import { isOp, topological } from '../compiler/graph/node.ts'
import type { Node } from '../compiler/graph/node.ts'
import { batch, bindWellKnown, seq } from './axes.ts'
import { logitsOf, output } from './languageModel.ts'
import type { BuiltParts } from './languageModel.ts'
import { userError } from './trace.ts'
import type { KeptKeys, Operation } from './trace.ts'

interface Call {
  readonly name: string
  /** Inputs: the tokens, and where they stand in their texts. */
  readonly tokens: string
  readonly positions: string
  /** A single token of each sequence, rather than as many as `seq` has at run time. */
  readonly one: boolean
}

/**
 * Defines three functions over states `kept/…` that hold a text of up to `capacity` tokens for each sequence:
 *
 * - `prefill` takes `tokens` (i32 over batch and seq), the `positions` where they stand in their texts (likewise) and the
 *   index `last` of each sequence's last one (i32 over batch), behind which is padding;
 * - `decode` takes a `token` of each sequence and its `place` (i32 over batch and an axis of one);
 * - `clear` forgets what stands at the first `context` places of all texts.
 *
 * The first two give the `logits` (batch, vocabulary) of each sequence's last token; for them the run-time extent `context`
 * is at least one more than the greatest position. `build` runs the model's function, once for each size of a call.
 *
 * @throws UserError HD114 where tokens meet in another way than by attention
 */
export function defineDecoding(op: Operation, capacity: number, build: () => BuiltParts): void {
  const { builder: b, trace } = op
  const context = b.axis(trace.freeName('context'), capacity, 'context')
  define({ name: 'prefill', tokens: 'tokens', positions: 'positions', one: false })
  define({ name: 'decode', tokens: 'token', positions: 'place', one: true })
  const kept = [...b.declarations()].filter(({ role }) => role === 'state')
  const writes = kept.map(({ name, stored }) => ({ name, node: b.broadcast(b.float(0), stored.flat()) }))
  b.define({ name: 'clear', outputs: [], writes })

  function define({ name, tokens, positions, one }: Call): void {
    trace.nextReading()
    bindWellKnown(trace, one)
    const sequences = op.axis(batch)
    const along = op.axis(seq)
    const declare = (input: string, axes: readonly GraphAxis[]): void =>
      b.declare({ name: input, role: 'input', dtype: 'i32', stored: axes.map((axis) => [axis]) })
    declare(tokens, [sequences, along])
    declare(positions, [sequences, along])
    if (!one) declare('last', [sequences])
    const isToken = one ? undefined : b.map('intLessEqual', b.iota(along), b.read('last'))
    const kept: KeptKeys = { context, isToken, writes: new Map() }
    trace.reading = { positions, kept }
    const parts = build()
    const hidden = parts.norm(parts.blocks(parts.embed(op.wrap<string, 'i32'>(b.read(tokens)))))
    const states = op.node(hidden, 'the normalised states', 'f32')
    const last = one ? b.pick(states, along, 0) : b.gather(states, b.read('last'), along)
    const logits = logitsOf(op, parts, op.wrap(last), [sequences, op.axis(parts.vocabulary)])
    const writes = [...kept.writes].map(([state, node]) => ({ name: state, node }))
    refuseOtherMeetings(op, [logits, ...kept.writes.values()], new Set([last, ...kept.writes.values()]))
    b.define({ name, outputs: [output(op, 'logits', logits)], writes })
  }
}

/** HD114 where an axis of tokens ends in a node that is not among the `allowed`: it would see the call's tokens only. */
function refuseOtherMeetings({ trace }: Operation, roots: readonly Node[], allowed: ReadonlySet<Node>): void {
  for (const node of topological(roots)) {
    if (allowed.has(node) || isOp(node, 'rename')) continue
    const lost = node.inputs
      .flatMap((input) => input.axes)
      .find((axis) => trace.sequences.has(axis) && !node.axes.includes(axis))
    if (!lost) continue
    throw userError(
      'HD114',
      `'${node.op}' goes over '${lost.name}', of which only the call's own tokens are there`,
      trace.provenance.place(node) ?? { file: '' },
      'where keys and values are kept, tokens meet by attend(…) alone; --recompute keeps none',
    )
  }
}
