// The text from which the small bundled model is trained from random weights: the language of wearable records, judged
// by what is usual for people at large. Holds nothing of any one person's own ranges.

import { trainByteBpe, type ByteBpe } from '../../data/byteBpe.ts'
import { Random } from '../../data/random.ts'
import { answer, question } from './wording.ts'
import { anyUsualRange, around, circumstances, judge, quantities, render, type Quantity, type Topic } from './world.ts'

// A person's range lies up to 1.2 widths beside the population's, a circumstance moves it by 0.9 more, and questions
// reach one width past that.
const REACH = 3

/** One document: plain text, or a question with its answer. */
export interface PretrainDocument {
  readonly prompt: string
  readonly completion: string
}

/**
 * `count` documents, the same ones for the same seed on every machine. Of twenty, six are questions with the
 * population's answer, ten are questions of wearers whose range is drawn at random, two are notes of a day, one explains a quantity, one states a range. Plain text has an empty
 * prompt.
 */
export function* pretrainDocuments(seed: number, count: number): Generator<PretrainDocument> {
  const random = new Random(seed, 2)
  for (let index = 0; index < count; index++) {
    const kind = random.below(20)
    if (kind < 6) yield generalQuestion(random)
    else if (kind < 16) yield wearerQuestion(random)
    else if (kind < 18) yield { prompt: '', completion: dayNotes(random) }
    else if (kind === 18) yield { prompt: '', completion: explanation(random) }
    else yield { prompt: '', completion: statedRange(random) }
  }
}

/** The documents as whole strings. */
export function* pretrainTexts(seed: number, count: number): Generator<string> {
  for (const { prompt, completion } of pretrainDocuments(seed, count)) yield prompt + completion
}

/** The demo's tokenizer: every digit apart, `<|endoftext|>` is token 0, as many merges as the small vocabulary gives. */
export function trainHealthTokenizer(): ByteBpe {
  return trainByteBpe(pretrainTexts(1, 4000), { vocabulary: 1024, special: ['<|endoftext|>'], digits: 'single' })
}

function generalQuestion(random: Random): PretrainDocument {
  const topic = anyTopic(random)
  const { usual } = topic.quantity
  const value = anyValue(topic.quantity, random)
  return {
    prompt: question(topic, value, random, 'anyone'),
    completion: answer(topic, judge(value, usual), usual, 'The'),
  }
}

/** Somebody's question, whose range is drawn for this one document. */
function wearerQuestion(random: Random): PretrainDocument {
  const topic = anyTopic(random)
  const usual = anyUsualRange(topic.quantity, random)
  const reach = around(topic.quantity, usual, 1)
  const value = random.between(reach.low, reach.high)
  return {
    prompt: question(topic, value, random, 'wearer'),
    completion: answer(topic, judge(value, usual), usual, 'Your'),
  }
}

function anyTopic(random: Random): Topic {
  const circumstance = random.below(3) === 0 ? random.pick(circumstances) : undefined
  return { quantity: random.pick(quantities), circumstance }
}

function dayNotes(random: Random): string {
  const chosen = random.shuffle([...quantities]).slice(0, 3)
  const notes = chosen.map((quantity) => {
    const value = anyValue(quantity, random)
    return `${quantity.name} ${render(quantity, value)} ${judge(value, quantity.usual)}`
  })
  const opening = random.pick(['Notes of the day', 'Today', 'Yesterday', `Day ${random.between(1, 365)}`])
  return `${opening}: ${notes.join(', ')}.`
}

function explanation(random: Random): string {
  const quantity = random.pick(quantities)
  return random.pick([
    `The ${quantity.name} is ${quantity.meaning}. It is given in ${quantity.unit}.`,
    `A watch records the ${quantity.name}, ${quantity.meaning}, in ${quantity.unit}.`,
    `Question: What is my ${quantity.name}?\nAnswer: It is ${quantity.meaning}.`,
  ])
}

function statedRange(random: Random): string {
  const quantity = random.pick(quantities)
  const low = render(quantity, quantity.usual.low)
  const high = render(quantity, quantity.usual.high)
  return random.pick([
    `A ${quantity.name} below ${low} is low, above ${high} is high, in between it is normal.`,
    `For most people a ${quantity.name} from ${low} to ${high} ${quantity.unit} is normal.`,
  ])
}

function anyValue(quantity: Quantity, random: Random): number {
  const reach = around(quantity, quantity.usual, REACH)
  return random.between(reach.low, reach.high)
}
