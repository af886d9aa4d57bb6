// An oracle case as a traced model with its values, and training runs on the graph interpreter. Only for tests.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import type { Scalars } from '../../compiler/graph/scalars.ts'
import { countElements, extentOf, fromStored, makeTensor, scalarTensor, toStored } from '../../compiler/graph/tensor.ts'
import type { Extents, Numbers, Tensor } from '../../compiler/graph/tensor.ts'
import { sortAxes } from '../../compiler/graph/axis.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import { adamW } from '../../compiler/transform/optimizer.ts'
import { evaluation } from '../../compiler/transform/evaluation.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { lora, trainable } from '../../compiler/transform/adapt.ts'
import type { Pass } from '../../compiler/transform/pass.ts'
import type { ModelDefinition, TracedModel } from '../../dsl/model.ts'
import { modelFor } from '../../models/index.ts'
import { readOracleSafetensors } from '../support/oracle.ts'
import type { OracleBatch, TrainingOracle } from '../support/oracle.ts'

const dtypes = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const

export interface TracedCase {
  readonly oracle: TrainingOracle
  readonly traced: TracedModel
  /** Checkpoint and adapter in stored order, by declared name. */
  readonly stored: ReadonlyMap<string, Float32Array>
}

/** `definition` is the architecture, where `models/` has none for the case. */
export function traceCase(
  oracle: TrainingOracle,
  sequences = oracle.batch.lengths.length,
  definition?: ModelDefinition<unknown>,
): TracedCase {
  const config = JSON.parse(readFileSync(join(oracle.modelDirectory, 'config.json'), 'utf8')) as unknown
  const model = definition ?? modelFor(config, 'config.json')
  const length = oracle.batch.tokens[0]?.length ?? 0
  const files = readdirSync(oracle.modelDirectory).filter((name) => name.endsWith('.safetensors'))
  const tensors = new Map(files.flatMap((file) => [...readOracleSafetensors(join(oracle.modelDirectory, file))]))
  // What is trained is held in float32, whatever the file has.
  const storedDType = (name: string): DType => {
    const found = tensors.get(name) ?? tensors.get(name.replace(/^transformer\./, ''))
    return oracle.lora && found ? dtypes[found.dtype] : 'f32'
  }
  const traced = model.trace(model.readConfig(config, 'config.json'), {
    sequences,
    length,
    packed: oracle.batch.segments !== undefined,
    storedDType,
  })
  const stored = new Map<string, Float32Array>()
  for (const [name, tensor] of tensors) {
    stored.set(traced.graph.declarations.has(name) ? name : `transformer.${name}`, tensor.values)
  }
  if (oracle.adapterDirectory) {
    const path = join(oracle.adapterDirectory, 'adapter_model.safetensors')
    for (const [name, tensor] of readOracleSafetensors(path)) stored.set(declaredName(name), tensor.values)
  }
  return { oracle, traced, stored }
}

/** The oracle's name of a tensor as the graph declares it. */
export function declaredName(name: string): string {
  return name.replace(/^base_model\.model\./, '')
}

/** What a case adapts: LoRA as PEFT did, or everything. */
export function adaptation({ oracle, traced }: TracedCase, dropout = 0): Pass {
  return oracle.lora ? lora({ ...oracle.lora, dropout, modules: traced.modules }) : trainable('all')
}

export function optimizer({ optimizer: o }: TrainingOracle): Pass {
  return adamW({
    schedule: { kind: 'cosine', peak: o.peakRate, warmup: o.warmupSteps, total: o.steps },
    beta1: o.betas[0],
    beta2: o.betas[1],
    epsilon: o.epsilon,
    weightDecay: o.weightDecay,
    clip: o.clipNorm,
  })
}

export function trainingPasses(one: TracedCase, simplify: readonly Pass[] = []): Pass[] {
  return [adaptation(one), evaluation(), ...simplify, differentiate(), optimizer(one.oracle), ...simplify]
}

