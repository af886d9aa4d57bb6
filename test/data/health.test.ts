// The committed records are what the committed script writes, and the held-out questions ask what the records teach
// without repeating a number of theirs.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { scoreAnswers, verdictOf } from '../../apps/health/accuracy.ts'
import { generateHealthData, toJsonLines, type HealthData } from '../../apps/health/generate.ts'
import { pretrainDocuments, pretrainTexts, trainHealthTokenizer } from '../../apps/health/pretrainText.ts'
import {
  anyUsualRange,
  circumstances,
  createPerson,
  judge,
  quantities,
  render,
  verdicts,
} from '../../apps/health/world.ts'
import { Random } from '../../data/random.ts'
import { readRecords } from '../../data/records.ts'

const folder = join(import.meta.dirname, '../../apps/health')

/** The topic and number of a question, read back from its words alone. */
function subject(prompt: string): string {
  const longestFirst = quantities.map(({ name }) => name).sort((one, other) => other.length - one.length)
  const name = longestFirst.find((candidate) => prompt.includes(candidate))
  const circumstance = circumstances.find(({ words }) => prompt.includes(words))?.words ?? 'any day'
  const number = /\d+(\.\d)?/.exec(prompt)?.[0]
  assert.ok(name !== undefined && number !== undefined, prompt)
  return `${name} / ${circumstance} / ${number}`
}

describe('apps/health: records', () => {
  const data = generateHealthData()

  it('are reproduced byte for byte', () => {
    assert.equal(readFileSync(join(folder, 'records.jsonl'), 'utf8'), toJsonLines(data.records))
    assert.equal(readFileSync(join(folder, 'heldout.jsonl'), 'utf8'), toJsonLines(data.heldOut))
  })

  it('can be read by the reader, and are a few hundred short ones', () => {
    const records = readRecords(join(folder, 'records.jsonl'), { kind: 'completions' })
    assert.deepEqual(
      records,
      data.records.map((record, index) => ({ line: index + 1, ...record })),
    )
    assert.ok(records.length >= 300 && records.length <= 800, `${records.length}`)
  })

  // Another person must do as well, or the demo would hang on one seed.
  for (const seed of [undefined, 1, 2, 3, 12]) {
    it(`of person ${seed ?? 'by default'}: held-out questions are new, balanced and not answered by the general rule`, () => {
      checkHeldOut(generateHealthData(seed))
    })
  }

  it('say of every value what the range in the same answer says', () => {
    let checked = 0
    for (const { prompt, completion } of [...data.records, ...pretrainDocuments(3, 3000)]) {
      const stated = /usual range is ([\d.]+) to ([\d.]+), so it is (\w+)\.$/.exec(completion)
      if (stated === null) continue
      const [low, high, value] = [Number(stated[1]), Number(stated[2]), Number(/\d+(\.\d)?/.exec(prompt)?.[0])]
      assert.equal(stated[3], value < low ? 'low' : value > high ? 'high' : 'normal', prompt)
      checked++
    }
    assert.ok(checked > 2500, `${checked}`)
  })
})

function checkHeldOut({ records, heldOut }: HealthData): void {
  assert.ok(heldOut.length >= 120, `${heldOut.length}`)
  const seen = new Set(records.map(({ prompt }) => subject(prompt)))
  for (const { prompt } of heldOut) assert.ok(!seen.has(subject(prompt)), prompt)
  assert.equal(new Set(heldOut.map(({ prompt }) => subject(prompt))).size, heldOut.length, 'one question a value')
  for (const verdict of verdicts) {
    const share = heldOut.filter(({ answer }) => answer === verdict).length / heldOut.length
    assert.ok(share > 0.26 && share < 0.4, `${verdict} is ${share} of the answers`)
  }
  const general = heldOut.filter(({ answer, general }) => answer === general).length / heldOut.length
  assert.ok(general < 0.6, `the general rule answers ${general}`)
}

