// The grammar of kernel text, one rule per line of what print.ts writes. Indices come back in canonical form, types and
// lanes from the declarations. It must not know where the text came from.

import { EmbeddedActionsParser } from 'chevrotain'
import type { IToken, ParserMethod } from 'chevrotain'
import { InternalError, UserError } from '../diagnostic.ts'
import type { DType } from '../graph/axis.ts'
import {
  addIndex,
  constantIndex,
  divideIndex,
  loadedIndex,
  minIndex,
  moduloIndex,
  scaleIndex,
  size,
  variable,
} from './index.ts'
import type { Index } from './index.ts'
import { lanesOf, typeOf, valueType } from './ir.ts'
import type { Binding, Buffer, Condition, Dimension, Expr, Kernel, SizeBound, Space, Stmt, ValueType } from './ir.ts'
import { isWord } from './words.ts'
import * as t from './tokens.ts'

const GREATEST_LANES = 1024

interface Access {
  readonly buffer: Buffer
  readonly indices: readonly Index[]
  readonly lanes: number
  readonly valid?: Index
}

interface LocalType {
  readonly type: ValueType
  readonly lanes: number
}

export class KernelParser extends EmbeddedActionsParser {
  file = ''
  private sizes = new Set<string>()
  private buffers = new Map<string, Buffer>()
  private scopes: Map<string, LocalType>[] = []

  constructor() {
    super(t.kernelTokens, { maxLookahead: 2 })
    this.performSelfAnalysis()
  }

  refuse(code: string, token: IToken, message: string): never {
    throw new UserError(code, message, {
      place: { file: this.file, line: token.startLine, column: token.startColumn },
    })
  }

  readonly kernels: ParserMethod<[], Kernel[]> = this.RULE('kernels', (): Kernel[] => {
    const kernels: Kernel[] = []
    this.MANY(() => kernels.push(this.SUBRULE(this.kernel)))
    return kernels
  })

