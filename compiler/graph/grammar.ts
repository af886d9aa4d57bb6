// The grammar of graph text in chevrotain tokens and rules. Gives plain data with places; checks no name and no shape,
// that is `parse.ts`. No word is reserved: keywords are also names.

import { createToken, EmbeddedActionsParser, Lexer, tokenLabel } from 'chevrotain'
import type { IParserErrorMessageProvider, IToken, TokenType } from 'chevrotain'
import { UserError } from '../diagnostic.ts'
import type {
  AxisText,
  DeclarationText,
  FunctionText,
  GraphText,
  ItemText,
  RootText,
  StatementText,
  Word,
} from './syntax.ts'

/** Far beyond any graph of ours: a GPT-2 training step is about a megabyte. */
const longestText = 64 * 1024 * 1024

const Name = createToken({ name: 'Name', pattern: /[A-Za-z_][A-Za-z0-9_.]*/, label: 'a name' })
const Text = createToken({ name: 'Text', pattern: /"(?:[^"\\\n\r]|\\.)*"/, label: 'a text in quotes' })
const Numeral = createToken({
  name: 'Numeral',
  pattern: /-Infinity|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/,
  label: 'a number',
})
const Value = createToken({ name: 'Value', pattern: /%\d+/, label: 'a value such as %0' })
const Comment = createToken({ name: 'Comment', pattern: /\/\/[^\n\r]*/, group: 'comments' })
const Blank = createToken({ name: 'Blank', pattern: /\s+/, group: Lexer.SKIPPED, line_breaks: true })

const keyword = (text: string): TokenType =>
  createToken({ name: `Keyword_${text}`, pattern: text, longer_alt: Name, categories: [Name], label: `'${text}'` })
const mark = (name: string, text: string): TokenType => createToken({ name, pattern: text, label: `'${text}'` })

const AxisWord = keyword('axis')
const ExtentWord = keyword('extent')
const FunctionWord = keyword('function')
const OutputWord = keyword('output')
const WriteWord = keyword('write')
const LayerWord = keyword('layer')
const Frozen = keyword('frozen')
const Trainable = keyword('trainable')
const State = keyword('state')
const Input = keyword('input')
const Rows = keyword('rows')
const Of = keyword('of')
const LessEqual = mark('LessEqual', '<=')
const Equal = mark('Equal', '=')
const Colon = mark('Colon', ':')
const Comma = mark('Comma', ',')
const OpenRound = mark('OpenRound', '(')
const CloseRound = mark('CloseRound', ')')
const OpenSquare = mark('OpenSquare', '[')
const CloseSquare = mark('CloseSquare', ']')
const OpenCurly = mark('OpenCurly', '{')
const CloseCurly = mark('CloseCurly', '}')

const declarations = [Frozen, Trainable, State, Input, Rows, Of]
const keywords = [AxisWord, ExtentWord, FunctionWord, OutputWord, WriteWord, LayerWord, ...declarations]
const marks = [LessEqual, Equal, Colon, Comma, OpenRound, CloseRound, OpenSquare, CloseSquare, OpenCurly, CloseCurly]
const tokens = [Blank, Comment, ...keywords, Name, Text, Numeral, Value, ...marks]

function shown(image: string | undefined): string {
  if (image === undefined || image === '') return 'the end of the text'
  return image.length > 40 ? `'${image.slice(0, 40)}…'` : `'${image}'`
}

const sentences: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected, actual }) => `expected ${tokenLabel(expected)}, found ${shown(actual.image)}`,
  buildNotAllInputParsedMessage: ({ firstRedundant }) => `${shown(firstRedundant.image)} cannot stand here`,
  buildNoViableAltMessage: ({ actual }) => `${shown(actual[0]?.image)} cannot stand here`,
  buildEarlyExitMessage: ({ actual }) => `${shown(actual[0]?.image)} cannot stand here`,
}

function word(token: IToken): Word {
  return { text: token.image, line: token.startLine ?? 1, column: token.startColumn ?? 1 }
}

/** The text between quotes. The place is the grammar's caller's to say: `readGraphText` adds the file. */
class QuoteError extends Error {
  readonly token: IToken
  constructor(token: IToken) {
    super(`${shown(token.image)} has an escape that means nothing`)
    this.token = token
  }
}

