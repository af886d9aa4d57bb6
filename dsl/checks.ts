// Types that turn a wrong axis into one readable sentence on the argument itself, and the axis and tensor types they
// speak about. Nothing here exists at run time.

import type { DType } from '../compiler/graph/axis.ts'

declare const axisBrand: unique symbol
declare const tensorBrand: unique symbol

/**
 * A named axis of one model. Its identity is the object: two axes of the same name are two axes, and the second one is
 * refused while the model is built. `size` is its extent, for `seq` the greatest length that is planned for.
 */
export interface Axis<N extends string> {
  readonly name: N
  readonly size: number
  readonly [axisBrand]: (name: N) => N
}

/** A value over the set of axes `A` (a union of names; `never` for a scalar). There are no positions. */
export interface Tensor<A extends string, T extends ValueType = 'f32'> {
  /** Names of the axes, in no order that means anything to a model. */
  readonly axes: readonly string[]
  readonly dtype: T
  readonly [tensorBrand]: (axes: A) => A
}

/** What a tensor may hold while computing: narrower floats only exist in storage. */
export type ValueType = Extract<DType, 'f32' | 'i32' | 'bool'>

// The brands are invariant, so "any axis" needs `any`; it is spelled once.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyAxis = Axis<any>
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyTensor = Tensor<any, ValueType> | Tensor<never, ValueType>

/** A condition on any axes. */
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyPredicate = Tensor<any, 'bool'>

/** One axis, or a list of axes. */
export type AxisOrList = AnyAxis | readonly AnyAxis[]

/** How a parameter lies in the checkpoint: dimensions outermost first; a nested list is one dimension of merged axes. */
export type Stored = readonly AxisOrList[]

/** The names of an axis, of a list, or of a stored order. */
export type NameOf<O> =
  O extends Axis<infer N> ? N : O extends readonly (infer X)[] ? (X extends AxisOrList ? NameOfOne<X> : never) : never
type NameOfOne<X> =
  X extends Axis<infer N> ? N : X extends readonly (infer Y)[] ? (Y extends Axis<infer N> ? N : never) : never

export type IsUnion<T, U = T> = [T] extends [never]
  ? false
  : T extends unknown
    ? [U] extends [T]
      ? false
      : true
    : never

/** `M` where it is one literal; otherwise the sentence. */
export type OneName<N extends string> = string extends N
  ? '(Error) the name of an axis is one literal string'
  : true extends IsUnion<N>
    ? '(Error) the name of an axis is one literal string, not a union'
    : N

type Vague = '(Error) this may be one axis or another; give a list to mean all of them'

type OneOn<O, A, Which extends string> =
  true extends IsUnion<NameOf<O>>
    ? Vague
    : [Exclude<NameOf<O>, A>] extends [never]
      ? unknown
      : `(Error) axis '${NameOf<O>}' is not on ${Which}`

type OneOnBoth<O, A, B> = [Exclude<NameOf<O>, A>] extends [never]
  ? OneOn<O, B, 'the second operand'>
  : OneOn<O, A, 'the first operand'>

/** `unknown` when the axis (or each of the list) is on `A`, otherwise the sentence, on the element that is wrong. */
export type On<O, A, Which extends string = 'the tensor'> = [O] extends [readonly unknown[]]
  ? { readonly [I in keyof O]: OneOn<O[I], A, Which> }
  : OneOn<O, A, Which>

/** The same for both operands of a contraction. */
export type OnBoth<O, A, B> = [O] extends [readonly unknown[]]
  ? { readonly [I in keyof O]: OneOnBoth<O[I], A, B> }
  : OneOnBoth<O, A, B>

type OneOff<O, A> =
  true extends IsUnion<NameOf<O>>
    ? Vague
    : [Extract<NameOf<O>, A>] extends [never]
      ? unknown
      : `(Error) axis '${NameOf<O>}' is on the tensor already`

/** `unknown` when the axis (or each of the list) is not on `A`. */
export type Off<O, A> = [O] extends [readonly unknown[]] ? { readonly [I in keyof O]: OneOff<O[I], A> } : OneOff<O, A>

/** `unknown` when `B` lies within `A`: only the right operand is broadcast. */
export type Within<B extends string, A extends string> = [Exclude<B, A>] extends [never]
  ? unknown
  : true extends IsUnion<Exclude<B, A>>
    ? '(Error) the second operand has axes that the first lacks; only the second is broadcast'
    : `(Error) the second operand has axis '${Exclude<B, A>}', which the first lacks; only the second is broadcast`

/** Positions of a tuple as string literals. */
type Positions<L> = Extract<keyof L, `${number}`>
/** Names that stand in more than one place of a tuple. */
type Repeated<L> = {
  [I in Positions<L>]: Extract<NameOf<L[I]>, NamesAt<L, Exclude<Positions<L>, I>>>
}[Positions<L>]
type NamesAt<L, I extends keyof L> = [I] extends [never] ? never : NameOf<L[I]>
type RepeatedWithin<L> = {
  [I in Positions<L>]: L[I] extends readonly unknown[] ? Repeated<L[I]> : never
}[Positions<L>]
type RepeatedAnywhere<L> = Repeated<L> | RepeatedWithin<L>

/** `unknown` when no axis stands twice in a stored order. */
export type Distinct<L> = [RepeatedAnywhere<L>] extends [never]
  ? unknown
  : true extends IsUnion<RepeatedAnywhere<L>>
    ? '(Error) several axes stand twice in the stored order'
    : `(Error) axis '${RepeatedAnywhere<L>}' stands twice in the stored order; make the second one with like()`

/** `unknown` when exactly one of the two stored sides is wholly on `A` and nothing of the other is. */
export type LinearStored<A extends string, L> = L extends readonly [infer P, infer Q]
  ? [RepeatedAnywhere<L>] extends [never]
    ? [Exclude<NameOf<P>, A>] extends [never]
      ? Fresh<Q, A>
      : [Exclude<NameOf<Q>, A>] extends [never]
        ? Fresh<P, A>
        : '(Error) neither side of the stored weight is wholly on the input'
    : Distinct<L>
  : '(Error) the weight of a linear is stored with two dimensions, [out, in] or [in, out]'
type Fresh<S, A> = [Extract<NameOf<S>, A>] extends [never]
  ? unknown
  : true extends IsUnion<Extract<NameOf<S>, A>>
    ? '(Error) axes of the output side of the weight are on the input too; make new ones with like()'
    : `(Error) axis '${Extract<NameOf<S>, A>}' of the output side is on the input too; make a new one with like()`

type LastPart<T extends string> = T extends `${string}.${infer Rest}` ? LastPart<Rest> : T

/** `unknown` when every target ends in the name of a linear module of the model. */
export type TargetsOf<Chosen extends string, Known extends string> = [Exclude<LastPart<Chosen>, Known>] extends [never]
  ? unknown
  : true extends IsUnion<Exclude<LastPart<Chosen>, Known>>
    ? '(Error) several targets name no linear module of the model'
    : `(Error) no linear module of the model is called '${Exclude<LastPart<Chosen>, Known>}'`
