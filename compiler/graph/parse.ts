// Graph text back to a graph: resolves names and rebuilds every node through the builder, so that shapes are inferred
// again and compared with what the text says. Mistakes are HD2xx with line and column. Inverse of `print.ts`.

import { InternalError, UserError } from '../diagnostic.ts'
import type { Place } from '../diagnostic.ts'
import { attributeForms, isStructuralOp } from './attributes.ts'
import type { AttributeKind } from './attributes.ts'
import { axisNames, dtypeBytes } from './axis.ts'
import type { Axis, DType } from './axis.ts'
import { describeShape, GraphBuilder } from './builder.ts'
import { readGraphText } from './grammar.ts'
import { Provenance } from './node.ts'
import type { Attributes, Declaration, Graph, Initial, Node, Role, StructuralOp } from './node.ts'
import { ShapeError } from './structural.ts'
import type { AxisText, DeclarationText, FunctionText, ItemText, RootText, StatementText, Word } from './syntax.ts'
import { verifyGraph } from './verify.ts'

export interface ParsedGraph {
  readonly graph: Graph
  /** Names from the comments behind the lines, places in the text. */
  readonly provenance: Provenance
}

/**
 * Reads what `printGraph` writes. `file` names the text in places. Layers, and within a function the order of creation,
 * are as in the text. Throws UserError: HD201 what is no graph text, HD202 unknown or repeated names, HD203 shapes and
 * attributes that do not fit, HD204 a stated type that is not the inferred one, HD205 what else a graph may not be. The
 * graph is verified.
 */
export function parseGraph(text: string, file = 'graph'): ParsedGraph {
  const { axes, declarations, functions, comments } = readGraphText(text, file)
  const reader = new Reader(file)
  for (const axis of axes) reader.axis(axis)
  for (const declaration of declarations) reader.declaration(declaration)
  reader.functions(functions, comments)
  const graph = reader.builder.finish()
  try {
    verifyGraph(graph)
  } catch (error) {
    // The verifier speaks to us; here the text is to blame.
    if (!(error instanceof InternalError)) throw error
    throw new UserError('HD205', error.message, { place: { file }, cause: error })
  }
  return { graph, provenance: reader.provenance }
}

/** A statement before it is made: equal statements of all functions are one draft. */
interface Draft {
  readonly index: number
  readonly statement: StatementText
  readonly operands: readonly Draft[]
}

interface FunctionDraft {
  readonly text: FunctionText
  readonly values: ReadonlyMap<string, Draft>
  readonly order: readonly Draft[]
}

class Reader {
  readonly builder = new GraphBuilder()
  readonly provenance = new Provenance()
  readonly #file: string
  readonly #axes = new Map<string, Axis>()
  readonly #nodes = new Map<Draft, Node>()

  constructor(file: string) {
    this.#file = file
  }