describe('apps/health: world', () => {
  it('gives everyone ranges that the watch can show, with room on both sides', () => {
    const random = new Random(11)
    const people = Array.from({ length: 200 }, (_, seed) => createPerson(seed).topics).flat()
    for (const { topic, usual } of people) {
      assert.equal(usual.high - usual.low, topic.quantity.usual.high - topic.quantity.usual.low)
    }
    const anyone = quantities.flatMap((quantity) =>
      Array.from({ length: 300 }, () => ({ topic: { quantity }, usual: anyUsualRange(quantity, random) })),
    )
    for (const { topic, usual } of [...people, ...anyone]) {
      const { usual: common, possible, name } = topic.quantity
      const width = common.high - common.low
      assert.ok(usual.low - possible.low >= width / 2, `${name} ${render(topic.quantity, usual.low)}`)
      assert.ok(possible.high - usual.high >= width / 3, `${name} ${render(topic.quantity, usual.high)}`)
    }
  })

  it('judges both ends of a range as normal', () => {
    const judged = [4, 5, 6, 7, 8].map((value) => judge(value, { low: 5, high: 7 }))
    assert.deepEqual(judged, ['low', 'normal', 'normal', 'normal', 'high'])
  })
})

describe('apps/health: pre-training text', () => {
  it('is the same for the same seed, another for another, and a beginning of a longer one', () => {
    const some = [...pretrainTexts(1, 50)]
    assert.deepEqual([...pretrainTexts(1, 80)].slice(0, 50), some)
    assert.notDeepEqual([...pretrainTexts(2, 50)], some)
  })

  it('holds nothing of the person: ranges are either everyone’s or drawn anew', () => {
    const general = new Map<string, Set<string>>()
    const drawn = new Map<string, Set<string>>()
    for (const { prompt, completion } of pretrainDocuments(1, 20000)) {
      const stated = /(The|Your) usual range is (.*), so/.exec(completion)
      if (stated === null) continue
      const known = /^Question: You (know|have)/.test(prompt)
      assert.equal(stated[1], known ? 'Your' : 'The', prompt)
      const ranges = known ? drawn : general
      const name = subject(prompt).split(' / ')[0] as string
      ranges.set(name, (ranges.get(name) ?? new Set()).add(stated[2] as string))
    }
    for (const { name } of quantities) {
      assert.equal(general.get(name)?.size, 1, name)
      assert.ok((drawn.get(name)?.size ?? 0) > 50, `${name}: ${drawn.get(name)?.size}`)
    }
  })

  it('makes a tokenizer in which each verdict is one token and prompts are short', () => {
    const { json, size } = trainHealthTokenizer()
    assert.ok(size <= 1024)
    const tokenizer = new Tokenizer(JSON.parse(json) as object, {})
    for (const verdict of verdicts) assert.equal(tokenizer.encode(` ${verdict}`).ids.length, 1)
    for (const { prompt, completion } of generateHealthData().records) {
      const length = tokenizer.encode(prompt).ids.length + tokenizer.encode(completion).ids.length
      assert.ok(length <= 64, `${length}: ${prompt}`)
    }
  })
})

describe('apps/health: accuracy', () => {
  it('compares the last word of the first sentence, whatever its case', () => {
    assert.equal(verdictOf(' Your usual range is 90.5 to 94.0, so it is High.'), 'high')
    assert.equal(verdictOf(' high. Not low.'), 'high')
    assert.equal(verdictOf(' it is 96.5.'), '')
    assert.equal(verdictOf(' so it is high'), '')
    const expected = ['low', 'normal', 'high', 'high', 'low', 'low']
    const got = [' so it is low.', ' Normal.', 'highly.', '', 'low, not normal.', 'low']
    assert.deepEqual(scoreAnswers(expected, got), { right: 2, asked: 6, rate: 2 / 6 })
    assert.equal(scoreAnswers([''], ['']).right, 0)
    assert.equal(scoreAnswers([], []).rate, 0)
    assert.throws(() => scoreAnswers(['low'], []), RangeError)
  })
})