export function transformed(traced: TracedModel, passes: readonly Pass[]): Graph {
  const context = { provenance: traced.provenance }
  return passes.reduce((graph, pass) => pass.run(graph, context), traced.graph)
}

export function through(graph: Graph, ...passes: readonly Pass[]): Graph {
  const context = { provenance: new Provenance() }
  return passes.reduce((rest, pass) => pass.run(rest, context), graph)
}

/** Runs functions one after another, keeping what they write. */
export class Session {
  readonly graph: Graph
  readonly values = new Map<string, Tensor>()
  readonly #arithmetic: Scalars<number>
  #extents: Extents

  constructor(graph: Graph, arithmetic: Scalars<number>, extents: Extents, stored: ReadonlyMap<string, Numbers>) {
    this.graph = graph
    this.#arithmetic = arithmetic
    this.#extents = extents
    for (const declaration of graph.declarations.values()) {
      const given = stored.get(declaration.name)
      if (given) this.values.set(declaration.name, fromStored(declaration, Float64Array.from(given), extents))
      else if (declaration.role === 'state') this.values.set(declaration.name, this.#first(declaration.name))
    }
  }

  #first(name: string): Tensor {
    const declaration = this.graph.declarations.get(name)
    if (declaration?.initial?.kind !== 'constant') throw new Error(`'${name}' has no first value`)
    const axes = sortAxes(declaration.stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, this.#extents))
    const count = countElements(sizes)
    const data = declaration.dtype === 'i32' ? new Int32Array(count) : new Float64Array(count)
    return makeTensor(axes, sizes, data.fill(declaration.initial.value))
  }

  setInteger(name: string, value: number): void {
    this.values.set(name, scalarTensor(value, 'i32'))
  }

  /** A value in the layout in which it is stored, where there is one of that name. */
  set(name: string, data: Numbers): void {
    const declaration = this.graph.declarations.get(name)
    if (declaration) this.values.set(name, fromStored(declaration, data, this.#extents))
  }

  /** Tokens, targets and weights of some sequences of a batch; as many positions as it has are computed from now on. */
  setBatch(batch: OracleBatch, sequences: readonly number[] = batch.tokens.map((_, index) => index)): void {
    this.#extents = { batch: sequences.length, seq: batch.tokens[0]?.length ?? 0 }
    const integers = (rows: readonly (readonly number[])[]): Int32Array =>
      Int32Array.from(sequences.flatMap((sequence) => rows[sequence] ?? []))
    this.set('tokens', integers(batch.tokens))
    this.set('targets', integers(batch.targets))
    if (batch.segments && batch.positions) {
      this.set('segments', integers(batch.segments))
      this.set('positions', integers(batch.positions))
    }
    this.set('weights', Float64Array.from(sequences.flatMap((sequence) => batch.weights[sequence] ?? [])))
    this.setInteger('seed', 7)
  }

  /** Outputs of a function; what it writes holds from now on. */
  run(name: string): Map<string, Tensor> {
    const options = { values: this.values, extents: this.#extents, arithmetic: this.#arithmetic }
    const { outputs, writes } = interpret(this.graph, name, options)
    for (const [written, tensor] of writes) this.values.set(written, tensor)
    return outputs
  }

  scalar(name: string): number {
    return this.values.get(name)?.data[0] ?? NaN
  }

  stored(name: string): Numbers {
    const declaration = this.graph.declarations.get(name)
    const tensor = this.values.get(name)
    if (!declaration || !tensor) throw new Error(`'${name}' has no value`)
    return toStored(declaration, tensor, this.#extents)
  }
}

export function session(
  one: TracedCase,
  graph: Graph,
  arithmetic: Scalars<number>,
  sequences = one.oracle.batch.lengths.length,
): Session {
  const extents = { batch: sequences, seq: one.oracle.batch.tokens[0]?.length ?? 0 }
  return new Session(graph, arithmetic, extents, one.stored)
}
