// A TypeScript program over a researcher's file, with Heddle's own options, wherever the file lies: `heddle` resolves to
// this package. Knows TypeScript, not the language.

import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { UserError } from '../diagnostic.ts'

/** The folder of this package. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** More than any recipe or model; a hostile file is not worth parsing. */
const largestSource = 4 << 20

const extensions = ['.ts', '.mts', '.js', '.mjs']

/** The absolute path of a source file. UserError HD110 when there is none, or it is not one the compiler reads. */
export function sourceFile(path: string): string {
  const file = resolve(path)
  const place = { file }
  const status = existsSync(file) ? statSync(file) : undefined
  if (!status) throw new UserError('HD110', 'the file does not exist', { place })
  if (!status.isFile()) throw new UserError('HD110', 'this is not a file', { place })
  if (!extensions.some((extension) => file.endsWith(extension))) {
    throw new UserError('HD110', `a model or a recipe is a file with ${extensions.join(', ')}`, { place })
  }
  if (status.size > largestSource)
    throw new UserError('HD110', `the file has ${status.size} bytes, more than 4 MiB`, { place })
  return file
}

/** The options every file is checked with; `heddle` and `heddle/models` are this package. */
export function compilerOptions(): ts.CompilerOptions {
  const nodeTypes = nodeTypesFolder()
  return {
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    noEmit: true,
    noUncheckedIndexedAccess: true,
    noImplicitOverride: true,
    noFallthroughCasesInSwitch: true,
    erasableSyntaxOnly: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    allowJs: true,
    checkJs: false,
    // A recipe may lie in a folder without a package.json that says "module".
    moduleDetection: ts.ModuleDetectionKind.Force,
    types: nodeTypes === undefined ? [] : ['node'],
    typeRoots: nodeTypes === undefined ? [] : [nodeTypes],
    paths: {
      heddle: [join(packageRoot, 'dsl/index.ts')],
      'heddle/models': [join(packageRoot, 'models/index.ts')],
    },
  }
}

/** A program over the given files; checked when it is asked. */
export function programOf(files: readonly string[]): ts.Program {
  return ts.createProgram({ rootNames: files, options: compilerOptions() })
}

/** Types of Node are a convenience for whoever has them: an installed package need not. */
function nodeTypesFolder(): string | undefined {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve('@types/node/package.json')))
  } catch {
    return undefined
  }
}
