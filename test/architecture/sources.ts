// The project's own source files as ts-morph reads them: which files each imports, and which words it contains.
// Syntax only; nothing is resolved or type-checked.

import { readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Node, Project } from 'ts-morph'
import type { SourceFile } from 'ts-morph'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Folders of the package; `test`, `tools` and `bench` stay in the repository. */
export const shippedFolders = [
  'apps',
  'backends',
  'bin',
  'compiler',
  'data',
  'devices',
  'dsl',
  'evaluate',
  'generate',
  'formats',
  'models',
  'train',
] as const
export const otherFolders = ['bench', 'test', 'tools'] as const

export interface Import {
  /** A path in the repository, `node:…`, or the name of a package. */
  readonly target: string
  readonly line: number
  /** Gone once types are erased. */
  readonly isType: boolean
}

export interface Source {
  /** From the repository's root, with `/`. */
  readonly path: string
  readonly text: string
  readonly lines: number
  readonly imports: readonly Import[]
  /** Every string literal that is not an import, with its line. */
  readonly strings: readonly { readonly text: string; readonly line: number }[]
}

let read: readonly Source[] | undefined

/** All TypeScript and JavaScript of the repository, but the cases that must not compile. */
export function projectSources(): readonly Source[] {
  if (read) return read
  const project = new Project({ skipAddingFilesFromTsConfig: true, compilerOptions: { allowJs: true } })
  const patterns = [...shippedFolders, ...otherFolders].map((folder) => join(root, folder, '**/*.{ts,mts,mjs,js}'))
  project.addSourceFilesAtPaths([...patterns, `!${join(root, 'test/types/cases/**')}`])
  read = project
    .getSourceFiles()
    .map(sourceOf)
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  return read
}

function sourceOf(file: SourceFile): Source {
  const path = relative(root, file.getFilePath()).split(sep).join('/')
  const text = readFileSync(file.getFilePath(), 'utf8')
  return {
    path,
    text,
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    imports: importsOf(file, path),
    strings: stringsOf(file),
  }
}

/** A specifier as a path in the repository; packages without what lies inside them. */
export function targetOf(path: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.normalize(posix.join(dirname(path), specifier))
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function importsOf(file: SourceFile, path: string): Import[] {
  const found: Import[] = []
  const add = (specifier: string, node: Node, isType: boolean): void => {
    found.push({ target: targetOf(path, specifier), line: node.getStartLineNumber(), isType })
  }
  for (const declaration of [...file.getImportDeclarations(), ...file.getExportDeclarations()]) {
    const specifier = declaration.getModuleSpecifierValue()
    if (specifier !== undefined) add(specifier, declaration, declaration.isTypeOnly())
  }
  file.forEachDescendant((node) => {
    if (Node.isImportTypeNode(node)) {
      const argument = node.getArgument()
      if (!Node.isLiteralTypeNode(argument)) return
      const literal = argument.getLiteral()
      if (Node.isStringLiteral(literal)) add(literal.getLiteralValue(), node, true)
    }
    if (!Node.isCallExpression(node)) return
    const [argument] = node.getArguments()
    const isImport = node.getExpression().getText() === 'import'
    if (isImport && Node.isStringLiteral(argument)) add(argument.getLiteralValue(), node, false)
    // `new URL('x', import.meta.url)` names a file too, but never as code that this file runs itself.
  })
  return found
}

function stringsOf(file: SourceFile): { text: string; line: number }[] {
  const found: { text: string; line: number }[] = []
  file.forEachDescendant((node) => {
    if (!Node.isStringLiteral(node) && !Node.isNoSubstitutionTemplateLiteral(node)) return
    const parent = node.getParent()
    if (Node.isImportDeclaration(parent) || Node.isExportDeclaration(parent)) return
    found.push({ text: node.getLiteralText(), line: node.getStartLineNumber() })
  })
  return found
}
