// The public language: what `import … from 'heddle'` gives. Only re-exports.

export { axis, batch, key, like, seq } from './axes.ts'
export { attend, causal, crossEntropy, rope, sliding, softmax } from './attention.ts'
export type { AttendOptions, Mask, RopeOptions } from './attention.ts'
export type { RopeScaling } from './frequencies.ts'
export type { AnyAxis, AnyTensor, Axis, AxisOrList, Stored, Tensor, ValueType } from './checks.ts'
export { dropout, embedding, gelu, layerNorm, linear, positionEmbedding, rmsNorm, silu } from './layers.ts'
export type { GeluForm, LinearOptions, NormOptions } from './layers.ts'
export { causalLM, tied, untied } from './languageModel.ts'
export type { CausalParts, Head, LanguageModel } from './languageModel.ts'
export { gather, iota, merge, pick, rename, split, stack } from './movement.ts'
export { defineModel, layer } from './model.ts'
export type { Each, ModelDefinition, ModelOptions, ModelReference, TracedModel } from './model.ts'
export {
  add,
  apply,
  both,
  compare,
  div,
  dot,
  exp,
  float,
  max,
  maximum,
  min,
  mul,
  neg,
  rsqrt,
  select,
  sub,
  sum,
  toFloat,
} from './operations.ts'
export type { Comparison, Elementwise } from './operations.ts'
export { roundedAs } from './parameters.ts'
export type { ParameterScope } from './parameters.ts'
export type { LinearModule, TraceOptions } from './trace.ts'
export { fullFineTuning, lora } from './adaptation.ts'
export type { Adaptation, FullFineTuning, LoraAdaptation, LoraOptions } from './adaptation.ts'
export { adamW, constant, cosine, linearDecay } from './optimizer.ts'
export type {
  AdamWOptimizer,
  AdamWOptions,
  ConstantRate,
  DecayingRate,
  DecayOptions,
  RateSchedule,
} from './optimizer.ts'
export { chat, completions, nextToken, text } from './records.ts'
export type {
  ChatColumns,
  ChatOptions,
  ChatRecords,
  CompletionOptions,
  CompletionRecords,
  NextToken,
  PromptColumns,
  Records,
  TextColumns,
  TextOptions,
  TextRecords,
} from './records.ts'
export { celsius } from './energy.ts'
export type { Energy, EnergyOptions, Temperature } from './energy.ts'
export { isRecipe, recipe } from './recipe.ts'
export type { Batch, BatchWithStepsOrEpochs, Checkpoints, Recipe, RecipeOptions } from './recipe.ts'
export type { Evaluation, EvaluationOfFileOrShare, Saving } from './watching.ts'
export { atWriting } from './place.ts'
