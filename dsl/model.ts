// A model is a function from its configuration to a language model; here it is run, once per trace, and what it built
// becomes a graph with the functions `loss` and `predict`. Knows no architecture.

import { InternalError, UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import type { Graph, Provenance } from '../compiler/graph/node.ts'
import { bindWellKnown } from './axes.ts'
import type { Tensor } from './checks.ts'
import { defineDecoding } from './decoding.ts'
import { declareInputs, defineFunctions, partsOf } from './languageModel.ts'
import type { BuiltParts, LanguageModel } from './languageModel.ts'
import { parameterScope } from './parameters.ts'
import type { ParameterScope } from './parameters.ts'
import { callPlace, plainPlace, thrownAt, thrownInside, writtenAt } from './place.ts'
import { beginOperation, Operation, Trace, within } from './trace.ts'
import type { LinearModule, TraceOptions } from './trace.ts'

/** What tracing a model gives: the graph and what stands beside it. */
export interface TracedModel {
  readonly graph: Graph
  readonly provenance: Provenance
  /** Every linear module with its stored layout, in the order the model uses them. */
  readonly modules: readonly LinearModule[]
  /** Random streams the model's own dropout took; an adaptation's begin here. */
  readonly streams: number
}

/** A model together with where its checkpoint is: a Hugging Face id or a local directory. */
export interface ModelReference<Targets extends string = string> {
  readonly model: string
  readonly source: string
  /** How the compiler reads configuration and builds the graph; not printed. */
  readonly definition: ModelDefinition<unknown, Targets>
}

export interface ModelDefinition<Config, Targets extends string = string> {
  readonly name: string
  /** Last path components of its linear modules, for choosing what to adapt. */
  readonly targets: readonly Targets[]
  /** Checks a parsed `config.json`. UserError HD107 for a wrong key, HD108 for a setting without support. */
  readConfig(json: unknown, file: string): Config
  /** Names the checkpoint: a Hugging Face id (`Qwen/Qwen2.5-0.5B`) or a directory. */
  from(idOrDirectory: string): ModelReference<Targets>
  /** Builds the graph for a micro-batch. UserError HD1xx at the researcher's line. */
  trace(config: Config, options: TraceOptions): TracedModel
}

export interface ModelOptions<Config, Targets extends string> {
  readonly readConfig?: (json: unknown, file: string) => Config
  /** Last path components of the linear modules. */
  readonly targets?: readonly Targets[]
}

/** What tells one layer from the next: its element of the list, or its number where only a count was given. */
export type Each<L> = L extends readonly (infer E)[] ? E : number

/**
 * A stack of layers, parameters under `prefix.0`, `prefix.1`, … of the checkpoint. `layers` is how many there are, or a
 * list with an element for each, by which layers may differ: `build` gets the layer's number, or its element.
 *
 * @throws UserError HD109 inside another layer, HD104 without a layer, HD103 when the result lies on other axes than x
 */
export function layer<A extends string, const L extends number | readonly unknown[]>(
  layers: L,
  prefix: string,
  build: (x: Tensor<A>, p: ParameterScope, each: Each<L>) => Tensor<A>,
): (x: Tensor<A>) => Tensor<A> {
  const place = callPlace()
  return (x) => {
    const op = beginOperation('layer', place)
    const { trace, builder } = op
    const count = typeof layers === 'number' ? layers : layers.length
    if (builder.layer !== undefined) op.fail('HD109', `'${prefix}' stands inside another repeated layer`)
    if (!Number.isSafeInteger(count) || count < 1) op.fail('HD104', `'${prefix}' is repeated ${count} times`)
    const axes = op.node(x, 'x', 'f32').axes
    let value = x
    try {
      for (let index = 0; index < count; index++) {
        builder.layer = index
        trace.scope = `${prefix}.${index}`
        const each = (typeof layers === 'number' ? index : layers[index]) as Each<L>
        value = build(value, parameterScope(trace.scope), each)
        const result = op.node(value, `the result of '${prefix}'`, 'f32')
        op.on(axes, result, `the result of '${prefix}'`)
        op.on(result.axes, op.node(x, 'x'), 'the input of the layer')
      }
    } finally {
      builder.layer = undefined
      trace.scope = ''
    }
    return value
  }
}

/**
 * Defines a model: a function from its configuration to `causalLM(…)`. Axes and parameters are made inside it; `p` makes
 * those outside the repeated layers.
 */
export function defineModel<Config, const Targets extends string = string>(
  name: string,
  build: (config: Config, p: ParameterScope) => LanguageModel,
  options: ModelOptions<Config, Targets> = {},
): ModelDefinition<Config, Targets> {
  const place = callPlace()
  const definition: ModelDefinition<Config, Targets> = {
    name,
    targets: Object.freeze([...(options.targets ?? [])]),
    readConfig: options.readConfig ?? ((json) => json as Config),
    from: (source) => reference(definition, source, callPlace()),
    trace: (config, traceOptions) => traceModel(definition.name, (p) => build(config, p), traceOptions, place),
  }
  return Object.freeze(definition)
}

function reference<Config, Targets extends string>(
  definition: ModelDefinition<Config, Targets>,
  source: string,
  place: Place,
): ModelReference<Targets> {
  if (typeof source !== 'string' || source.trim() === '') {
    throw new UserError('HD109', `from: ${definition.name} needs a Hugging Face id or a directory`, {
      place: plainPlace(place),
    })
  }
  const made = { model: definition.name, source }
  Object.defineProperty(made, 'definition', { value: definition, enumerable: false })
  return writtenAt(Object.freeze(made) as unknown as ModelReference<Targets>, place)
}

function traceModel(
  name: string,
  build: (p: ParameterScope) => LanguageModel,
  options: TraceOptions,
  place: Place,
): TracedModel {
  for (const size of [options.sequences, options.length, options.kept ?? 1]) {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new UserError('HD104', `${name}: a batch cannot have ${options.sequences} × ${options.length} tokens`)
    }
  }
  const trace = new Trace(options)
  return within(trace, () => {
    const op = new Operation(name, trace, place)
    const parts = (): BuiltParts =>
      partsOf(build(parameterScope(''))) ?? op.fail('HD109', 'the function of a model returns causalLM(…)')
    ownErrors(name, () =>
      op.guard(() => {
        if (options.kept !== undefined) return defineDecoding(op, options.kept, parts)
        bindWellKnown(trace)
        declareInputs(op)
        defineFunctions(op, parts())
      }),
    )
    const { builder, provenance, modules, streams } = trace
    return { graph: builder.finish(), provenance, modules, streams }
  })
}

/** Runs the researcher's functions; what they themselves throw is told with the line it came from. */
function ownErrors<Result>(name: string, run: () => Result): Result {
  try {
    return run()
  } catch (error) {
    if (error instanceof UserError || error instanceof InternalError) throw error
    if (error instanceof Error && thrownInside(error)) throw error
    const place = thrownAt(error)
    const message = error instanceof Error ? error.message : String(error)
    throw new UserError('HD113', `${name}: the model's own code threw: ${message.slice(0, 300)}`, {
      ...(place ? { place } : {}),
      cause: error,
    })
  }
}
