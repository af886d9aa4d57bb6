// What graph text says, as plain data with places: what the grammar hands to `parse.ts`. Knows no meaning.

/** A piece of text with its place, quotes removed. */
export interface Word {
  readonly text: string
  /** From 1. */
  readonly line: number
  readonly column: number
}

/** One word of an attribute: what it must be is decided by the attribute it stands for. */
export interface ItemText extends Word {
  readonly kind: 'number' | 'name' | 'text' | 'list'
  /** Members of a list. */
  readonly members: readonly ItemText[]
}

export interface AxisText {
  readonly name: Word
  readonly size: Word
  readonly extent: Word | undefined
}

export interface DeclarationText {
  readonly role: Word
  readonly name: Word
  readonly dtype: Word
  readonly stored: readonly (readonly Word[])[]
  readonly initial: { readonly kind: Word; readonly value: Word } | undefined
  readonly rows: { readonly ids: Word; readonly table: Word } | undefined
}

export interface StatementText {
  readonly value: Word
  readonly op: Word
  readonly operands: readonly Word[]
  readonly items: readonly ItemText[]
  readonly dtype: Word
  readonly axes: readonly Word[]
  readonly layer: Word | undefined
}

export interface RootText {
  readonly name: Word
  readonly value: Word
}

export interface FunctionText {
  readonly name: Word
  readonly statements: readonly StatementText[]
  readonly outputs: readonly RootText[]
  readonly writes: readonly RootText[]
}

export interface GraphText {
  readonly axes: readonly AxisText[]
  readonly declarations: readonly DeclarationText[]
  readonly functions: readonly FunctionText[]
  /** What stands behind `//`, by line. */
  readonly comments: ReadonlyMap<number, string>
}
