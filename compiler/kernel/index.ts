// Index algebra: integer expressions over loop variables and run-time extents, kept as sums of scaled atoms so that
// strides, footprints and bounds can be read off. Knows nothing of statements.

import type { Expr } from './ir.ts'

export type Atom =
  | { readonly kind: 'variable'; readonly name: string }
  /** A run-time extent (`seq`), the same for the whole step. */
  | { readonly kind: 'size'; readonly name: string }
  | { readonly kind: 'div'; readonly value: Index; readonly by: number }
  | { readonly kind: 'mod'; readonly value: Index; readonly by: number }
  | { readonly kind: 'min'; readonly left: Index; readonly right: Index }
  /** An i32 that the program loads (a token id). `below` is its exclusive bound, checked before the step runs. */
  | { readonly kind: 'value'; readonly value: Expr; readonly below: number }

export interface Term {
  readonly scale: number
  readonly atom: Atom
}

/** constant + Σ scale·atom, terms sorted by their text and without zero scales. */
export interface Index {
  readonly constant: number
  readonly terms: readonly Term[]
}

/** Inclusive bounds. */
export interface Range {
  readonly low: number
  readonly high: number
}

/** Inclusive ranges of variables and sizes; a name that is missing is unbounded. */
export type Ranges = ReadonlyMap<string, Range>

const noRanges: Ranges = new Map()

export function constantIndex(constant: number): Index {
  return { constant, terms: [] }
}

/** One for each name, so that its text is made once: there are few names and very many terms. */
const variables = new Map<string, Index>()

export function variable(name: string): Index {
  const known = variables.get(name)
  if (known) return known
  const made: Index = { constant: 0, terms: [{ scale: 1, atom: { kind: 'variable', name } }] }
  variables.set(name, made)
  return made
}

export function size(name: string): Index {
  return { constant: 0, terms: [{ scale: 1, atom: { kind: 'size', name } }] }
}

export function loadedIndex(value: Expr, below: number): Index {
  return { constant: 0, terms: [{ scale: 1, atom: { kind: 'value', value, below } }] }
}

export function asIndex(value: Index | number): Index {
  return typeof value === 'number' ? constantIndex(value) : value
}

const textOf = new WeakMap<object, string>()

/** Text that two equal atoms share; loaded values are told apart by identity of their text. */
function atomKey(atom: Atom): string {
  let text = textOf.get(atom)
  if (text === undefined) {
    text = JSON.stringify(atom)
    textOf.set(atom, text)
  }
  return text
}

/** Terms of both in the order of their texts; both are in it. */
function mergeTerms(a: readonly Term[], b: readonly Term[]): readonly Term[] {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const merged: Term[] = []
  let [i, j] = [0, 0]
  for (;;) {
    const [one, other] = [a[i], b[j]]
    if (!one || !other) break
    const [key, otherKey] = one.atom === other.atom ? ['', ''] : [atomKey(one.atom), atomKey(other.atom)]
    if (key <= otherKey) i++
    if (otherKey <= key) j++
    if (key !== otherKey) merged.push(key < otherKey ? one : other)
    else if (one.scale + other.scale !== 0) merged.push({ scale: one.scale + other.scale, atom: one.atom })
  }
  return [...merged, ...a.slice(i), ...b.slice(j)]
}

export function addIndex(...parts: readonly (Index | number)[]): Index {
  let constant = 0
  let terms: readonly Term[] = []
  for (const part of parts) {
    if (typeof part === 'number') constant += part
    else {
      constant += part.constant
      terms = mergeTerms(terms, part.terms)
    }
  }
  return { constant, terms }
}

export function scaleIndex(index: Index | number, by: number): Index {
  const given = asIndex(index)
  if (by === 0) return constantIndex(0)
  return {
    constant: given.constant * by,
    terms: given.terms.map((term) => ({ scale: term.scale * by, atom: term.atom })),
  }
}

export function subtractIndex(a: Index | number, b: Index | number): Index {
  return addIndex(a, scaleIndex(b, -1))
}

