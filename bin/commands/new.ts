// `heddle new`: the definition of an architecture that nobody has written yet, as far as its config.json tells.

import fs from 'node:fs'
import path from 'node:path'
import { UserError } from '../../compiler/diagnostic.ts'
import { refuseUnwritable, systemCode, writeOutput } from '../../formats/files.ts'
import { readJsonObject } from '../../formats/json.ts'
import { exitCodes, outputOf, shownPath } from '../output.ts'
import { definitionOf, modelNameOf } from '../scaffold/definition.ts'
import { factsOf } from '../scaffold/facts.ts'

const largestConfig = 4 << 20

export interface NewOptions {
  /** Where the definition goes; `MODEL_TYPE.ts` here unless stated. */
  readonly out?: string
  readonly json?: boolean
}

/**
 * Writes the definition and says what is left to decide.
 *
 * @throws UserError HD401 or HD402 for a file that cannot be read, HD107 for one that is no model's configuration, HD112
 * where the definition's place is taken, HD405 where no file can be written
 */
export async function newModel(config: string, options: NewOptions): Promise<number> {
  const output = outputOf(options)
  const file = isDirectory(config) ? path.join(config, 'config.json') : config
  const facts = factsOf(readJsonObject(file, largestConfig), file)
  const name = modelNameOf(facts)
  const out = options.out ?? `${name}.ts`
  refuseUnwritable(out, 'nothing was written')
  if (fs.existsSync(out)) {
    throw new UserError('HD112', 'the file exists already', { place: { file: out }, mend: '--out names another one' })
  }
  const source = definitionOf(facts)
  writeOutput(out, source)
  const decisions = source.split('\n').flatMap((text, index) => (text.includes('Decide:') ? [{ line: index + 1, text: text.replace(/^\s*\/\/ /, '') }] : [])) // prettier-ignore
  output.event('new', { file: out, model: name, decisions })
  output.say(`${shownPath(out)}: import { ${name} } from './${path.basename(out)}'`)
  for (const { line, text } of decisions) output.say(`  ${line}: ${text}`)
  return exitCodes.ok
}

function isDirectory(name: string): boolean {
  try {
    return fs.statSync(name).isDirectory()
  } catch (error) {
    if (systemCode(error) !== undefined) return false
    throw error
  }
}
