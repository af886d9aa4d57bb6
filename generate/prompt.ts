// The tokens a model is asked to continue: a text as it is, or a message in the checkpoint's chat template.

import { UserError } from '../compiler/diagnostic.ts'
import type { ChatTemplate } from '../data/chatTemplate.ts'
import type { Tokenizer } from '../formats/tokenizer.ts'
import { templateOf } from '../train/recipeData.ts'
import type { OpenedModel } from '../train/openModel.ts'

export interface Prompt {
  readonly text: string
  /** The text is a user's message, and what is wanted is the assistant's answer. */
  readonly chat?: boolean | undefined
  /** The system's message before it. Only in a chat. */
  readonly system?: string | undefined
}

/**
 * A text has in front of it what the tokenizer puts there; a chat begins as its template says, with the recipe's variables
 * where it has some.
 *
 * @throws UserError HD812 without a token, HD53x for the template
 */
export function promptTokens(prompt: Prompt, model: Pick<OpenedModel, 'recipe' | 'tokenizer'>): number[] {
  const { tokenizer } = model
  const ids =
    prompt.chat === true
      ? tokenizer.encode(chatText(prompt, chatTemplate(model), tokenizer))
      : [...tokenizer.prefix, ...tokenizer.encode(prompt.text)]
  if (ids.length > 0) return ids
  throw new UserError('HD812', 'the prompt has no tokens', { mend: 'begin the text with a word' })
}

function chatTemplate({ recipe, tokenizer }: Pick<OpenedModel, 'recipe' | 'tokenizer'>): ChatTemplate {
  const data = recipe?.data
  const settings = data?.kind === 'chat' ? data : { template: 'default', variables: undefined, date: undefined }
  return templateOf(settings, tokenizer)
}

function chatText({ text, system }: Prompt, template: ChatTemplate, tokenizer: Tokenizer): string {
  const messages = [
    ...(system === undefined ? [] : [{ role: 'system', content: system }]),
    { role: 'user', content: text },
  ]
  return template.render(messages, true, { file: tokenizer.file }).text
}
