// `heddle check`: every problem as one sentence.

import { checkRecipe } from '../../train/checkRecipe.ts'
import { exitCodes, outputOf, reportError, shownPath } from '../output.ts'

export async function check(recipe: string, options: { readonly json?: boolean }): Promise<number> {
  const output = outputOf(options)
  const { problems, notes } = await checkRecipe(recipe)
  for (const problem of problems) reportError(problem, output.isJson)
  for (const note of notes) {
    output.say(note)
    output.event('note', { message: note })
  }
  if (problems.length === 0) output.say(`${shownPath(recipe)}: no problems`)
  output.event('end', { problems: problems.length })
  return problems.length === 0 ? exitCodes.ok : exitCodes.mistake
}