function unquoted(token: IToken): Word {
  try {
    return { ...word(token), text: JSON.parse(token.image) as string }
  } catch {
    throw new QuoteError(token)
  }
}

class GraphParser extends EmbeddedActionsParser {
  constructor() {
    super(tokens, { errorMessageProvider: sentences, maxLookahead: 2, recoveryEnabled: false })
    this.performSelfAnalysis()
  }

  readonly name = this.RULE('name', (): Word =>
    this.OR([
      { ALT: () => word(this.CONSUME(Name)) },
      {
        ALT: () => {
          const token = this.CONSUME(Text)
          return this.ACTION(() => unquoted(token))
        },
      },
    ]),
  )

  readonly names = this.RULE('names', (): Word[] => {
    const names: Word[] = []
    this.MANY_SEP({ SEP: Comma, DEF: () => names.push(this.SUBRULE(this.name)) })
    return names
  })

  readonly axis = this.RULE('axis', (): AxisText => {
    this.CONSUME(AxisWord)
    const name = this.SUBRULE(this.name)
    return this.OR([
      {
        ALT: () => {
          this.CONSUME(Equal)
          return { name, size: word(this.CONSUME(Numeral)), extent: undefined }
        },
      },
      {
        ALT: () => {
          this.CONSUME(LessEqual)
          const size = word(this.CONSUME1(Numeral))
          this.CONSUME(ExtentWord)
          return { name, size, extent: this.SUBRULE1(this.name) }
        },
      },
    ])
  })

  readonly dimension = this.RULE('dimension', (): Word[] =>
    this.OR([
      { ALT: () => [this.SUBRULE(this.name)] },
      {
        ALT: () => {
          const merged: Word[] = []
          this.CONSUME(OpenRound)
          this.MANY(() => merged.push(this.SUBRULE1(this.name)))
          this.CONSUME(CloseRound)
          return merged
        },
      },
    ]),
  )

  readonly declaration = this.RULE('declaration', (): DeclarationText => {
    const role = this.OR([
      { ALT: () => word(this.CONSUME(Frozen)) },
      { ALT: () => word(this.CONSUME(Trainable)) },
      { ALT: () => word(this.CONSUME(State)) },
      { ALT: () => word(this.CONSUME(Input)) },
    ])
    const name = this.SUBRULE(this.name)
    this.CONSUME(Colon)
    const dtype = word(this.CONSUME(Name))
    const stored: Word[][] = []
    this.CONSUME(OpenSquare)
    this.MANY_SEP({ SEP: Comma, DEF: () => stored.push(this.SUBRULE(this.dimension)) })
    this.CONSUME(CloseSquare)
    const initial = this.OPTION(() => {
      this.CONSUME(Equal)
      const kind = word(this.CONSUME1(Name))
      return { kind, value: word(this.CONSUME(Numeral)) }
    })
    const rows = this.OPTION1(() => {
      this.CONSUME(Rows)
      const ids = this.SUBRULE1(this.name)
      this.CONSUME(Of)
      return { ids, table: this.SUBRULE2(this.name) }
    })
    return { role, name, dtype, stored, initial, rows }
  })

  readonly atom = this.RULE('atom', (): ItemText =>
    this.OR([
      { ALT: () => ({ ...word(this.CONSUME(Name)), kind: 'name' as const, members: [] }) },
      { ALT: () => ({ ...word(this.CONSUME(Numeral)), kind: 'number' as const, members: [] }) },
      {
        ALT: () => {
          const token = this.CONSUME(Text)
          return this.ACTION(() => ({ ...unquoted(token), kind: 'text' as const, members: [] }))
        },
      },
    ]),
  )

  readonly item = this.RULE('item', (): ItemText =>
    this.OR([
      { ALT: () => this.SUBRULE(this.atom) },
      {
        ALT: () => {
          const members: ItemText[] = []
          const open = word(this.CONSUME(OpenSquare))
          this.MANY_SEP({ SEP: Comma, DEF: () => members.push(this.SUBRULE1(this.atom)) })
          this.CONSUME(CloseSquare)
          return { ...open, kind: 'list' as const, members }
        },
      },
    ]),
  )

