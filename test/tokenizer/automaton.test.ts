// Patterns as automata: what they find is what JavaScript's backtracking matcher finds first, for the tokenizers' patterns
// and for random ones; and every refusal of a pattern.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { compilePatterns, MATCHED } from '../../backends/tokenizer/automaton.ts'
import { parsePattern } from '../../backends/tokenizer/pattern.ts'
import { UserError } from '../../compiler/diagnostic.ts'

const place = { file: 'tokenizer.json', at: 'pre_tokenizer' }

/** Ends of the matches that begin at each character; -1 for none. Runs the automaton as the device does. */
function matcher(source: string): (text: string) => number[] {
  const { classes, classOf, automata } = compilePatterns([{ pattern: parsePattern(source, place), place }])
  const transitions = automata[0]?.transitions ?? new Uint16Array()
  return (text) => {
    const characters = Array.from(text)
    return characters.map((_, start) => {
      let end = -1
      let state = 1
      for (let at = start; state !== 0 && at <= characters.length; at++) {
        const code = characters[at]?.codePointAt(0)
        const next = code === undefined ? classes : (classOf[code] ?? 0)
        const transition = transitions[state * (classes + 1) + next] ?? 0
        if ((transition & MATCHED) !== 0) end = at
        state = transition & ~MATCHED
      }
      return end
    })
  }
}

/** The same by JavaScript. `\s` and `\d` are spelled as Hugging Face means them. */
function byJavaScript(source: string): (text: string) => number[] {
  const names: Record<string, string> = { s: '\\p{White_Space}', S: '\\P{White_Space}', d: '\\p{Nd}' }
  const spelled = source.replace(/\\([sSd])/g, (_, letter: string) => names[letter] ?? '')
  const expression = new RegExp(spelled, 'uy')
  return (text) => {
    let offset = 0
    return Array.from(text, (character) => {
      expression.lastIndex = offset
      const match = expression.exec(text)
      offset += character.length
      return match ? Array.from(text.slice(0, offset - character.length + match[0].length)).length : -1
    })
  }
}

const characters = fc.constantFrom(...Array.from("aabB1٣½ \t\n\r'.-é한漢👍\u0301\u00a0\u0085\ufeff"))
const texts = fc.array(characters, { maxLength: 24 }).map((parts) => parts.join(''))

function same(source: string, runs: number): void {
  const ours = matcher(source)
  const theirs = byJavaScript(source)
  fc.assert(
    fc.property(texts, (text) => assert.deepEqual(ours(text), theirs(text), `${source} on ${JSON.stringify(text)}`)),
    { numRuns: runs, seed: 3 },
  )
}

function refused(source: string, words: RegExp): void {
  assert.throws(
    () => matcher(source),
    (error) => error instanceof UserError && error.code === 'HD432' && words.test(error.message),
    `${source} should be refused with ${words}`,
  )
}

describe('patterns of pre-tokenizers', function () {
  this.timeout(60_000)

  it('find what a backtracking matcher finds', () => {
    for (const source of [
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
      '\\p{N}',
      'a|ab|abb',
      'ab|a(?:b|bB)B*',
      'a+?b|a+',
      'a{2,3}?|(?:ab){1,2}|b{2,}',
      '(?:a|b|aB)+(?=1)|\\S(?!a)',
      '[a-c1-9\\-.]+|[^a-z]',
      "(a*b)*'",
      '\\P{L}\\d|[\\d\\s]+',
    ]) {
      same(source, 400)
    }
  })

  it('find the same when they are random', () => {
    const single = fc.constantFrom('a', 'b', 'B', '\\s', '\\p{L}', '\\p{N}', '[ab]', '[^a]', '\\S', "'", ' ')
    const { pattern } = fc.letrec<{ pattern: string; sequence: string; item: string; atom: string }>((tie) => ({
      pattern: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((options) => options.join('|')),
      sequence: fc.array(tie('item'), { minLength: 1, maxLength: 3 }).map((items) => items.join('')),
      item: fc.oneof(
        { depthSize: 'small' },
        tie('atom'),
        fc
          .tuple(tie('atom'), fc.constantFrom('?', '*', '+', '{1,2}', '{2}', '??', '*?', '+?'))
          .map((two) => two.join('')),
        single.map((of) => `(?!${of})`),
        single.map((of) => `(?=${of})`),
      ),
      atom: fc.oneof(
        { depthSize: 'small' },
        single,
        tie('pattern').map((inside) => `(?:${inside})`),
      ),
    }))
    let compared = 0
    for (const source of fc.sample(pattern, { numRuns: 700, seed: 4 })) {
      try {
        matcher(source)
      } catch {
        // Those that match nothing are refused.
        continue
      }
      same(source, 30)
      compared++
    }
    assert.ok(compared > 100, `${compared} patterns`)
  })

  it('ignore case as Unicode says', () => {
    const find = matcher("(?i:'s|'LL)|k(?i:[a-c])|(?i:[^x])y")
    assert.deepEqual(find("'S").at(0), 2)
    assert.deepEqual(find("'\u017f").at(0), 2)
    assert.deepEqual(find("'lL").at(0), 3)
    assert.deepEqual(find('kB').at(0), 2)
    assert.deepEqual(find('KB').at(0), -1)
    assert.deepEqual(find('Xy').at(0), -1)
    assert.deepEqual(find('zy').at(0), 2)
  })

  it('are refused where they leave the language', () => {
    refused('a*', /where there is nothing/)
    refused('a|', /where there is nothing/)
    refused('(?=a)|b', /where there is nothing/)
    refused('^a', /'\^'/)
    refused('a$', /'\$'/)
    refused('a.', /'\.'/)
    refused('a++', /possessive/)
    refused('(?<=a)b', /kind of group/)
    refused('(?>a)b', /kind of group/)
    refused('(?!ab)c', /more than one character/)
    refused('(?!a)+c', /what may be nothing/)
    refused('(?:a|b*)?c', /what may be nothing/)
    refused('a{2', /'}' is missing/)
    refused('a{3,2}', /fewer than/)
    refused('a{65}', /more than 64/)
    refused('a{,2}', /number is missing/)
    refused('(a', /'\)' is missing/)
    refused('a)', /closes nothing/)
    refused('[a', /']' is missing/)
    refused('[b-a]', /upwards/)
    refused('[a&&b]', /class inside/)
    refused('[[:alpha:]]', /class inside/)
    refused('\\w', /'\\w'/)
    refused('\\1', /'\\1'/)
    refused('\\p{Klingon}', /Klingon/)
    refused('\\p{L}{2}{3}', /repetition of a repetition/)
    refused('\\', /backslash/)
    refused(`${'('.repeat(40)}a${')'.repeat(40)}`, /nested deeper/)
    refused('a'.repeat(5000), /5000 characters/)
    refused('(?:(?:a{64}){64}){64}', /too large/)
    refused('(?:a|b)*a(?:a|b){20}', /too large/)
    refused('(?:(?:a{1,64}){1,64}){1,3}\\p{L}', /too large/)
    refused('(?:\\p{L}{1,64}\\p{N}?){1,64}', /too large/)
  })
})