/** Splits `value` into a part all of whose scales divide by `by`, and the rest with a non-negative constant below `by`. */
function partition(value: Index, by: number): { quotient: Index; rest: Index } {
  const whole = value.terms.filter((term) => term.scale % by === 0)
  const others = value.terms.filter((term) => term.scale % by !== 0)
  const constant = ((value.constant % by) + by) % by
  return {
    quotient: {
      constant: (value.constant - constant) / by,
      terms: whole.map((term) => ({ scale: term.scale / by, atom: term.atom })),
    },
    rest: { constant, terms: others },
  }
}

/** Floor division by a positive constant. */
export function divideIndex(value: Index | number, by: number, ranges: Ranges = noRanges): Index {
  const given = asIndex(value)
  if (by === 1) return given
  const { quotient, rest } = partition(given, by)
  const range = rangeOf(rest, ranges)
  if (range && range.low >= 0 && range.high < by) return quotient
  return addIndex(quotient, { constant: 0, terms: [{ scale: 1, atom: { kind: 'div', value: rest, by } }] })
}

/** Remainder in [0, by) by a positive constant. */
export function moduloIndex(value: Index | number, by: number, ranges: Ranges = noRanges): Index {
  const { rest } = partition(asIndex(value), by)
  if (by === 1) return constantIndex(0)
  const range = rangeOf(rest, ranges)
  if (range && range.low >= 0 && range.high < by) return rest
  return { constant: 0, terms: [{ scale: 1, atom: { kind: 'mod', value: rest, by } }] }
}

export function ceilDivide(value: Index | number, by: number, ranges?: Ranges): Index {
  return divideIndex(addIndex(value, by - 1), by, ranges)
}

export function minIndex(left: Index | number, right: Index | number, ranges: Ranges = noRanges): Index {
  const a = asIndex(left)
  const b = asIndex(right)
  const difference = rangeOf(subtractIndex(a, b), ranges)
  if (difference && difference.high <= 0) return a
  if (difference && difference.low >= 0) return b
  return { constant: 0, terms: [{ scale: 1, atom: { kind: 'min', left: a, right: b } }] }
}

export function constantOf(index: Index): number | undefined {
  return index.terms.length === 0 ? index.constant : undefined
}

export function equalIndex(a: Index, b: Index): boolean {
  return constantOf(subtractIndex(a, b)) === 0
}

/** How much `index` grows when the variable grows by one; undefined when that is not a constant. */
export function strideOf(index: Index, name: string): number | undefined {
  let stride = 0
  for (const { scale, atom } of index.terms) {
    if (atom.kind === 'variable') {
      if (atom.name === name) stride += scale
    } else if (mentions(atom, name)) return undefined
  }
  return stride
}

function mentions(atom: Atom, name: string): boolean {
  switch (atom.kind) {
    case 'variable':
      return atom.name === name
    case 'size':
      return false
    case 'div':
    case 'mod':
      return indexMentions(atom.value, name)
    case 'min':
      return indexMentions(atom.left, name) || indexMentions(atom.right, name)
    case 'value':
      return exprMentions(atom.value, name)
  }
}

export function indexMentions(index: Index, name: string): boolean {
  return index.terms.some((term) => mentions(term.atom, name))
}

export function exprMentions(expr: Expr, name: string): boolean {
  switch (expr.kind) {
    case 'constant':
    case 'local':
      return false
    case 'index':
    case 'ramp':
      return indexMentions(expr.index, name)
    case 'load':
      return (
        expr.indices.some((index) => indexMentions(index, name)) ||
        (expr.valid ? indexMentions(expr.valid, name) : false)
      )
    case 'splat':
      return exprMentions(expr.value, name)
    case 'apply':
    case 'pack':
      return expr.args.some((arg) => exprMentions(arg, name))
    case 'tree':
      return false
  }
}

/** Bounds of an index when its variables and sizes lie in `ranges`; undefined where something is unbounded. */
export function rangeOf(index: Index, ranges: Ranges): Range | undefined {
  let low = index.constant
  let high = index.constant
  for (const { scale, atom } of index.terms) {
    const range = atomRange(atom, ranges)
    if (!range) return undefined
    low += scale > 0 ? scale * range.low : scale * range.high
    high += scale > 0 ? scale * range.high : scale * range.low
  }
  return { low, high }
}

