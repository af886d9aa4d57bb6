// Evaluates a parsed Jinja template with bounds on its work and on what it makes, and strips strings as Python does. The
// rest of the language is @huggingface/jinja's. Knows nothing of chats.

import { Environment, Interpreter } from '@huggingface/jinja'
import type {
  CallExpression,
  FilterExpression,
  Identifier,
  MemberExpression,
  RuntimeValue,
  Statement,
} from '@huggingface/jinja'

/** Expressions and statements of one rendering; a long conversation takes a few ten thousand. */
const MAX_STEPS = 500_000
/** Characters of a text and entries of a list, on the way as in the end. */
const MAX_LENGTH = 1 << 24
/** Greatest number within a template: numbers are widths and indices. */
const MAX_NUMBER = 1 << 20

/** Counts every step and looks at every value, so that a hostile template ends early with a sentence. */
export class BoundedInterpreter extends Interpreter {
  #steps = 0

  override evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue {
    if (++this.#steps > MAX_STEPS) throw new Error(`it takes more than ${MAX_STEPS} steps`)
    const stripped = statement === undefined ? undefined : stripping(statement)
    const result =
      stripped === undefined
        ? super.evaluate(statement, environment)
        : this.#strip(stripped, environment, () => super.evaluate(statement, environment))
    const { value } = result
    const isLong = (typeof value === 'string' || Array.isArray(value)) && value.length > MAX_LENGTH
    if (isLong) throw new Error(`it makes a text or a list longer than ${MAX_LENGTH}`)
    if (typeof value === 'number' && Math.abs(value) > MAX_NUMBER) throw new Error(`it counts beyond ${MAX_NUMBER}`)
    return result
  }

  /** `otherwise` evaluates what is no string. */
  #strip({ operand, side, args }: Stripping, environment: Environment, otherwise: () => RuntimeValue): RuntimeValue {
    const { value } = this.evaluate(operand, environment)
    const [characters] = args.map((one) => this.evaluate(one, environment).value)
    const isPlain = typeof value === 'string' && (typeof characters === 'string' || (characters ?? null) === null)
    if (!isPlain || args.length > 1) return otherwise()
    const text = pythonStrip(value, side, typeof characters === 'string' ? characters : undefined)
    return new Environment().set('text', text)
  }
}

type Side = 'both' | 'left' | 'right'

interface Stripping {
  readonly operand: Statement
  readonly side: Side
  readonly args: readonly Statement[]
}

const methods: ReadonlyMap<string, Side> = new Map([
  ['strip', 'both'],
  ['lstrip', 'left'],
  ['rstrip', 'right'],
])

/**
 * `text.strip(…)` and its like, and `text | trim`: the library ignores which characters to strip, and takes JavaScript's
 * white space for Python's.
 */
function stripping(statement: Statement): Stripping | undefined {
  if (statement.type === 'CallExpression') {
    const { callee, args } = statement as CallExpression
    if (callee.type !== 'MemberExpression') return undefined
    const { object, property, computed } = callee as MemberExpression
    const side = computed ? undefined : methods.get(identifier(property) ?? '')
    return side === undefined ? undefined : { operand: object, side, args }
  }
  if (statement.type === 'FilterExpression') {
    const { operand, filter } = statement as FilterExpression
    if (identifier(filter) === 'trim') return { operand, side: 'both', args: [] }
  }
  return undefined
}

function identifier(statement: Statement): string | undefined {
  return statement.type === 'Identifier' ? (statement as Identifier).value : undefined
}

/** What Python's `str.isspace` holds of, beyond ASCII's first six. */
const pythonSpace =
  '\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000'

/** Python's `str.strip`, `lstrip` and `rstrip`: by characters of a set, white space unless given. */
export function pythonStrip(text: string, side: Side, characters: string = pythonSpace): string {
  // By code points: a pair of surrogates is one character.
  const set = new Set(characters)
  let start = 0
  let end = text.length
  while (side !== 'right' && start < end) {
    const character = String.fromCodePoint(text.codePointAt(start) ?? 0)
    if (!set.has(character)) break
    start += character.length
  }
  while (side !== 'left' && end > start) {
    const low = text.charCodeAt(end - 1)
    const isPair = low >= 0xdc00 && low <= 0xdfff && end - 2 >= start
    const character = text.slice(isPair ? end - 2 : end - 1, end)
    if (!set.has(character)) break
    end -= character.length
  }
  return text.slice(start, end)
}
