// What is trained: low-rank adapters beside chosen weights (Hu et al. 2021), or the model's own parameters. Works on
// any graph that says which declared weights are linear modules; knows no model.

import { UserError } from '../diagnostic.ts'
import { elementCount } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import type { GraphBuilder } from '../graph/builder.ts'
import { isOp, rootsOf } from '../graph/node.ts'
import type { Declaration, Graph, Node } from '../graph/node.ts'
import { dropout } from './dropout.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'
import type { Rewrite } from './rebuild.ts'

/** A linear module of the model: the declared weight and which of its axes go in and come out, in stored order. */
export interface AdaptableModule {
  readonly path: string
  readonly weight: string
  readonly inputs: readonly Axis[]
  readonly outputs: readonly Axis[]
}

export interface LoraOptions {
  readonly rank: number
  readonly alpha: number
  /** Probability with which elements of an adapter's input are dropped in training. */
  readonly dropout?: number
  /** Scales by alpha / √rank (Kalajdzievski 2023) instead of alpha / rank. */
  readonly rslora?: boolean
  /** Names of modules: whole paths, or their last components (`q_proj`, `attn.c_proj`). */
  readonly targets: readonly string[]
  readonly modules: readonly AdaptableModule[]
}

/** Random streams of adapters begin here; a model's own dropout counts from 0. */
export const adapterStreams = 1 << 16

export function loraNames(module: AdaptableModule): { readonly down: string; readonly up: string } {
  return { down: `${module.path}.lora_A.weight`, up: `${module.path}.lora_B.weight` }
}

/**
 * Adds low-rank adapters: each contraction of a chosen weight W becomes x·W + (scale · dropout(x)·A)·B, with trainable
 * `${path}.lora_A.weight` stored [rank, in] and `${path}.lora_B.weight` stored [out, rank], PEFT's layout and first
 * values. Dropout acts in the function `loss` only.
 *
 * @throws UserError HD301 for an option out of range, HD302 for a target that matches no module
 */
export function lora(options: LoraOptions): Pass {
  checkOptions(options)
  return {
    name: 'lora',
    summary: `${options.targets.join(', ')} have adapters of rank ${options.rank}`,
    run: (graph, { provenance }) => {
      const modules = chosenModules(options)
      const builder = builderAfter(graph)
      const rank = builder.axis(
        freeName('rank', (name) => builder.hasAxis(name)),
        options.rank,
      )
      for (const module of modules) for (const one of adapterOf(module, rank)) builder.declare(one)
      const uses = new Map<AdaptableModule, number>()
      for (const fn of graph.functions) {
        // Functions are copied apart: what they share without dropout is one node again in the builder.
        const copier = new Copier(builder, provenance)
        const probability = fn.name === 'loss' ? (options.dropout ?? 0) : 0
        copier.add(rootsOf(fn), addAdapters(builder, modules, rank, { ...options, dropout: probability }, uses))
        builder.define(copier.fn(fn))
      }
      for (const module of modules) {
        if (!uses.has(module)) {
          throw new UserError('HD302', `the weight of '${module.path}' is not contracted directly`, {
            mend: 'leave it out of the targets',
          })
        }
      }
      return builder.finish()
    },
  }
}

function checkOptions({ rank, alpha, dropout: probability = 0, targets }: LoraOptions): void {
  if (!Number.isSafeInteger(rank) || rank < 1)
    throw new UserError('HD301', `lora: the rank is ${rank}`, { mend: 'it is a whole number from 1' })
  if (!(Number.isFinite(alpha) && alpha > 0))
    throw new UserError('HD301', `lora: alpha is ${alpha}`, { mend: 'it is a positive number' })
  if (!(probability >= 0 && probability < 1))
    throw new UserError('HD301', `lora: dropout is ${probability}`, { mend: 'it is at least 0 and below 1' })
  if (targets.length === 0) throw new UserError('HD301', 'lora: there are no targets')
}

function chosenModules({ targets, modules }: LoraOptions): AdaptableModule[] {
  for (const target of targets) {
    if (modules.some((module) => endsWith(module.path, target))) continue
    const ends = [...new Set(modules.map((module) => module.path.split('.').at(-1) ?? module.path))].sort()
    throw new UserError('HD302', `lora: no linear module is called '${target}'`, {
      mend: `there are ${ends.join(', ')}`,
    })
  }
  return modules.filter((module) => targets.some((target) => endsWith(module.path, target)))
}