  private readonly kernel: ParserMethod<[], Kernel> = this.RULE('kernel', (): Kernel => {
    this.ACTION(() => {
      this.sizes = new Set()
      this.buffers = new Map()
      this.scopes = []
    })
    this.CONSUME(t.KernelWord)
    const name = this.CONSUME(t.Name).image
    const sizes: SizeBound[] = []
    this.OPTION(() => {
      this.CONSUME(t.LeftParen)
      this.CONSUME(t.SizesWord)
      this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => sizes.push(this.SUBRULE(this.sizeBound)) })
      this.CONSUME(t.RightParen)
    })
    this.CONSUME(t.LeftBrace)
    const parameters: Buffer[] = []
    const locals: Buffer[] = []
    this.MANY({
      // A statement may begin with a buffer called `read`; only a declaration has two names in a row.
      GATE: () => this.LA(2).tokenType.CATEGORIES?.includes(t.Name) === true && this.LA(3).tokenType === t.Colon,
      DEF: () => {
        const buffer = this.SUBRULE(this.declaration)
        this.ACTION(() => (buffer.space === 'argument' ? parameters : locals).push(buffer))
      },
    })
    const body = this.SUBRULE(this.statements)
    this.CONSUME(t.RightBrace)
    return { name, sizes, arguments: parameters, locals, body }
  })

  private readonly sizeBound: ParserMethod<[], SizeBound> = this.RULE('sizeBound', (): SizeBound => {
    const name = this.CONSUME(t.Name).image
    this.CONSUME(t.LessEqual)
    const bound = this.SUBRULE(this.integer)
    this.ACTION(() => this.sizes.add(name))
    return { name, bound }
  })

  private readonly declaration: ParserMethod<[], Buffer> = this.RULE('declaration', (): Buffer => {
    let access: Buffer['access']
    let space: Space = 'argument'
    this.OR([
      { ALT: () => (access = this.CONSUME(t.Access).image as Buffer['access']) },
      { ALT: () => (space = this.CONSUME(t.BufferSpace).image as Space) },
    ])
    const name = this.CONSUME(t.Name)
    this.CONSUME(t.Colon)
    const dtype = this.CONSUME(t.BufferDType).image as DType
    this.CONSUME(t.LeftBracket)
    const dims: Dimension[] = []
    this.MANY_SEP({ SEP: t.Comma, DEF: () => dims.push(this.SUBRULE(this.dimension)) })
    this.CONSUME(t.RightBracket)
    return this.ACTION(() => {
      if (this.buffers.has(name.image)) this.refuse('HD602', name, `buffer '${name.image}' is declared twice`)
      const buffer: Buffer = { name: name.image, dtype, space, dims, ...(access === undefined ? {} : { access }) }
      this.buffers.set(name.image, buffer)
      return buffer
    })
  })

  private readonly dimension: ParserMethod<[], Dimension> = this.RULE('dimension', (): Dimension => {
    const size = this.SUBRULE(this.integer)
    this.CONSUME(t.Colon)
    const stride = this.SUBRULE2(this.integer)
    return { size, stride }
  })

  private readonly statements: ParserMethod<[], Stmt[]> = this.RULE('statements', (): Stmt[] => {
    const body: Stmt[] = []
    this.ACTION(() => this.scopes.push(new Map()))
    this.MANY(() => body.push(this.SUBRULE(this.statement)))
    this.ACTION(() => this.scopes.pop())
    return body
  })

  private readonly statement: ParserMethod<[], Stmt> = this.RULE('statement', (): Stmt =>
    this.OR<Stmt>({
      IGNORE_AMBIGUITIES: true,
      DEF: [
        { GATE: () => this.LA(2).tokenType === t.LeftBracket, ALT: () => this.SUBRULE(this.store) },
        { ALT: () => this.SUBRULE(this.loop) },
        { ALT: () => this.SUBRULE(this.guard) },
        { ALT: () => this.SUBRULE(this.binding) },
        {
          ALT: () => {
            this.CONSUME(t.Barrier)
            return { kind: 'barrier' }
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.Prefetch)
            const { buffer, indices } = this.SUBRULE(this.access)
            return this.ACTION(() => ({ kind: 'prefetch', buffer: buffer.name, indices }))
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.Transpose)
            const buffer = this.CONSUME(t.Name)
            return this.ACTION(() => ({ kind: 'transpose', buffer: this.bufferNamed(buffer).name }))
          },
        },
      ],
    }),
  )

  private readonly loop: ParserMethod<[], Stmt> = this.RULE('loop', (): Stmt => {
    const binding = this.CONSUME(t.LoopBinding).image as Binding
    const name = this.CONSUME(t.Name).image
    this.CONSUME(t.In)
    const extent = this.SUBRULE(this.sum)
    this.CONSUME(t.LeftBrace)
    const body = this.SUBRULE(this.statements)
    this.CONSUME(t.RightBrace)
    return { kind: 'for', variable: name, extent, binding, body }
  })

  private readonly guard: ParserMethod<[], Stmt> = this.RULE('guard', (): Stmt => {
    const conditions: Condition[] = []
    this.CONSUME(t.If)
    this.CONSUME(t.LeftParen)
    this.AT_LEAST_ONE_SEP({ SEP: t.And, DEF: () => conditions.push(this.SUBRULE(this.condition)) })
    this.CONSUME(t.RightParen)
    this.CONSUME(t.LeftBrace)
    const body = this.SUBRULE(this.statements)
    this.CONSUME(t.RightBrace)
    return { kind: 'if', conditions, body }
  })

  private readonly condition: ParserMethod<[], Condition> = this.RULE('condition', (): Condition => {
    const left = this.SUBRULE(this.sum)
    this.CONSUME(t.Less)
    const right = this.SUBRULE2(this.sum)
    return { left, right }
  })

  private readonly binding: ParserMethod<[], Stmt> = this.RULE('binding', (): Stmt => {
    this.CONSUME(t.Let)
    const name = this.CONSUME(t.Name).image
    this.CONSUME(t.Equals)
    const value = this.SUBRULE(this.expression)
    this.ACTION(() => this.scopes.at(-1)?.set(name, { type: typeOf(value), lanes: lanesOf(value) }))
    return { kind: 'let', name, value }
  })

  private readonly store: ParserMethod<[], Stmt> = this.RULE('store', (): Stmt => {
    const access = this.SUBRULE(this.access)
    this.CONSUME(t.Equals)
    const value = this.SUBRULE(this.expression)
    return this.ACTION(() => {
      const { buffer, indices, lanes, valid } = access
      return { kind: 'store', buffer: buffer.name, indices, value, lanes, ...(valid ? { valid } : {}) }
    })
  })

  private readonly access: ParserMethod<[], Access> = this.RULE('access', (): Access => {
    const name = this.CONSUME(t.Name)
    const indices: Index[] = []
    let lanes = 1
    let valid: Index | undefined
    this.CONSUME(t.LeftBracket)
    this.MANY_SEP({ SEP: t.Comma, DEF: () => indices.push(this.SUBRULE(this.sum)) })
    this.CONSUME(t.RightBracket)
    this.OPTION(() => (lanes = this.SUBRULE(this.lanes)))
    this.OPTION2({
      // The next statement may store into a buffer called `valid`.
      GATE: () => this.LA(2).tokenType !== t.LeftBracket,
      DEF: () => {
        this.CONSUME(t.Valid)
        valid = this.SUBRULE2(this.sum)
      },
    })
    return this.ACTION(() => ({ buffer: this.bufferNamed(name), indices, lanes, ...(valid ? { valid } : {}) }))
  })

  private readonly expression: ParserMethod<[], Expr> = this.RULE('expression', (): Expr => {
    const called = () => this.LA(2).tokenType === t.LeftParen
    return this.OR<Expr>({
      IGNORE_AMBIGUITIES: true,
      DEF: [
        { GATE: () => this.LA(2).tokenType === t.LeftBracket, ALT: () => this.SUBRULE(this.load) },
        { GATE: called, ALT: () => this.SUBRULE(this.indexValue) },
        { GATE: called, ALT: () => this.SUBRULE(this.ramp) },
        { GATE: called, ALT: () => this.SUBRULE(this.splat) },
        { GATE: called, ALT: () => this.SUBRULE(this.pack) },
        { GATE: called, ALT: () => this.SUBRULE(this.tree) },
        { GATE: () => called() || this.LA(2).tokenType === t.Less, ALT: () => this.SUBRULE(this.application) },
        { ALT: () => this.SUBRULE(this.local) },
        { ALT: () => this.SUBRULE(this.constant) },
      ],
    })
  })

  private readonly load: ParserMethod<[], Expr> = this.RULE('load', (): Expr => {
    const access = this.SUBRULE(this.access)
    return this.ACTION(() => {
      const { buffer, indices, lanes, valid } = access
      return {
        kind: 'load',
        buffer: buffer.name,
        indices,
        type: valueType(buffer.dtype),
        lanes,
        ...(valid ? { valid } : {}),
      }
    })
  })

  private readonly indexValue: ParserMethod<[], Expr> = this.RULE('indexValue', (): Expr => {
    this.CONSUME(t.IndexWord)
    this.CONSUME(t.LeftParen)
    const index = this.SUBRULE(this.sum)
    this.CONSUME(t.RightParen)
    return { kind: 'index', index }
  })

  private readonly ramp: ParserMethod<[], Expr> = this.RULE('ramp', (): Expr => {
    this.CONSUME(t.Ramp)
    this.CONSUME(t.LeftParen)
    const index = this.SUBRULE(this.sum)
    this.CONSUME(t.RightParen)
    const lanes = this.SUBRULE(this.lanes)
    return { kind: 'ramp', index, lanes }
  })

  private readonly splat: ParserMethod<[], Expr> = this.RULE('splat', (): Expr => {
    this.CONSUME(t.Splat)
    this.CONSUME(t.LeftParen)
    const value = this.SUBRULE(this.expression)
    this.CONSUME(t.RightParen)
    const lanes = this.SUBRULE(this.lanes)
    return { kind: 'splat', value, lanes }
  })

  private readonly pack: ParserMethod<[], Expr> = this.RULE('pack', (): Expr => {
    const args: Expr[] = []
    this.CONSUME(t.Pack)
    this.CONSUME(t.LeftParen)
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => args.push(this.SUBRULE(this.expression)) })
    this.CONSUME(t.RightParen)
    return { kind: 'pack', args }
  })

  private readonly tree: ParserMethod<[], Expr> = this.RULE('tree', (): Expr => {
    this.CONSUME(t.Tree)
    this.CONSUME(t.LeftParen)
    const word = this.CONSUME(t.Name)
    this.CONSUME(t.Comma)
    const buffer = this.CONSUME2(t.Name)
    this.CONSUME(t.RightParen)
    return this.ACTION(() => {
      const { image } = word
      if (image !== 'add' && image !== 'max')
        return this.refuse('HD602', word, `a tree adds or takes the max, not '${image}'`)
      return { kind: 'tree', word: image, buffer: this.bufferNamed(buffer).name }
    })
  })

  private readonly application: ParserMethod<[], Expr> = this.RULE('application', (): Expr => {
    const name = this.CONSUME(t.Name)
    const args: Expr[] = []
    let bits: number | undefined
    this.OPTION(() => {
      this.CONSUME(t.Less)
      bits = this.SUBRULE(this.integer)
      this.CONSUME(t.Greater)
    })
    this.CONSUME(t.LeftParen)
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => args.push(this.SUBRULE(this.expression)) })
    this.CONSUME(t.RightParen)
    return this.ACTION(() => {
      const word = name.image
      if (!isWord(word)) return this.refuse('HD602', name, `'${word}' is no word of the scalar language`)
      const lanes = args[0] ? lanesOf(args[0]) : 1
      return { kind: 'apply', word, args, ...(bits === undefined ? {} : { bits }), lanes }
    })
  })

  private readonly local: ParserMethod<[], Expr> = this.RULE('local', (): Expr => {
    const name = this.CONSUME(t.Name)
    return this.ACTION(() => {
      for (const scope of this.scopes.toReversed()) {
        const found = scope.get(name.image)
        if (found) return { kind: 'local', name: name.image, ...found }
      }
      return this.refuse('HD602', name, `no value '${name.image}' is defined here`)
    })
  })

  private readonly constant: ParserMethod<[], Expr> = this.RULE('constant', (): Expr => {
    let sign = 1
    this.OPTION(() => {
      this.CONSUME(t.Minus)
      sign = -1
    })
    const token = this.OR([
      { ALT: () => this.CONSUME(t.Float) },
      { ALT: () => this.CONSUME(t.Integer) },
      { ALT: () => this.CONSUME(t.Infinite) },
      { ALT: () => this.CONSUME(t.NotANumber) },
      { ALT: () => this.CONSUME(t.True) },
      { ALT: () => this.CONSUME(t.False) },
    ])
    return this.ACTION<Expr>(() => this.constantFrom(token, sign))
  })

  private readonly sum: ParserMethod<[], Index> = this.RULE('sum', (): Index => {
    const parts: Index[] = []
    let sign = 1
    this.OPTION(() => {
      this.CONSUME(t.Minus)
      sign = -1
    })
    const first = this.SUBRULE(this.product)
    this.ACTION(() => parts.push(scaleIndex(first, sign)))
    this.MANY(() => {
      const mark = this.OR([{ ALT: () => this.CONSUME(t.Plus) }, { ALT: () => this.CONSUME2(t.Minus) }])
      const next = this.SUBRULE2(this.product)
      this.ACTION(() => parts.push(scaleIndex(next, mark.tokenType === t.Minus ? -1 : 1)))
    })
    return this.ACTION(() => addIndex(...parts))
  })

  private readonly product: ParserMethod<[], Index> = this.RULE('product', (): Index => {
    let value = this.SUBRULE(this.operand)
    this.MANY({
      // As above, for buffers called `div` and `mod`.
      GATE: () => this.LA(2).tokenType === t.Integer,
      DEF: () => {
        const mark = this.OR([
          { ALT: () => this.CONSUME(t.Times) },
          { ALT: () => this.CONSUME(t.Div) },
          { ALT: () => this.CONSUME(t.Mod) },
        ])
        const by = this.SUBRULE(this.integer)
        this.ACTION(() => {
          if (mark.tokenType === t.Times) value = this.bounded(mark, scaleIndex(value, by))
          else if (by === 0) this.refuse('HD603', mark, 'an index is divided by zero')
          else value = mark.tokenType === t.Div ? divideIndex(value, by) : moduloIndex(value, by)
        })
      },
    })
    return value
  })

  private readonly operand: ParserMethod<[], Index> = this.RULE('operand', (): Index => {
    const called = () => this.LA(2).tokenType === t.LeftParen
    return this.OR<Index>({
      IGNORE_AMBIGUITIES: true,
      DEF: [
        { GATE: called, ALT: () => this.SUBRULE(this.minimum) },
        { GATE: called, ALT: () => this.SUBRULE(this.loadedValue) },
        {
          ALT: () => {
            const name = this.CONSUME(t.Name).image
            return this.ACTION(() => (this.sizes.has(name) ? size(name) : variable(name)))
          },
        },
        {
          ALT: () => {
            const value = this.SUBRULE(this.integer)
            return this.ACTION(() => constantIndex(value))
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.LeftParen)
            const value = this.SUBRULE(this.sum)
            this.CONSUME(t.RightParen)
            return value
          },
        },
      ],
    })
  })

  private readonly minimum: ParserMethod<[], Index> = this.RULE('minimum', (): Index => {
    this.CONSUME(t.Min)
    this.CONSUME(t.LeftParen)
    const left = this.SUBRULE(this.sum)
    this.CONSUME(t.Comma)
    const right = this.SUBRULE2(this.sum)
    this.CONSUME(t.RightParen)
    return this.ACTION(() => minIndex(left, right))
  })

  private readonly loadedValue: ParserMethod<[], Index> = this.RULE('loadedValue', (): Index => {
    this.CONSUME(t.Value)
    this.CONSUME(t.LeftParen)
    const value = this.SUBRULE(this.expression)
    this.CONSUME(t.Below)
    const below = this.SUBRULE(this.integer)
    this.CONSUME(t.RightParen)
    return this.ACTION(() => loadedIndex(value, below))
  })

  private readonly lanes: ParserMethod<[], number> = this.RULE('lanes', (): number => {
    const mark = this.CONSUME(t.Colon)
    const lanes = this.SUBRULE(this.integer)
    this.ACTION(() => {
      if (lanes < 1 || lanes > GREATEST_LANES)
        this.refuse('HD603', mark, `a vector has 1 to ${GREATEST_LANES} lanes, not ${lanes}`)
    })
    return lanes
  })

  private readonly integer: ParserMethod<[], number> = this.RULE('integer', (): number => {
    const token = this.CONSUME(t.Integer)
    return this.ACTION(() => {
      const value = Number(token.image)
      if (!Number.isSafeInteger(value)) this.refuse('HD603', token, `${token.image.slice(0, 40)} is too large a number`)
      return value
    })
  })

  private bufferNamed(token: IToken): Buffer {
    return this.buffers.get(token.image) ?? this.refuse('HD602', token, `no buffer '${token.image}' is declared`)
  }

  private bounded(token: IToken, index: Index): Index {
    const safe = Number.isSafeInteger(index.constant) && index.terms.every((term) => Number.isSafeInteger(term.scale))
    return safe ? index : this.refuse('HD603', token, 'an index grows beyond what a number holds')
  }

  private constantFrom(token: IToken, sign: number): Expr {
    switch (token.tokenType) {
      case t.True:
      case t.False:
        if (sign < 0) this.refuse('HD601', token, `'${token.image}' has no sign`)
        return { kind: 'constant', type: 'bool', value: token.tokenType === t.True ? 1 : 0 }
      case t.NotANumber:
        return { kind: 'constant', type: 'f32', value: NaN }
      case t.Infinite:
        return { kind: 'constant', type: 'f32', value: sign * Infinity }
      case t.Float:
        return { kind: 'constant', type: 'f32', value: Math.fround(sign * Number(token.image)) }
      case t.Integer: {
        const value = sign * Number(token.image)
        if (value !== (value | 0)) this.refuse('HD603', token, `${token.image.slice(0, 40)} does not fit into 32 bits`)
        return { kind: 'constant', type: 'i32', value: value | 0 }
      }
      default:
        throw new InternalError(`token ${token.tokenType.name} is no constant`)
    }
  }
}