  axis({ name, size, extent }: AxisText): void {
    if (this.#axes.has(name.text)) throw this.#refuse('HD202', name, `axis '${name.text}' is declared twice`)
    const axis = this.#checked(name, () => this.builder.axis(name.text, Number(size.text), extent?.text))
    this.#axes.set(name.text, axis)
  }

  declaration(text: DeclarationText): void {
    const { name } = text
    if (this.builder.declaration(name.text)) throw this.#refuse('HD202', name, `'${name.text}' is declared twice`)
    const declaration: Declaration = {
      name: name.text,
      // The grammar knows the roles.
      role: text.role.text as Role,
      dtype: this.#dtype(text.dtype),
      stored: text.stored.map((dimension) => dimension.map((axis) => this.#axis(axis))),
      ...(text.initial ? { initial: this.#initial(text.initial) } : {}),
      ...(text.rows ? { rows: { ids: text.rows.ids.text, table: text.rows.table.text } } : {}),
    }
    this.#checked(name, () => this.builder.declare(declaration))
  }

  functions(texts: readonly FunctionText[], comments: ReadonlyMap<number, string>): void {
    const names = new Set<string>()
    const drafts = new Map<string, Draft>()
    const functions = texts.map((text) => {
      if (names.has(text.name.text)) {
        throw this.#refuse('HD202', text.name, `function '${text.name.text}' is defined twice`)
      }
      names.add(text.name.text)
      return this.#draft(text, drafts)
    })
    for (const draft of creationOrder(functions.map((fn) => fn.order))) {
      const node = this.#make(draft)
      const { line, column } = draft.statement.value
      this.provenance.note(node, comments.get(line), { file: this.#file, line, column })
      this.#nodes.set(draft, node)
    }
    for (const { text, values } of functions) {
      this.builder.define({
        name: text.name.text,
        outputs: text.outputs.map((root) => this.#root(root, values)),
        writes: text.writes.map((root) => {
          if (this.builder.declaration(root.name.text)) return this.#root(root, values)
          throw this.#refuse('HD202', root.name, `'${root.name.text}' is not declared`)
        }),
      })
    }
  }

  #draft(text: FunctionText, drafts: Map<string, Draft>): FunctionDraft {
    const values = new Map<string, Draft>()
    const order = new Set<Draft>()
    for (const statement of text.statements) {
      const { value } = statement
      if (values.has(value.text)) throw this.#refuse('HD202', value, `${value.text} is defined twice`)
      const operands = statement.operands.map((operand) => this.#value(operand, values))
      const type = `${statement.dtype.text}(${statement.axes.map((axis) => axis.text).join()}) ${statement.layer?.text}`
      const key = JSON.stringify([
        statement.op.text,
        operands.map((operand) => operand.index),
        statement.items.map(itemKey),
        type,
      ])
      const draft = drafts.get(key) ?? { index: drafts.size, statement, operands }
      drafts.set(key, draft)
      values.set(value.text, draft)
      order.add(draft)
    }
    return { text, values, order: [...order] }
  }

  #make(draft: Draft): Node {
    const { statement } = draft
    const { op } = statement
    const inputs = draft.operands.map((operand) => this.#nodes.get(operand) as Node)
    this.builder.layer = statement.layer === undefined ? undefined : this.#integer(statement.layer)
    const dtype = this.#dtype(statement.dtype)
    const node = isStructuralOp(op.text)
      ? this.#structural(op.text, statement, inputs, dtype)
      : this.#elementwise(statement, inputs)
    const stated = statement.axes.map((axis) => this.#axis(axis))
    if (node.dtype !== dtype || !same(node.axes, stated)) {
      const said = `${dtype}(${axisNames(stated)})`
      throw this.#refuse('HD204', statement.dtype, `${op.text} gives ${describeShape(node)}, the text says ${said}`)
    }
    return node
  }

  /** Operands stay in the order of the text: `map` of the builder would exchange those of commutative operations. */
  #elementwise(statement: StatementText, inputs: readonly Node[]): Node {
    const [extra] = statement.items
    if (extra) throw this.#refuse('HD203', extra, `'${statement.op.text}' takes no attribute`)
    return this.#checked(statement.op, () => this.builder.make('map', inputs, { fn: statement.op.text }))
  }

  #structural(op: StructuralOp, statement: StatementText, inputs: readonly Node[], dtype: DType): Node {
    const attrs = this.#attributes(op, statement, dtype)
    return this.#checked(statement.op, () => {
      // Each key was read with its kind from the table that is typed by `Attributes`.
      return this.builder.make(op, inputs, attrs as unknown as Attributes[typeof op])
    })
  }

  #attributes(op: StructuralOp, statement: StatementText, dtype: DType): Record<string, unknown> {
    const attrs: Record<string, unknown> = {}
    let next = 0
    const take = (): ItemText | undefined => statement.items[next++]
    for (const { key, kind, label } of attributeForms(op)) {
      if (kind === 'type') {
        attrs[key] = dtype
        continue
      }
      if (label !== undefined) {
        const found = take()
        if (found?.kind !== 'name' || found.text !== label) {
          throw this.#refuse('HD203', found ?? statement.op, `'${op}' needs '${label}'${found ? ' here' : ''}`)
        }
      }
      const item = take()
      if (item === undefined) throw this.#refuse('HD203', statement.op, `'${op}' needs ${article[kind]} for '${key}'`)
      attrs[key] = this.#attribute(op, kind, item, dtype)
    }
    const extra = statement.items[next]
    if (extra) throw this.#refuse('HD203', extra, `'${op}' has an attribute too many`)
    return attrs
  }

  #attribute(op: StructuralOp, kind: AttributeKind, item: ItemText, dtype: DType): unknown {
    switch (kind) {
      case 'axis':
        return this.#axis(this.#named(item, kind))
      case 'axes':
        return this.#members(item, kind).map((member) => this.#axis(this.#named(member, 'axis')))
      case 'integer':
        return this.#integer(item)
      case 'number':
        return this.#number(item, dtype)
      case 'numbers':
        return this.#members(item, kind).map((member) => this.#number(member, 'f32'))
      case 'name':
        return this.#named(item, kind).text
      case 'text':
        if (item.kind !== 'text') throw this.#expected(item, kind)
        return item.text
      case 'function':
      case 'type':
        throw this.#refuse('HD203', item, `'${op}' is not written so`)
    }
  }

  #named(item: ItemText, kind: AttributeKind): ItemText {
    if (item.kind !== 'name' && item.kind !== 'text') throw this.#expected(item, kind)
    return item
  }

  #members(item: ItemText, kind: AttributeKind): readonly ItemText[] {
    if (item.kind !== 'list') throw this.#expected(item, kind)
    return item.members
  }

  #number(item: ItemText, dtype: DType): number {
    const special = item.kind === 'name' && (item.text === 'Infinity' || item.text === 'NaN')
    if (item.kind !== 'number' && !special) throw this.#expected(item, 'number')
    const value = Number(item.text)
    if (dtype === 'f32') return Math.fround(value)
    const fits = dtype === 'bool' ? value === 0 || value === 1 : value === (value | 0)
    if (!fits) throw this.#refuse('HD203', item, `${item.text} is no ${dtype}`)
    return value
  }