/** A dotted name is the wanted one or ends with all its components. */
function endsWith(name: string, wanted: string): boolean {
  return name === wanted || name.endsWith(`.${wanted}`)
}

function freeName(name: string, taken: (name: string) => boolean): string {
  let free = name
  for (let suffix = 2; taken(free); suffix++) free = `${name}_${suffix}`
  return free
}

function adapterOf(module: AdaptableModule, rank: Axis): Declaration[] {
  const { down, up } = loraNames(module)
  // kaiming_uniform with a = √5, as PEFT starts A.
  const bound = Math.fround(1 / Math.sqrt(elementCount(module.inputs)))
  return [
    {
      name: down,
      role: 'trainable',
      dtype: 'f32',
      stored: [[rank], module.inputs],
      initial: { kind: 'uniform', bound },
    },
    {
      name: up,
      role: 'trainable',
      dtype: 'f32',
      stored: [module.outputs, [rank]],
      initial: { kind: 'constant', value: 0 },
    },
  ]
}

function addAdapters(
  b: GraphBuilder,
  modules: readonly AdaptableModule[],
  rank: Axis,
  options: LoraOptions,
  uses: Map<AdaptableModule, number>,
): Rewrite {
  const scale = options.alpha / (options.rslora ? Math.sqrt(options.rank) : options.rank)
  const byWeight = new Map(modules.map((module, index) => [module.weight, { module, index }]))
  const seen = new Map<AdaptableModule, number>()
  return (copy) => {
    if (!isOp(copy, 'dot')) return copy
    const found = adaptedUse(copy, byWeight)
    if (!found) return copy
    const { module, index, x } = found
    const use = seen.get(module) ?? 0
    seen.set(module, use + 1)
    uses.set(module, use + 1)
    const { down, up } = loraNames(module)
    const dropped = dropout(b, x, options.dropout ?? 0, adapterStreams + index + use * modules.length)
    // Scaled where it is narrow, so that neither pass multiplies whole activations by a number.
    const narrow = b.map('mul', b.dot(dropped, b.read(down), module.inputs), b.float(scale))
    return b.map('add', copy, b.dot(narrow, b.read(up), [rank]))
  }
}

/** The module whose weight is contracted here over all its inputs, and with what. */
function adaptedUse<M extends { readonly module: AdaptableModule }>(
  dot: Node<'dot'>,
  byWeight: ReadonlyMap<string, M>,
): (M & { readonly x: Node }) | undefined {
  for (const [place, operand] of dot.inputs.entries()) {
    const found = isOp(operand, 'read') ? byWeight.get(operand.attrs.name) : undefined
    const x = dot.inputs[1 - place]
    if (!found || !x) continue
    const { over } = dot.attrs
    const { inputs } = found.module
    if (over.length === inputs.length && inputs.every((axis) => over.includes(axis))) return { ...found, x }
  }
  return undefined
}

/**
 * Trains parameters of the model itself: all of them, or those named by a whole name, its last components (`bias`) or
 * its first (`transformer.h.11`). They are kept as f32 from then on; the loader fills them from the checkpoint.
 *
 * @throws UserError HD302 for a name that matches no parameter
 */
export function trainable(names: readonly string[] | 'all'): Pass {
  return {
    name: 'trainable',
    summary: names === 'all' ? 'all parameters are trained' : `${names.join(', ')} are trained`,
    run: (graph, { provenance }) => {
      const changed = chosenParameters(graph, names).map((declaration): Declaration => ({
        ...declaration,
        role: 'trainable',
        dtype: 'f32',
      }))
      const builder = builderAfter(graph, changed)
      const copier = new Copier(builder, provenance)
      copier.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

function chosenParameters(graph: Graph, names: readonly string[] | 'all'): Declaration[] {
  const parameters = [...graph.declarations.values()].filter(
    ({ role, dtype }) => role === 'frozen' && dtype !== 'i32' && dtype !== 'bool',
  )
  if (names === 'all') return parameters
  for (const name of names) {
    if (parameters.some((parameter) => matches(parameter.name, name))) continue
    const shown = parameters.slice(0, 8).map((parameter) => parameter.name)
    const more = parameters.length > shown.length ? ` and ${parameters.length - shown.length} more` : ''
    throw new UserError('HD302', `no parameter is called '${name}'`, { mend: `there are ${shown.join(', ')}${more}` })
  }
  return parameters.filter((parameter) => names.some((name) => matches(parameter.name, name)))
}

function matches(name: string, wanted: string): boolean {
  return endsWith(name, wanted) || name.startsWith(`${wanted}.`)
}