  readonly statement = this.RULE('statement', (): StatementText => {
    const value = word(this.CONSUME(Value))
    this.CONSUME(Equal)
    const op = this.SUBRULE(this.name)
    const operands: Word[] = []
    this.OPTION(() => {
      this.CONSUME(OpenRound)
      this.MANY_SEP({ SEP: Comma, DEF: () => operands.push(word(this.CONSUME1(Value))) })
      this.CONSUME(CloseRound)
    })
    const items: ItemText[] = []
    this.MANY(() => items.push(this.SUBRULE(this.item)))
    this.CONSUME(Colon)
    const dtype = word(this.CONSUME(Name))
    this.CONSUME1(OpenRound)
    const axes = this.SUBRULE(this.names)
    this.CONSUME1(CloseRound)
    const layer = this.OPTION1(() => {
      this.CONSUME(LayerWord)
      return word(this.CONSUME(Numeral))
    })
    return { value, op, operands, items, dtype, axes, layer }
  })

  readonly root = this.RULE('root', (): RootText => {
    const name = this.SUBRULE(this.name)
    this.CONSUME(Equal)
    return { name, value: word(this.CONSUME(Value)) }
  })

  readonly functionText = this.RULE('function', (): FunctionText => {
    this.CONSUME(FunctionWord)
    const name = this.SUBRULE(this.name)
    const statements: StatementText[] = []
    const outputs: RootText[] = []
    const writes: RootText[] = []
    this.CONSUME(OpenCurly)
    this.MANY(() => statements.push(this.SUBRULE(this.statement)))
    this.MANY1(() => {
      this.CONSUME(OutputWord)
      outputs.push(this.SUBRULE(this.root))
    })
    this.MANY2(() => {
      this.CONSUME(WriteWord)
      writes.push(this.SUBRULE1(this.root))
    })
    this.CONSUME(CloseCurly)
    return { name, statements, outputs, writes }
  })

  readonly graph = this.RULE('graph', (): Omit<GraphText, 'comments'> => {
    const axes: AxisText[] = []
    const declarations: DeclarationText[] = []
    const functions: FunctionText[] = []
    this.MANY(() =>
      this.OR([
        { ALT: () => axes.push(this.SUBRULE(this.axis)) },
        { ALT: () => declarations.push(this.SUBRULE(this.declaration)) },
        { ALT: () => functions.push(this.SUBRULE(this.functionText)) },
      ]),
    )
    return { axes, declarations, functions }
  })
}

let tools: { readonly lexer: Lexer; readonly parser: GraphParser } | undefined

/** Analysing the grammar costs some milliseconds: only for whoever reads text. */
function makeTools(): { readonly lexer: Lexer; readonly parser: GraphParser } {
  return { lexer: new Lexer(tokens, { positionTracking: 'full' }), parser: new GraphParser() }
}

/** Reads the text's structure; `file` is only for places. Throws HD201 at the first thing that is no graph text. */
export function readGraphText(text: string, file: string): GraphText {
  if (text.length > longestText) throw new UserError('HD201', `the text is longer than 64 MiB`, { place: { file } })
  tools ??= makeTools()
  const { lexer, parser } = tools
  const refuse = (message: string, line: number | undefined, column: number | undefined): UserError => {
    // Chevrotain gives the end of the text the place NaN.
    const known = line !== undefined && Number.isFinite(line)
    return new UserError('HD201', message, { place: known ? { file, line, column } : { file } })
  }
  const read = lexer.tokenize(text)
  const stray = read.errors[0]
  if (stray) throw refuse(`${shown(text.charAt(stray.offset))} cannot stand here`, stray.line, stray.column)
  parser.input = read.tokens
  let structure: Omit<GraphText, 'comments'>
  try {
    structure = parser.graph()
  } catch (error) {
    if (error instanceof QuoteError) throw refuse(error.message, error.token.startLine, error.token.startColumn)
    throw error
  }
  const error = parser.errors[0]
  if (error) throw refuse(error.message, error.token.startLine, error.token.startColumn)
  const comments = new Map<number, string>()
  for (const token of read.groups['comments'] ?? []) comments.set(token.startLine ?? 1, token.image.slice(2).trim())
  return { ...structure, comments }
}
