// How the health demo asks and answers, shared by the text for pre-training and the records of one person, so that the
// small model meets the same sentences in both. Knows nothing of who is asked about.

import type { Random } from '../../data/random.ts'
import { render, type Range, type Topic, type Verdict } from './world.ts'

const plain: readonly string[] = [
  'My {name} is {value}. Is that low, normal or high for me?',
  'Is a {name} of {value} low, normal or high for me?',
  'I see {value} for my {name} today. How is that for me?',
  'How should I read my {name} of {value}?',
]

const afterwards: readonly string[] = [
  'My {name} is {value} {after}. Is that low, normal or high for me?',
  'Is a {name} of {value} {after} low, normal or high for me?',
  'I see {value} for my {name} {after}. How is that for me?',
  'How should I read my {name} of {value} {after}?',
]

// Said before a question whose answer speaks of the asker's own range, in text that is about nobody in particular.
const acquainted: readonly string[] = ['You know my records.', 'You have seen my last year.', 'You know me.']

/** A question about one value (in ticks), ending where the answer begins; a 'wearer' first says that they are known. */
export function question(topic: Topic, value: number, random: Random, about: 'anyone' | 'wearer'): string {
  const wording = random.pick(topic.circumstance === undefined ? plain : afterwards)
  const asked = wording
    .replace('{name}', topic.quantity.name)
    .replace('{value}', render(topic.quantity, value))
    .replace('{after}', topic.circumstance?.words ?? '')
  return `Question: ${about === 'wearer' ? `${random.pick(acquainted)} ` : ''}${asked}\nAnswer:`
}

/**
 * The answer, led by the space that joins it to the question: first the range it rests on, then the verdict, so that a
 * model which recalls the range has it before its eyes when it compares.
 */
export function answer(topic: Topic, verdict: Verdict, usual: Range, whose: 'The' | 'Your'): string {
  const { quantity } = topic
  return ` ${whose} usual range is ${render(quantity, usual.low)} to ${render(quantity, usual.high)}, so it is ${verdict}.`
}