  #integer(word: Word): number {
    const value = Number(word.text)
    if (!/^\d+$/.test(word.text) || !Number.isSafeInteger(value)) {
      throw this.#refuse('HD203', word, `expected a whole number, found '${word.text}'`)
    }
    return value
  }

  #expected(item: ItemText, kind: AttributeKind): UserError {
    return this.#refuse('HD203', item, `expected ${article[kind]}, found '${item.text}'`)
  }

  #initial({ kind, value }: { readonly kind: Word; readonly value: Word }): Initial {
    const number = Number(value.text)
    switch (kind.text) {
      case 'constant':
        return { kind: 'constant', value: number }
      case 'uniform':
        return { kind: 'uniform', bound: number }
      case 'normal':
        return { kind: 'normal', deviation: number }
      default:
        throw this.#refuse('HD202', kind, `nothing starts as '${kind.text}'`, 'write constant, uniform or normal')
    }
  }

  #axis(word: Word): Axis {
    const axis = this.#axes.get(word.text)
    if (axis === undefined) throw this.#refuse('HD202', word, `there is no axis '${word.text}'`)
    return axis
  }

  #dtype(word: Word): DType {
    if (!Object.hasOwn(dtypeBytes, word.text)) {
      throw this.#refuse(
        'HD202',
        word,
        `there is no type '${word.text}'`,
        `write one of ${Object.keys(dtypeBytes).join()}`,
      )
    }
    return word.text as DType
  }

  #value(word: Word, values: ReadonlyMap<string, Draft>): Draft {
    const draft = values.get(word.text)
    if (draft === undefined) throw this.#refuse('HD202', word, `${word.text} is used before it is defined`)
    return draft
  }

  #root({ name, value }: RootText, values: ReadonlyMap<string, Draft>): { name: string; node: Node } {
    return { name: name.text, node: this.#nodes.get(this.#value(value, values)) as Node }
  }

  #checked<T>(word: Word, run: () => T): T {
    try {
      return run()
    } catch (error) {
      if (error instanceof ShapeError) throw this.#refuse('HD203', word, error.message)
      throw error
    }
  }

  #refuse(code: string, word: Word, message: string, mend?: string): UserError {
    const place: Place = { file: this.#file, line: word.line, column: word.column }
    return new UserError(code, message, { place, ...(mend === undefined ? {} : { mend }) })
  }
}

const article: Record<AttributeKind, string> = {
  axis: 'an axis',
  axes: 'a list of axes',
  integer: 'a whole number',
  number: 'a number',
  numbers: 'a list of numbers',
  name: 'a name',
  text: 'a text in quotes',
  function: 'a function',
  type: 'a type',
}

function same(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && a.every((axis, index) => axis === b[index])
}

/** Equal for items that mean the same: `0.5` and `5e-1`, a quoted and a bare name. */
function itemKey(item: ItemText): unknown {
  if (item.kind === 'list') return item.members.map(itemKey)
  if (item.kind !== 'number') return item.text
  // JSON has neither -0 nor infinity.
  return [Object.is(Number(item.text), -0) ? '-0' : String(Number(item.text))]
}

/**
 * One order of creation that agrees with the order of every function, since nodes are numbered as they are created and
 * functions share them. Where functions contradict each other (text edited by hand), the earlier function decides.
 */
function creationOrder<T>(lists: readonly (readonly T[])[]): T[] {
  const order = new Set<T>()
  const heads = lists.map(() => 0)
  const holders = new Map<T, number>()
  for (const list of lists) for (const member of list) holders.set(member, (holders.get(member) ?? 0) + 1)
  const waiting = (index: number): T | undefined => {
    const list = lists[index] ?? []
    let head = heads[index] ?? 0
    // Made for another function already, where the functions contradict each other.
    while (head < list.length && order.has(list[head] as T)) head++
    heads[index] = head
    return list[head]
  }
  for (;;) {
    const candidates = lists.map((_, index) => waiting(index)).filter((member) => member !== undefined)
    if (candidates.length === 0) return [...order]
    const count = (wanted: T): number => candidates.filter((member) => member === wanted).length
    order.add(candidates.find((member) => count(member) === holders.get(member)) ?? (candidates[0] as T))
  }
}
