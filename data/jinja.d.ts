// Types of the part of @huggingface/jinja that is used: its own import one another without the endings that Node's module
// resolution asks for, and so come out as `any`.

declare module '@huggingface/jinja' {
  /** A part of a template, by its type. */
  export interface Statement {
    readonly type: string
  }

  /** `type` is `Identifier`. */
  export interface Identifier extends Statement {
    readonly value: string
  }

  /** `object.property`, or `object[property]` when it is computed; `type` is `MemberExpression`. */
  export interface MemberExpression extends Statement {
    readonly object: Statement
    readonly property: Statement
    readonly computed: boolean
  }

  /** `type` is `CallExpression`. */
  export interface CallExpression extends Statement {
    readonly callee: Statement
    readonly args: readonly Statement[]
  }

  /** `operand | filter`; `type` is `FilterExpression`. */
  export interface FilterExpression extends Statement {
    readonly operand: Statement
    readonly filter: Statement
  }

  export interface RuntimeValue {
    readonly type: string
    readonly value: unknown
  }

  export class Environment {
    set(name: string, value: unknown): RuntimeValue
  }

  export class Interpreter {
    constructor(environment: Environment)
    run(program: Statement): RuntimeValue
    /** Every statement and expression passes here. */
    evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue
  }

  export interface Token {
    readonly type: string
    readonly value: string
  }

  export function tokenize(
    source: string,
    options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean },
  ): Token[]
  export function parse(tokens: Token[]): Statement
}