/** Largest value of an index; of a `min`, one bounded side is enough. */
export function upperBound(index: Index, ranges: Ranges): number | undefined {
  let high = index.constant
  for (const { scale, atom } of index.terms) {
    const most = scale > 0 ? atomUpper(atom, ranges) : atomRange(atom, ranges)?.low
    if (most === undefined) return undefined
    high += scale * most
  }
  return high
}

function atomUpper(atom: Atom, ranges: Ranges): number | undefined {
  if (atom.kind === 'div') {
    const most = upperBound(atom.value, ranges)
    return most === undefined ? undefined : Math.floor(most / atom.by)
  }
  if (atom.kind !== 'min') return atomRange(atom, ranges)?.high
  const left = upperBound(atom.left, ranges)
  const right = upperBound(atom.right, ranges)
  return left === undefined ? right : right === undefined ? left : Math.min(left, right)
}

function atomRange(atom: Atom, ranges: Ranges): Range | undefined {
  switch (atom.kind) {
    case 'variable':
    case 'size':
      return ranges.get(atom.name)
    case 'div': {
      const inner = rangeOf(atom.value, ranges)
      return inner && { low: Math.floor(inner.low / atom.by), high: Math.floor(inner.high / atom.by) }
    }
    case 'mod': {
      const inner = rangeOf(atom.value, ranges)
      return inner && inner.low >= 0 && inner.high < atom.by ? inner : { low: 0, high: atom.by - 1 }
    }
    case 'min': {
      const left = rangeOf(atom.left, ranges)
      const right = rangeOf(atom.right, ranges)
      return left && right && { low: Math.min(left.low, right.low), high: Math.min(left.high, right.high) }
    }
    case 'value':
      return { low: 0, high: atom.below - 1 }
  }
}

/** Replaces variables; loaded values are rewritten by `inExpr`. */
export function substituteIndex(
  index: Index,
  replace: ReadonlyMap<string, Index>,
  inExpr: (expr: Expr) => Expr,
  ranges: Ranges = noRanges,
): Index {
  // Without new ranges nothing is simpler than it was.
  if (ranges === noRanges && !mentionsAny(index, replace)) return index
  const parts = index.terms.map(({ scale, atom }) => {
    switch (atom.kind) {
      case 'variable':
        return scaleIndex(replace.get(atom.name) ?? { constant: 0, terms: [{ scale: 1, atom }] }, scale)
      case 'size':
        return { constant: 0, terms: [{ scale, atom }] }
      case 'div':
        return scaleIndex(divideIndex(substituteIndex(atom.value, replace, inExpr, ranges), atom.by, ranges), scale)
      case 'mod':
        return scaleIndex(moduloIndex(substituteIndex(atom.value, replace, inExpr, ranges), atom.by, ranges), scale)
      case 'min':
        return scaleIndex(
          minIndex(
            substituteIndex(atom.left, replace, inExpr, ranges),
            substituteIndex(atom.right, replace, inExpr, ranges),
            ranges,
          ),
          scale,
        )
      case 'value':
        return scaleIndex(loadedIndex(inExpr(atom.value), atom.below), scale)
    }
  })
  return addIndex(index.constant, ...parts)
}

function mentionsAny(index: Index, names: ReadonlyMap<string, Index>): boolean {
  for (const name of names.keys()) if (indexMentions(index, name)) return true
  return false
}

/** Names of the variables an index depends on. */
export function variablesOf(index: Index, into: Set<string> = new Set()): Set<string> {
  for (const { atom } of index.terms) {
    if (atom.kind === 'variable') into.add(atom.name)
    else if (atom.kind === 'div' || atom.kind === 'mod') variablesOf(atom.value, into)
    else if (atom.kind === 'min') {
      variablesOf(atom.left, into)
      variablesOf(atom.right, into)
    }
  }
  return into
}
